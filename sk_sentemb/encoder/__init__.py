"""Runs a model: texts in, float32 vectors out. Knows nothing of scikit-learn."""

from .checkpoint import require_pillow, resolve_model, write_encoder, write_image_encoder
from .device import select_dtype
from .errors import is_out_of_memory
from .fork_safety import ForkSafeLock
from .image_encoder import ImageEncoder
from .image_pickling import image_encoder_from_state, image_encoder_to_state
from .model_files import new_folder
from .modules import IMAGE_POOLINGS, POOLINGS, SequenceHead
from .packing import l2_normalize, prefetch
from .pickling import encoder_from_state, encoder_to_state
from .prompts import warn_of_literal_prompt
from .python_scalars import to_python_scalar
from .registry import load_encoder, load_image_encoder, release_models
from .text_encoder import Embedded, Encoder
from .tokenization import LONG_TEXT, TokenizedTexts, text_length, text_to_bytes
from .torch_state import isolated
from .trainable import PartialEmbedding, TrainableEncoder

__all__ = [
    "IMAGE_POOLINGS",
    "LONG_TEXT",
    "POOLINGS",
    "Embedded",
    "Encoder",
    "ForkSafeLock",
    "ImageEncoder",
    "PartialEmbedding",
    "SequenceHead",
    "TokenizedTexts",
    "TrainableEncoder",
    "encoder_from_state",
    "encoder_to_state",
    "image_encoder_from_state",
    "image_encoder_to_state",
    "is_out_of_memory",
    "isolated",
    "l2_normalize",
    "load_encoder",
    "load_image_encoder",
    "new_folder",
    "prefetch",
    "release_models",
    "require_pillow",
    "resolve_model",
    "select_dtype",
    "text_length",
    "text_to_bytes",
    "to_python_scalar",
    "warn_of_literal_prompt",
    "write_encoder",
    "write_image_encoder",
]
