"""The warnings and errors of the package, to filter or catch."""

from .cache.statistics import CacheWarning
from .encoder import (
    CheckpointError,
    ModelChangedError,
    ModelNotFoundError,
    NoHeadError,
    TextTooLongError,
    TruncationWarning,
)
from .holder import MissingTextWarning
from .tuning import FineTuningWarning

__all__ = [
    "CacheWarning",
    "CheckpointError",
    "FineTuningWarning",
    "MissingTextWarning",
    "ModelChangedError",
    "ModelNotFoundError",
    "NoHeadError",
    "TextTooLongError",
    "TruncationWarning",
]
