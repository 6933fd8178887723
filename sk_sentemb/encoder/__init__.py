"""Runs a model: texts in, float32 vectors out. Knows nothing of scikit-learn."""

from .atomic_folder import new_folder
from .device import pick_dtype
from .encoder import Embedded, Encoder
from .errors import is_out_of_memory
from .forks import ForkSafeLock
from .head import SequenceHead
from .patches import IMAGE_POOLINGS
from .plain import to_plain
from .pooling import POOLINGS
from .portable import assemble, dismantle
from .prompts import warn_of_literal_prompt
from .registry import load_encoder, load_image_encoder, release_models
from .resolve import resolve_model
from .running import unit_rows
from .save import write_encoder
from .tokens import LONG_TEXT, Tokens, bytes_of, n_characters
from .torch_state import isolated
from .trainable import TrainableEncoder, UsedRows
from .vision import ImageEncoder
from .vision_portable import assemble_images, dismantle_images
from .vision_reading import require_pillow
from .vision_writing import write_image_encoder

__all__ = [
    "IMAGE_POOLINGS",
    "LONG_TEXT",
    "POOLINGS",
    "Embedded",
    "Encoder",
    "ForkSafeLock",
    "ImageEncoder",
    "SequenceHead",
    "Tokens",
    "TrainableEncoder",
    "UsedRows",
    "assemble",
    "assemble_images",
    "bytes_of",
    "dismantle",
    "dismantle_images",
    "is_out_of_memory",
    "isolated",
    "load_encoder",
    "load_image_encoder",
    "n_characters",
    "new_folder",
    "pick_dtype",
    "release_models",
    "require_pillow",
    "resolve_model",
    "to_plain",
    "unit_rows",
    "warn_of_literal_prompt",
    "write_encoder",
    "write_image_encoder",
]
