"""Semantic search: an index of documents, and rankings that are trained."""

from .semantic_index import SemanticIndex
from .semantic_retriever import SemanticRetriever
from .translation_mining import mine_translations

__all__ = ["SemanticIndex", "SemanticRetriever", "mine_translations"]
