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
from .tuning import FineTuningWarning

__all__ = [
    "CacheWarning",
    "CheckpointError",
    "FineTuningWarning",
    "MissingTextWarning",
    "ModelChangedError",
    "ModelNotFoundError",
    "TextTooLongError",
    "TruncationWarning",
]
