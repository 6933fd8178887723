"""Reads any X that scikit-learn users hold into columns of text and a mask of missing cells."""

from collections import UserString
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from .containers import advise_container, list_cells


@dataclass(frozen=True)
class TextColumns:
    """The text of X, column by column."""

    texts: list[list[Any]]
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


def read_text_columns(X: Any) -> TextColumns:
    """Read X into columns of text.

    None, NaN, NaT, ``pandas.NA``, null and the masked cells of a masked array are missing. Other
    cells that are not text, such as numbers, dates or paths, become ``str(cell)``.
    """
    columns, names = read_cells(X)
    texts = []
    missing = np.zeros((len(columns[0]), len(columns)), dtype=bool)
    for j, cells in enumerate(columns):
        # One pass in C finds the common case, a column of nothing but str.
        if set(map(type, cells)) <= {str}:
            texts.append(cells)
            continue
        where = " (counting from 0)"
        if names or len(columns) > 1:
            where += f", column {(names[j] if names else j)!r}"
        cells = [
            cell if type(cell) is str else _text_of_cell(cell, f"row {i}{where}")
            for i, cell in enumerate(cells)
        ]
        missing[:, j] = [cell is None for cell in cells]
        texts.append([cell or "" for cell in cells])
    return TextColumns(texts, missing, names)


def read_cells(X: Any) -> tuple[list[list[Any]], list[str] | None]:
    """Read X into columns of cells, without conversion."""
    names = None
    if not isinstance(X, (list, tuple, np.ndarray)):
        X = _as_frame_or_array(X)
    if isinstance(X, (list, tuple)):
        columns = _columns_of_rows(X)
    elif isinstance(X, np.ndarray):
        columns = _columns_of_array(X)
    else:
        columns, names = _columns_of_frame(X)
    if not columns:
        raise ValueError(
            f"Found array with 0 feature(s) (shape=({len(X)}, 0)) while a minimum of 1 is "
            "required. Pass X with at least one column of text."
        )
    return columns, names


def read_argument(X: Any, name: str) -> TextColumns:
    """Read an argument that has another name than X, which errors then say."""
    try:
        return read_text_columns(X)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}, here called X: {error}") from error


def _text_of_cell(cell: Any, place: str) -> str | None:
    """Return the text of one cell, or None where it is missing."""
    if cell is None or cell is np.ma.masked:
        return None
    if isinstance(cell, str):
        # Not str(cell): of an Enum that is also a str, the text is its value.
        return str.__str__(cell)
    if isinstance(cell, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"X has {type(cell).__name__} in {place}, but text must be str. Decode it first, for "
            "example with str(cell, 'utf-8')."
        )
    if isinstance(cell, (complex, np.complexfloating)):
        raise ValueError(
            f"Complex data not supported: X has {cell!r} in {place}. Pass text, or real numbers "
            "to be read as text."
        )
    if hasattr(cell, "as_py"):  # a pyarrow scalar, whose null would read "None"
        return _text_of_cell(cell.as_py(), place)
    if isinstance(cell, (Iterable, np.void)):  # np.void: a record of a structured array
        end_to_end_task = " If rows are mappings of names to cells, pass pandas.DataFrame(X)."
        raise TypeError(
            f"X has a cell of type {type(cell).__name__} in {place}, but it must hold one text. "
            "Join its parts into one string, or give every row the same number of texts."
            + (end_to_end_task if isinstance(cell, Mapping) else "")
        )
    kind = type(cell)
    # The text of a function or an object without one of its own would be its address in memory.
    has_no_text = kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__
    if is_pil(cell) or callable(cell) or has_no_text:
        raise TypeError(
            f"X has a cell of type {kind.__name__} in {place}, which is no text. Pass texts, and "
            "images to an ImageEmbedder."
        )
    # pandas.NA by its type's name, so that pandas need not be loaded: its comparisons have no truth
    # value. NaN and NaT are the cells that differ from themselves; a signaling NaN cannot be compared.
    if kind.__name__ == "NAType" or (cell.is_nan() if kind is Decimal else cell != cell):
        return None
    return str(cell)


def is_pil(value: Any) -> bool:
    """Say whether something is an image of PIL, without loading PIL."""
    return any(kind.__module__ == "PIL.Image" for kind in type(value).__mro__)


def _columns_of_rows(rows: Sequence[Any]) -> list[list[Any]]:
    if not rows or not _is_row(rows[0]):
        return [list(rows)]
    width = len(rows[0])
    for i, row in enumerate(rows):
        if not _is_row(row):
            raise TypeError(
                f"X mixes rows and single cells: row 0 is of type {type(rows[0]).__name__}, row "
                f"{i} (counting from 0) of type {type(row).__name__}. Pass a list of texts, or a "
                "list of rows that are all lists."
            )
        if len(row) != width:
            raise ValueError(
                f"X has rows of different lengths: row 0 has {width} cells, row {i} (counting "
                f"from 0) has {len(row)}. Give every row the same number of texts, with None for "
                "those that are missing."
            )
    return [[row[j] for row in rows] for j in range(width)]


