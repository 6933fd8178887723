"""Run a model: texts or images in, float32 embeddings out. Independent of scikit-learn."""

from ._base import to_python_scalar
from .checkpoint import require_pillow, resolve_model, save_encoder
from .device import select_dtype
from .errors import is_out_of_memory
from .image_encoder import ImageEncoder
from .isolation import ForkSafeLock, isolated
from .model_files import new_folder
from .modules import IMAGE_POOLINGS, POOLINGS, SequenceHead
from .packing import l2_normalize, prefetch
from .pair_encoder import PairEncoder
from .pickling import encoder_from_state, encoder_to_state
from .prompts import find_search_prompt, warn_literal_prompt
from .registry import load_encoder, load_image_encoder, release_models
from .text_encoder import Embedded, Encoder, TextEncoder
from .tokenization import LONG_TEXT, TokenizedTexts, text_length, text_to_bytes
from .trainable import PartialEmbedding, TrainableEncoder

__all__ = [
    "IMAGE_POOLINGS",
    "LONG_TEXT",
    "POOLINGS",
    "Embedded",
    "Encoder",
    "ForkSafeLock",
    "ImageEncoder",
    "PairEncoder",
    "PartialEmbedding",
    "SequenceHead",
    "TextEncoder",
    "TokenizedTexts",
    "TrainableEncoder",
    "encoder_from_state",
    "encoder_to_state",
    "find_search_prompt",
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
    "save_encoder",
    "select_dtype",
    "text_length",
    "text_to_bytes",
    "to_python_scalar",
    "warn_literal_prompt",
]
