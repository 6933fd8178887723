"""The warnings and errors of the package, to filter or catch."""

from .cache.statistics import CacheWarning
from .embedder import MissingTextWarning
from .encoder import (
    CheckpointError,
    ModelChangedError,
    ModelNotFoundError,
    TextTooLongError,
    TruncationWarning,
)

__all__ = [
    "CacheWarning",
    "CheckpointError",
    "MissingTextWarning",
    "ModelChangedError",
    "ModelNotFoundError",
    "TextTooLongError",
    "TruncationWarning",
]
