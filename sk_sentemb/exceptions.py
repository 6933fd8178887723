"""The warnings and errors of the package, to filter or catch."""

from .cache.statistics import CacheWarning
from .cross_encoder import NewHeadWarning
from .encoder import (
    CheckpointError,
    CheckpointWarning,
    ModelChangedError,
    ModelNotFoundError,
    NoHeadError,
    TextTooLongError,
    TruncationWarning,
)
from .holder import MissingTextWarning
from .image import CorruptImageError, CorruptImageWarning, MissingImageWarning
from .preprocessing.table import UnreadableCellWarning
from .tuning import FineTuningWarning

__all__ = [
    "CacheWarning",
    "CheckpointError",
    "CheckpointWarning",
    "CorruptImageError",
    "CorruptImageWarning",
    "FineTuningWarning",
    "MissingImageWarning",
    "MissingTextWarning",
    "ModelChangedError",
    "ModelNotFoundError",
    "NewHeadWarning",
    "NoHeadError",
    "TextTooLongError",
    "TruncationWarning",
    "UnreadableCellWarning",
]
