"""The content of a cell: its digest, and the decoded image."""

import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..encoder import ForkSafeLock
from .rgb import array_to_rgb, convert_to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

# Increases when the same content is decoded to other pixels.
READING = 1

_DIGEST_BYTES = 32
DIGEST_CHARACTERS = 2 * _DIGEST_BYTES

# Formats for which Pillow runs an external program.
_EXTERNAL_FORMATS = ("EPS",)

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")

# Pillow reads the file of an image on first use, which two threads must not do at once.
_LOAD_LOCK = ForkSafeLock()


class ImageDecodingError(ValueError):
    """The reason why an image cannot be decoded, without its position."""


def hash_content(cell: Any, max_pixels: int, count_resized_pixels: Any) -> str:
    """Return the digest of the bytes of a file, or of the pixels of an image in memory."""
    with _unify_errors():
        if not is_file(cell):
            image = _convert_in_memory(cell, max_pixels)
            _check_size(image.size, max_pixels, count_resized_pixels)
            digest = hashlib.blake2b(f"{image.size}".encode(), digest_size=_DIGEST_BYTES)
            digest.update(image.tobytes())
            return digest.hexdigest()
        with _open(cell) as file:
            # The size in the header is checked before anything is decoded.
            _check_size(_open_header(file, max_pixels).size, max_pixels, count_resized_pixels)
            file.seek(0)
            return _hash_file(file)


def decode_image(cell: Any, digest: str, max_pixels: int) -> "Image":
    """Return the image in a cell; raise if its digest has changed."""
    with _unify_errors():
        if not is_file(cell):
            return _convert_in_memory(cell, max_pixels)
        with _open(cell) as file:
            if _hash_file(file) != digest:
                raise ImageDecodingError("the file changed while it was read")
            return convert_to_rgb(_open_header(file, max_pixels))


def is_file(cell: Any) -> bool:
    """Return whether a cell is a file, by its path or its bytes."""
    return isinstance(cell, (str, os.PathLike, bytes, bytearray, memoryview))


@contextmanager
def _unify_errors() -> Iterator[None]:
    """Turn the errors of decoders into `ImageDecodingError`."""
    try:
        yield
    except (ImageDecodingError, MemoryError):
        raise
    except FileNotFoundError:
        raise ImageDecodingError("the file does not exist") from None
    except Exception as error:  # a decoder may raise anything for corrupt data
        from PIL import UnidentifiedImageError

        if isinstance(error, UnidentifiedImageError):
            raise ImageDecodingError("not an image in a format that Pillow supports") from None
        raise ImageDecodingError(str(error) or type(error).__name__) from error


@contextmanager
def _open(cell: Any) -> Iterator[IO[bytes]]:
    if isinstance(cell, (bytes, bytearray, memoryview)):
        yield io.BytesIO(cell)
        return
    path = os.fspath(cell)
    if isinstance(path, str):
        if _URL.match(path):
            raise ImageDecodingError("a URL, which is not downloaded; download it first")
        path = os.path.expanduser(path)
    kind = os.stat(path).st_mode
    if not stat.S_ISREG(kind):
        # Reading from a pipe or a device may never end.
        raise ImageDecodingError("a folder" if stat.S_ISDIR(kind) else "not a regular file")
    with open(path, "rb") as file:
        yield file


def _hash_file(file: IO[bytes]) -> str:
    digest = hashlib.file_digest(
        file,  # type: ignore[arg-type]
        lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES, person=b"file"),
    )
    file.seek(0)
    return digest.hexdigest()


def _open_header(file: IO[bytes], max_pixels: int) -> "Image":
    from PIL import Image

    image = Image.open(file)
    if image.format in _EXTERNAL_FORMATS:
        raise ImageDecodingError(
            f"{image.format} is not supported, because Pillow runs an external program for it"
        )
    _check_size(image.size, max_pixels)
    return image


def _convert_in_memory(cell: Any, max_pixels: int) -> "Image":
    if isinstance(cell, np.ndarray):
        _check_size(cell.shape[1::-1], max_pixels)
        return array_to_rgb(cell)
    _check_size(cell.size, max_pixels)
    with _LOAD_LOCK:
        cell.load()
    return convert_to_rgb(cell)


def _check_size(size: tuple[int, ...], max_pixels: int, count_resized_pixels: Any = None) -> None:
    width, height = size
    if not width * height:
        raise ImageDecodingError(f"no pixels: {width} x {height}")
    if width * height > max_pixels:
        raise ImageDecodingError(f"{width} x {height} pixels, more than max_pixels={max_pixels}")
    n_resized = 0 if count_resized_pixels is None else count_resized_pixels(width, height)
    if n_resized > max_pixels:
        raise ImageDecodingError(
            f"{width} x {height} pixels, which the model would resize to {n_resized} pixels, more than "
            f"max_pixels={max_pixels}"
        )
