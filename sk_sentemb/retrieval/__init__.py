"""Semantic search: an index of documents, and rankings that are trained."""

from .semantic_index import SemanticIndex

__all__ = ["SemanticIndex"]
