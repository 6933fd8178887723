"""The content of a cell: what it is known by, and the image in it."""

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
from .rgb import in_rgb, rgb_of_array

if TYPE_CHECKING:
    from PIL.Image import Image

# Counts up whenever the same content would become other pixels.
READING = 1

_DIGEST_BYTES = 32
DIGEST_CHARACTERS = 2 * _DIGEST_BYTES

# Formats for which Pillow runs another program.
_OF_OTHER_PROGRAMS = ("EPS",)

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")

# An image of Pillow reads its file when it is first looked at, which two threads must not do at once.
_LAZY = ForkSafeLock()


class ImageDecodingError(ValueError):
    """Why an image cannot be read, without the place where it stands."""


def digest_of(cell: Any, max_pixels: int, resized: Any) -> str:
    """Return what the content of a cell is known by, wherever it lies.

    Of a file, these are its bytes, of an image in memory its pixels.
    """
    with _telling():
        if not is_file(cell):
            image = _in_memory(cell, max_pixels)
            _check_size(image.size, max_pixels, resized)
            digest = hashlib.blake2b(f"{image.size}".encode(), digest_size=_DIGEST_BYTES)
            digest.update(image.tobytes())
            return digest.hexdigest()
        with _opened(cell) as file:
            # Its header alone: what it says is checked before anything is unpacked.
            _check_size(_header(file, max_pixels).size, max_pixels, resized)
            file.seek(0)
            return _digest_of_file(file)


def image_of(cell: Any, digest: str, max_pixels: int) -> "Image":
    """Return the image in a cell."""
    with _telling():
        if not is_file(cell):
            return _in_memory(cell, max_pixels)
        with _opened(cell) as file:
            if _digest_of_file(file) != digest:
                raise ImageDecodingError("it changed while it was read")
            return in_rgb(_header(file, max_pixels))


def is_file(cell: Any) -> bool:
    """Say whether a cell is a file, by its path or by its bytes."""
    return isinstance(cell, (str, os.PathLike, bytes, bytearray, memoryview))


@contextmanager
def _telling() -> Iterator[None]:
    """Say in one way what decoders say in many."""
    try:
        yield
    except (ImageDecodingError, MemoryError):
        raise
    except FileNotFoundError:
        raise ImageDecodingError("there is no such file") from None
    except Exception as error:  # of damaged data a decoder may raise anything
        from PIL import UnidentifiedImageError

        if isinstance(error, UnidentifiedImageError):
            raise ImageDecodingError("it is no image in a format that Pillow knows") from None
        said = str(error) or type(error).__name__
        raise ImageDecodingError(said) from error


@contextmanager
def _opened(cell: Any) -> Iterator[IO[bytes]]:
    if isinstance(cell, (bytes, bytearray, memoryview)):
        yield io.BytesIO(cell)
        return
    path = os.fspath(cell)
    if isinstance(path, str):
        if _ADDRESS.match(path):
            raise ImageDecodingError("it is an address, and nothing is downloaded; fetch it first")
        path = os.path.expanduser(path)
    kind = os.stat(path).st_mode
    if not stat.S_ISREG(kind):
        # Reading from a pipe or a device might never end.
        raise ImageDecodingError(
            "it is a folder" if stat.S_ISDIR(kind) else "it is no regular file"
        )
    with open(path, "rb") as file:
        yield file


def _digest_of_file(file: IO[bytes]) -> str:
    digest = hashlib.file_digest(
        file,  # type: ignore[arg-type]  # either kind of file will do
        lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES, person=b"file"),
    )
    file.seek(0)
    return digest.hexdigest()


def _header(file: IO[bytes], max_pixels: int) -> "Image":
    from PIL import Image

    image = Image.open(file)
    if image.format in _OF_OTHER_PROGRAMS:
        raise ImageDecodingError(f"{image.format} is not read: Pillow runs another program for it")
    _check_size(image.size, max_pixels)
    return image


def _in_memory(cell: Any, max_pixels: int) -> "Image":
    if isinstance(cell, np.ndarray):
        _check_size(cell.shape[1::-1], max_pixels)
        return rgb_of_array(cell)
    _check_size(cell.size, max_pixels)
    with _LAZY:
        cell.load()
    return in_rgb(cell)


def _check_size(size: tuple[int, ...], max_pixels: int, resized: Any = None) -> None:
    width, height = size
    if not width * height:
        raise ImageDecodingError(f"it has no pixels: {width} x {height}")
    if width * height > max_pixels:
        raise ImageDecodingError(
            f"it has {width} x {height} pixels, more than max_pixels={max_pixels}"
        )
    if resized is not None and resized(width, height) > max_pixels:
        raise ImageDecodingError(
            f"it is {width} x {height}, so elongated that the model would make "
            f"{resized(width, height)} pixels of it, more than max_pixels={max_pixels}"
        )
