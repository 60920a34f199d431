"""Vectors and rerank scores: requests that their model's server does not take as they come (docs/EMBEDDINGS.md)."""
