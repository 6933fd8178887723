"""Runs a model: texts in, float32 vectors out. Knows nothing of scikit-learn."""

from .device import pick_dtype
from .encoder import Embedded, Encoder
from .files import CheckpointError, NoHeadError
from .forks import ForkSafeLock, fork_safe
from .head import SequenceHead
from .pooling import POOLINGS
from .portable import assemble, dismantle
from .registry import ModelChangedError, load_encoder, release_models
from .resolve import ModelNotFoundError, resolve_model
from .running import is_out_of_memory, unit_rows
from .save import new_folder, write_encoder
from .tokens import (
    LONG_TEXT,
    Text,
    TextTooLongError,
    Tokens,
    TruncationWarning,
    bytes_of,
    n_characters,
)
from .trainable import TrainableEncoder, UsedRows

__all__ = [
    "LONG_TEXT",
    "POOLINGS",
    "CheckpointError",
    "Embedded",
    "Encoder",
    "ForkSafeLock",
    "ModelChangedError",
    "ModelNotFoundError",
    "NoHeadError",
    "SequenceHead",
    "Text",
    "TextTooLongError",
    "Tokens",
    "TrainableEncoder",
    "TruncationWarning",
    "UsedRows",
    "assemble",
    "bytes_of",
    "dismantle",
    "fork_safe",
    "is_out_of_memory",
    "load_encoder",
    "n_characters",
    "new_folder",
    "pick_dtype",
    "release_models",
    "resolve_model",
    "unit_rows",
    "write_encoder",
]
