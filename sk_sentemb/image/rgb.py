"""Any pixels to 8-bit RGB, in the right orientation and without transparency."""

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


class InvalidPixelsError(ValueError):
    """Pixels have values that are not colors."""


def convert_to_rgb(image: "Image") -> "Image":
    """Return an image in RGB."""
    from PIL import Image

    image.load()
    if image.format == "PPM" and image.mode == "I":  # Pillow has scaled it to 16 bits
        return Image.fromarray(scale_to_8_bits(np.asarray(image).astype(np.uint16))).convert("RGB")
    image = _apply_orientation(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(scale_to_8_bits(np.asarray(image))).convert("RGB")
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def array_to_rgb(pixels: np.ndarray) -> "Image":
    """Return an array as an image in RGB."""
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not pixels.size:
        raise InvalidPixelsError("no pixels")
    return convert_to_rgb(Image.fromarray(np.ascontiguousarray(scale_to_8_bits(pixels))))


def scale_to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Scale pixels to the range from 0 to 255, as the notes of `ImageEmbedder` describe."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels * np.uint8(255)
    low, high = float(pixels.min()), float(pixels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InvalidPixelsError("pixels that are infinite or NaN")
    floats = pixels.dtype.kind == "f"
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        scale = (0.0, 65535.0)
    elif low >= 0 and high <= (1 if floats else 255):
        scale = (0.0, 1.0 if floats else 255.0)
    elif low >= 0 and high <= (255 if floats else 65535):
        scale = (0.0, 255.0 if floats else 65535.0)
    elif pixels.ndim == 2:
        scale = (low, high)
    else:
        raise InvalidPixelsError(
            f"colors from {low:g} to {high:g}, instead of 0 to 255, or 0 to 1 as floats"
        )
    low, high = scale
    # float32 halves the memory, unless a high or narrow range needs more precision.
    precision = np.float64 if pixels.ndim == 2 and low else np.float32
    scaled: Any = pixels.astype(precision)
    scaled -= low
    scaled *= 255 / max(high - low, 1e-300)
    return np.rint(scaled).astype(np.uint8)


def _apply_orientation(image: "Image") -> "Image":
    """Rotate or flip an image as its EXIF data say; damaged data are ignored."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except (EOFError, KeyError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return image
