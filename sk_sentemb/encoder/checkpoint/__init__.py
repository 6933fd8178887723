"""From a model name to a folder to a model, and back."""

from .hub import resolve_model
from .image_checkpoint import read_image_encoder, require_pillow
from .image_saving import write_image_encoder
from .layout import fingerprint
from .saving import write_encoder
from .text_checkpoint import read_encoder

__all__ = [
    "fingerprint",
    "read_encoder",
    "read_image_encoder",
    "require_pillow",
    "resolve_model",
    "write_encoder",
    "write_image_encoder",
]
