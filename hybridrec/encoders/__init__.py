"""Encoders: from structure (graphs, histories, rows, texts) to embeddings."""
