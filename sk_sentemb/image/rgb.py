"""Any pixels to eight bits of red, green and blue, upright and without transparency."""

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

# The tag of EXIF that says which side of a picture is up, and what the values mean to Pillow.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}

_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


class InvalidPixelsError(ValueError):
    """Pixels have values that no colour has."""


def in_rgb(image: "Image") -> "Image":
    """Convert an image to RGB."""
    from PIL import Image

    image.load()
    if image.format == "PPM" and image.mode == "I":  # which Pillow has scaled to sixteen bits
        return Image.fromarray(eight_bits(np.asarray(image).astype(np.uint16))).convert("RGB")
    image = _upright(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(eight_bits(np.asarray(image))).convert("RGB")
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def rgb_of_array(pixels: np.ndarray) -> "Image":
    """Make an image of an array."""
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not pixels.size:
        raise InvalidPixelsError("it has no pixels")
    return in_rgb(Image.fromarray(np.ascontiguousarray(eight_bits(pixels))))


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Scale pixels to the range from 0 to 255.

    Booleans are black and white. Unsigned integers of 16 bits, and other integers that reach beyond 255
    but not beyond 65535, are divided by 257; integers from 0 to 255 stay as they are. Floats from 0 to
    1 are multiplied by 255, and floats from 0 to 255 rounded. Greys of any other range are stretched,
    from the lowest to the highest; colours are refused.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels * np.uint8(255)
    low, high = float(pixels.min()), float(pixels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InvalidPixelsError("it has pixels that are no finite numbers")
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
            f"its colours go from {low:g} to {high:g}, and not from 0 to 255, or 0 to 1 as floats"
        )
    low, high = scale
    # Half the memory, where no range is so high or so narrow that it takes more.
    precision = np.float64 if pixels.ndim == 2 and low else np.float32
    scaled: Any = pixels.astype(precision)
    scaled -= low
    scaled *= 255 / max(high - low, 1e-300)
    return np.rint(scaled).astype(np.uint8)


def _upright(image: "Image") -> "Image":
    """Turn an image as its EXIF says; one that cannot be read says nothing."""
    from PIL import Image

    try:
        orientation: Any = image.getexif().get(_ORIENTATION)
    except (EOFError, KeyError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return image
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(Image.Transpose[turn])
