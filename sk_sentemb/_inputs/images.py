"""Reads any X that scikit-learn users hold into columns of images and a mask of missing cells."""

import numbers
import os
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from .containers import advise_container, list_cells
from .text import _columns_of_frame, is_pil


@dataclass(frozen=True)
class ImageColumns:
    """The images of X, column by column."""

    cells: list[list[Any]]
    missing: np.ndarray  # bool of shape (n_rows, n_columns)
    names: list[str] | None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.missing.shape[0]

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return self.missing.shape[1]


def read_image_columns(X: Any) -> ImageColumns:
    """Read X into columns of images; no file is opened.

    None, NaN, NaT, ``pandas.NA``, null, blank strings and what a masked array masks are missing.
    """
    columns, names = _columns_of(X)
    if not columns:
        raise ValueError(
            f"Found array with 0 feature(s) (shape=({len(X)}, 0)) while a minimum of 1 is "
            "required. Pass X with at least one column of images."
        )
    cells = []
    missing = np.zeros((len(columns[0]), len(columns)), dtype=bool)
    for j, column in enumerate(columns):
        where = ""
        if names or len(columns) > 1:
            where = f", column {(names[j] if names else j)!r}"
        checked = [_image_in(cell, i, where) for i, cell in enumerate(column)]
        missing[:, j] = [cell is None for cell in checked]
        cells.append(checked)
    return ImageColumns(cells, missing, names)


def _image_in(cell: Any, row: int, where: str) -> Any:
    """Return a cell, or None where it is missing."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    if isinstance(cell, (str, bytes, bytearray, memoryview, os.PathLike)):
        return cell
    if hasattr(cell, "as_py"):  # a pyarrow scalar
        return _image_in(cell.as_py(), row, where)
    if is_pil(cell):
        return cell
    place = f"row {row} (counting from 0){where}"
    if isinstance(cell, np.ndarray) and cell.ndim:
        masked = np.ma.is_masked(cell) and np.ma.getmaskarray(cell).all()
        return None if masked else _array_in(cell, place)
    if cell is np.ma.masked or type(cell).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(cell, (np.datetime64, np.timedelta64)) and np.isnat(cell):
        return None
    if isinstance(cell, Decimal) and cell.is_nan():  # a signaling NaN cannot be compared
        return None
    if isinstance(cell, numbers.Number) and cell != cell:  # NaN
        return None
    raise TypeError(
        f"X has {cell!r:.80} of type {type(cell).__name__} in {place}, which is no image. Pass a path, "
        "the bytes of a file, an image of PIL, or an array of shape (height, width), or (height, width, "
        "3) or (height, width, 4)."
    )


def _array_in(pixels: np.ndarray, place: str) -> np.ndarray:
    if np.ma.is_masked(pixels):
        raise ValueError(
            f"X has an array in {place} of which some pixels are masked. Fill them, or mask the whole "
            "image for a missing one."
        )
    if pixels.dtype.kind not in "biuf":
        raise TypeError(
            f"X has an array of {pixels.dtype} in {place}; an image is of integers, floats or booleans."
        )
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4)):
        return pixels
    hint = ""
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4):
        hint = " Its colours stand first: pass array.transpose(1, 2, 0)."
    raise ValueError(
        f"X has an array of shape {pixels.shape} in {place}; an image is of shape (height, width), "
        f"(height, width, 3) or (height, width, 4).{hint}"
    )


def _columns_of(X: Any) -> tuple[list[list[Any]], list[str] | None]:
    if isinstance(X, (str, bytes, bytearray, memoryview, os.PathLike)) or is_pil(X):
        raise ValueError(
            f"X is a single {type(X).__name__}, and not a column of images. Pass [X] to embed one."
        )
    if not isinstance(X, (list, tuple, np.ndarray)):
        X = _as_frame_or_array(X)
    if isinstance(X, (list, tuple)):
        return _columns_of_rows(X), None
    if isinstance(X, np.ndarray):
        return _columns_of_array(X), None
    return _columns_of_frame(X)


def _columns_of_rows(rows: list[Any] | tuple[Any, ...]) -> list[list[Any]]:
    if not any(isinstance(row, (list, tuple)) for row in rows):
        return [list(rows)]
    width = len(rows[0]) if isinstance(rows[0], (list, tuple)) else None
    for i, row in enumerate(rows):
        if not isinstance(row, (list, tuple)) or len(row) != width:
            raise ValueError(
                f"X mixes rows of different lengths, or rows and single cells: row 0 is "
                f"{rows[0]!r:.60}, row {i} (counting from 0) is {row!r:.60}. Give every row the same "
                "number of images, with None for those that are missing."
            )
    return [[row[j] for row in rows] for j in range(width or 0)]


def _columns_of_array(X: np.ndarray) -> list[list[Any]]:
    if X.dtype.kind in "biuf" and X.ndim == 3 and X.shape[2] in (3, 4):
        raise ValueError(
            f"X is a single image of shape {X.shape}, and not a column of images. Pass [X] to embed "
            "one; images of grey that are so narrow go in a list."
        )
    if X.dtype.kind in "biuf" and X.ndim in (3, 4):
        return [list(X)]
    if X.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: X is an array of {X.dtype}, and images are of integers, "
            "floats or booleans."
        )
    if X.dtype.kind in "biuf" and X.size:
        raise ValueError(
            f"X is an array of numbers of shape {X.shape}. Images in one array have the shape (n, "
            "height, width), (n, height, width, 3) or (n, height, width, 4); pass [X] to embed one."
        )
    if X.ndim not in (1, 2):
        raise ValueError(
            f"Found array with dim {X.ndim}, while dim <= 2 is required: X has shape {X.shape}. "
            "Pass an array of shape (n,) or (n, k)."
        )
    # Cell by cell: tolist would take arrays apart that are cells.
    columns = X.T if X.ndim == 2 else X[None]
    plain = X.dtype.kind in "US"
    return [column.tolist() if plain else list(column) for column in columns]


def _as_frame_or_array(X: Any) -> Any:
    import narwhals.stable.v2 as nw
    from narwhals.stable.v2.dependencies import is_into_dataframe, is_into_series

    X = nw.to_native(X, pass_through=True)
    if is_into_dataframe(X) or is_into_series(X):
        return X
    if hasattr(X, "to_pylist"):  # an array of pyarrow that is no series to narwhals
        return np.array([*X.to_pylist(), None], dtype=object)[:-1]
    if hasattr(X, "__array__") and not isinstance(X, np.generic):
        return np.asarray(X)
    if (cells := list_cells(X)) is not None:
        return cells
    kind = type(X).__name__
    if hasattr(X, "toarray"):  # scipy's own, told without loading scipy
        raise TypeError(f"X is a sparse {kind}, which cannot hold images. Pass a list of images.")
    todo = advise_container(X) or "a list of images, an array or a data frame"
    if isinstance(nw.from_native(X, pass_through=True), nw.LazyFrame):
        todo = "X.collect(), or X.compute() for Dask"
    raise TypeError(f"X is of type {kind}, which is not a sequence of images. Pass {todo}.")
