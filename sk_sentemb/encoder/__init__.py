"""Runs a model: texts in, float32 vectors out. Knows nothing of scikit-learn."""

from .checkpoint import require_pillow, resolve_model, write_encoder, write_image_encoder
from .device import pick_dtype
from .errors import is_out_of_memory
from .fork_safety import ForkSafeLock
from .image_encoder import ImageEncoder
from .image_pickling import assemble_images, dismantle_images
from .model_files import new_folder
from .modules import IMAGE_POOLINGS, POOLINGS, SequenceHead
from .packing import prepared_ahead, unit_rows
from .pickling import assemble, dismantle
from .prompts import warn_of_literal_prompt
from .python_scalars import to_plain
from .registry import load_encoder, load_image_encoder, release_models
from .text_encoder import Embedded, Encoder
from .tokenization import LONG_TEXT, Tokens, bytes_of, n_characters
from .torch_state import isolated
from .trainable import TrainableEncoder, UsedRows

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
    "prepared_ahead",
    "release_models",
    "require_pillow",
    "resolve_model",
    "to_plain",
    "unit_rows",
    "warn_of_literal_prompt",
    "write_encoder",
    "write_image_encoder",
]