def _is_row(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _columns_of_array(X: np.ndarray) -> list[list[Any]]:
    if X.ndim == 0:
        raise TypeError(
            f"X is a zero-dimensional array of dtype {X.dtype}. Pass an array of shape (n,) or "
            "(n, k); X.reshape(1) makes it one row."
        )
    if X.ndim > 2:
        raise ValueError(
            f"Found array with dim {X.ndim}, while dim <= 2 is required: X has shape {X.shape}. "
            "Pass an array of shape (n,) or (n, k)."
        )
    if X.dtype.names:
        raise TypeError(
            f"X is a structured array with the fields {list(X.dtype.names)}. Pass one of them, such as "
            f"X[{X.dtype.names[0]!r}], or pandas.DataFrame(X)."
        )
    if X.dtype.kind in "mM":
        # tolist would turn dates of nanoseconds into integers.
        X = np.ma.masked_where(np.isnat(X), X).astype(str)
    # tolist gives Python's own str and numbers, and None where a masked array is masked.
    return X.T.tolist() if X.ndim == 2 else [X.tolist()]


def _columns_of_frame(X: Any) -> tuple[list[list[Any]], list[str] | None]:
    import narwhals.stable.v2 as nw
    from narwhals.stable.v2.dependencies import is_pandas_dataframe, is_pyarrow_table

    names: list[Any]
    columns: list[Any]
    # pandas and pyarrow allow repeated column names, which narwhals does not, so their columns are
    # taken by position.
    if is_pandas_dataframe(X):
        names, columns = list(X.columns), [X.iloc[:, j] for j in range(X.shape[1])]
    elif is_pyarrow_table(X):
        names, columns = X.column_names, X.columns
    else:
        frame = nw.from_native(X, eager_only=True, allow_series=True)
        if isinstance(frame, nw.Series):
            # The name of an unnamed polars series is "".
            names, columns = [frame.name or None], [frame]
        else:
            names, columns = frame.columns, list(frame.iter_columns())
    cells = [nw.from_native(column, series_only=True).to_list() for column in columns]
    return cells, names if all(isinstance(name, str) for name in names) else None


def _as_frame_or_array(X: Any) -> Any:
    """Return X as something that narwhals reads or as an array, or say what to pass instead."""
    # Here, not above: a list of str needs none of it, and one text should take microseconds.
    import narwhals.stable.v2 as nw
    from narwhals.stable.v2.dependencies import (
        get_pandas,
        get_pyarrow,
        is_into_dataframe,
        is_into_series,
    )

    kind = type(X).__name__
    if isinstance(X, (str, UserString)):
        raise ValueError(
            "Iterable over raw text documents expected, string object received. Pass [X] to embed "
            "one text."
        )
    if isinstance(X, (bytes, bytearray, memoryview)):
        raise ValueError(
            f"Iterable over raw text documents expected, {kind} object received. Pass "
            "[str(X, 'utf-8')] to embed one text."
        )
    X = nw.to_native(X, pass_through=True)
    if is_into_dataframe(X) or is_into_series(X):
        return X
    # Where a library is not loaded, X is not one of its arrays.
    if (pd := get_pandas()) and isinstance(X, (pd.Index, pd.api.extensions.ExtensionArray)):
        return pd.DataFrame(X)
    if (pa := get_pyarrow()) and isinstance(X, pa.Array):
        return pa.chunked_array([X])
    if pa and isinstance(X, pa.RecordBatch):
        return pa.Table.from_batches([X])
    if isinstance(nw.from_native(X, pass_through=True), nw.LazyFrame):
        raise TypeError(
            f"X is a lazy {kind}, whose rows are not in memory. Pass X.collect(), or "
            "X.compute() for Dask."
        )
    if hasattr(X, "toarray"):  # scipy's own, told without loading scipy
        raise TypeError(
            f"X is a sparse {kind}, which cannot hold text. Pass a list, an array or a data frame "
            "of texts, or X.toarray() to read the numbers as text."
        )
    if hasattr(X, "__array__") and not isinstance(X, np.generic):
        return np.asarray(X)
    if (cells := list_cells(X)) is not None:
        return cells
    todo = advise_container(X) or "a list of texts, an array or a data frame"
    raise TypeError(f"X is of type {kind}, which is not a sequence of texts. Pass {todo}.")
