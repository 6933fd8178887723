"""Semantic search: an index of documents, and rankings that are trained."""
