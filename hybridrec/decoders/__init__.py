"""Decoders: from embeddings back to what was corrupted."""
