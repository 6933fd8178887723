"""Images in, vectors out, as a scikit-learn transformer."""

from .embedder import CorruptImageWarning, ImageEmbedder, MissingImageWarning
from .reading import CorruptImageError

__all__ = ["CorruptImageError", "CorruptImageWarning", "ImageEmbedder", "MissingImageWarning"]
