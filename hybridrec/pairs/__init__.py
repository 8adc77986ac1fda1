"""Pair sampling: which embeddings are each other's positive, and against which candidates."""
