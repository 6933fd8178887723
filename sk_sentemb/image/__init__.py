"""Images in, vectors out, as a scikit-learn transformer."""

from .embedder import ImageEmbedder

__all__ = ["ImageEmbedder"]
