"""Columns of images, and which cells are missing, from any X; no file is opened."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from .frames import Cells, is_missing, read_cells, to_frame_or_sequence
from .text import describe_cell, is_pillow_image


@dataclass(frozen=True)
class ImageColumns:
    """The images of X, column by column."""

    cells: list[list[Any]]  # None where a cell is missing
    missing: np.ndarray  # bool of shape (n_rows, n_columns)
    names: list[str] | None
    is_1d: bool

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.missing.shape[0]

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return self.missing.shape[1]


def read_image_columns(X: Any) -> ImageColumns:
    """Return X as columns of images; blank strings are missing, too."""
    if isinstance(X, (str, bytes, bytearray, memoryview, os.PathLike)) or is_pillow_image(X):
        raise ValueError(
            f"X is a single {type(X).__name__}, and not a column of images. Pass [X] to embed one."
        )
    X = to_frame_or_sequence(X, "X", "image")
    if isinstance(X, np.ndarray) and X.dtype.kind in "biufc":
        columns, names, is_1d = _split_pixels(X)
    else:
        columns, names, is_1d = read_cells(X, noun="image")
    cells = [
        [_validate_cell(cell, describe_cell(i, j, columns, names)) for i, cell in enumerate(column)]
        for j, column in enumerate(columns)
    ]
    missing = np.array([[cell is None for cell in column] for column in cells], dtype=bool)
    return ImageColumns(cells, missing.T, names, is_1d)


def _validate_cell(cell: Any, where: str) -> Any:
    """Return the image in a cell, or None where it is missing."""
    if hasattr(cell, "as_py"):  # a pyarrow scalar
        cell = cell.as_py()
    if isinstance(cell, np.ndarray) and cell.ndim:
        masked = np.ma.is_masked(cell) and np.ma.getmaskarray(cell).all()
        return None if masked else _validate_array(cell, where)
    if is_missing(cell):
        return None
    is_file = isinstance(cell, (str, bytes, bytearray, memoryview, os.PathLike))
    if is_file or is_pillow_image(cell):
        return cell
    raise TypeError(
        f"X has {cell!r:.80} of type {type(cell).__name__} in {where}, which is not an image. Pass a "
        "path, the bytes of a file, an image of Pillow, or an array of shape (height, width), (height, "
        "width, 3) or (height, width, 4)."
    )


def _validate_array(pixels: np.ndarray, where: str) -> np.ndarray:
    if np.ma.is_masked(pixels):
        raise ValueError(
            f"X has an array in {where} with some masked pixels. Fill them, or mask all pixels of a "
            "missing image."
        )
    if pixels.dtype.kind not in "biuf":
        raise TypeError(
            f"X has an array of {pixels.dtype} in {where}. Pass integers, floats or booleans."
        )
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4)):
        return pixels
    hint = ""
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4):
        hint = " Its colors come first: pass array.transpose(1, 2, 0)."
    raise ValueError(
        f"X has an array of shape {pixels.shape} in {where}. The shape of an image is (height, width), "
        f"(height, width, 3) or (height, width, 4).{hint}"
    )


def _split_pixels(X: np.ndarray) -> Cells:
    """Return the images in one array of numbers, as one column."""
    if X.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: X is an array of {X.dtype}. Pass integers, floats or booleans."
        )
    if X.ndim == 3 and X.shape[2] in (3, 4):
        raise ValueError(
            f"X is a single image of shape {X.shape}, and not a column of images. Pass [X] to embed "
            "one, or a list for grayscale images that are so narrow."
        )
    if X.ndim not in (3, 4) and X.size:
        raise ValueError(
            f"X is an array of numbers of shape {X.shape}. Pass images in one array as (n, height, "
            "width), (n, height, width, 3) or (n, height, width, 4), or [X] to embed one."
        )
    return Cells([list(X)], None, True) if X.ndim in (3, 4) else read_cells(X, noun="image")
