"""Embeddings and the distances between them, exact and screened by int8 products."""
