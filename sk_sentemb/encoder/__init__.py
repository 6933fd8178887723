"""Runs a model: texts in, float32 vectors out. Knows nothing of scikit-learn."""

from .encoder import Embedded, Encoder
from .files import CheckpointError
from .forks import ForkSafeLock
from .pooling import POOLINGS
from .portable import assemble, dismantle
from .registry import ModelChangedError, load_encoder, release_models
from .resolve import ModelNotFoundError, resolve_model
from .running import unit_rows
from .save import new_folder, write_encoder
from .tokens import LONG_TEXT, TextTooLongError, TruncationWarning

__all__ = [
    "LONG_TEXT",
    "POOLINGS",
    "CheckpointError",
    "Embedded",
    "Encoder",
    "ForkSafeLock",
    "ModelChangedError",
    "ModelNotFoundError",
    "TextTooLongError",
    "TruncationWarning",
    "assemble",
    "dismantle",
    "load_encoder",
    "new_folder",
    "release_models",
    "resolve_model",
    "unit_rows",
    "write_encoder",
]
