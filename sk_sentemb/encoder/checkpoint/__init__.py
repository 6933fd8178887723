"""From a model name to a folder to a model, and back."""

from .hub import resolve_model
from .image_checkpoint import load_image_checkpoint, require_pillow
from .layout import compute_fingerprint
from .saving import save_encoder
from .text_checkpoint import load_pair_checkpoint, load_text_checkpoint

__all__ = [
    "compute_fingerprint",
    "load_image_checkpoint",
    "load_pair_checkpoint",
    "load_text_checkpoint",
    "require_pillow",
    "resolve_model",
    "save_encoder",
]
