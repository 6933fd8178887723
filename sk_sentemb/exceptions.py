"""The warnings and errors of the package, to filter or catch."""

from .embedder import MissingTextWarning
from .encoder import (
    CheckpointError,
    ModelChangedError,
    ModelNotFoundError,
    TextTooLongError,
    TruncationWarning,
)

__all__ = [
    "CheckpointError",
    "MissingTextWarning",
    "ModelChangedError",
    "ModelNotFoundError",
    "TextTooLongError",
    "TruncationWarning",
]
