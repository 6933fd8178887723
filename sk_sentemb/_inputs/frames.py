"""Any X to columns of cells: the one place that tells pandas, polars and pyarrow apart."""

from collections import UserString
from collections.abc import ItemsView, Iterable, KeysView, Mapping, Sequence, Set, ValuesView
from decimal import Decimal
from numbers import Number
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
from narwhals.stable.v2.dependencies import (
    get_pandas,
    get_pyarrow,
    is_into_dataframe,
    is_into_series,
    is_pandas_dataframe,
    is_pyarrow_table,
)
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_feature_names, validate_data


class Cells(NamedTuple):
    """The cells of X, column by column, not yet converted."""

    columns: list[list[Any]]
    names: list[str] | None
    is_1d: bool


def read_cells(
    X: Any,
    input_name: str = "X",
    *,
    noun: str = "text",
    row_types: tuple[type, ...] = (list, tuple),
) -> Cells:
    """Return the cells of any container; a sequence of `row_types` is a sequence of rows."""
    X = to_frame_or_sequence(X, input_name, noun)
    names = None
    if isinstance(X, (list, tuple)):
        is_1d = not (len(X) and _is_row(X[0], row_types))
        columns = [list(X)] if is_1d else _split_rows(X, row_types, input_name, noun)
    elif isinstance(X, np.ndarray):
        is_1d, columns = X.ndim == 1, _split_array(X, input_name)
    else:
        is_1d = is_into_series(X)
        series, all_names = _split_frame(X)
        columns = [column.to_list() for column in series]
        names = all_names if all(isinstance(name, str) for name in all_names) else None
    if not columns:
        raise ValueError(
            f"Found array with 0 feature(s) (shape=({len(X)}, 0)) while a minimum of 1 is "
            f"required. Pass {input_name} with at least one column of {noun}s."
        )
    return Cells(columns, names, is_1d)


def to_frame_or_sequence(X: Any, input_name: str, noun: str) -> Any:
    """Return X as a native frame or series, an array, a list or a tuple; raise for anything else."""
    if isinstance(X, (list, tuple, np.ndarray)):
        return X
    kind = type(X).__name__
    if isinstance(X, (str, UserString)):
        raise ValueError(
            "Iterable over raw text documents expected, string object received. Pass "
            f"[{input_name}] to embed one {noun}."
        )
    if isinstance(X, (bytes, bytearray, memoryview)):
        raise ValueError(
            f"Iterable over raw text documents expected, {kind} object received. Pass "
            f"[str({input_name}, 'utf-8')] to embed one {noun}."
        )
    X = nw.to_native(X, pass_through=True)
    if is_into_dataframe(X) or is_into_series(X):
        return X
    # Where a library is not loaded, X is not one of its arrays.
    if (pd := get_pandas()) and isinstance(X, pd.MultiIndex):
        return pd.DataFrame(X)
    if pd and isinstance(X, (pd.Index, pd.api.extensions.ExtensionArray)):
        return pd.Series(X)
    if (pa := get_pyarrow()) and isinstance(X, pa.Array):
        return pa.chunked_array([X])
    if pa and isinstance(X, pa.RecordBatch):
        return pa.Table.from_batches([X])
    if isinstance(nw.from_native(X, pass_through=True), nw.LazyFrame):
        raise TypeError(
            f"{input_name} is a lazy {kind}, whose rows are not in memory. Pass "
            f"{input_name}.collect(), or {input_name}.compute() for Dask."
        )
    if hasattr(X, "toarray"):  # a sparse container of scipy, recognized without loading scipy
        advice = f", or {input_name}.toarray() to embed its numbers" if noun == "text" else ""
        raise TypeError(
            f"{input_name} is a sparse {kind}, which cannot hold {noun}s. Pass a list, an array or a "
            f"data frame of {noun}s{advice}."
        )
    if hasattr(X, "__array__") and not isinstance(X, np.generic):
        return np.asarray(X)
    if (cells := list_cells(X)) is not None:
        return cells
    advice = _advise(X, input_name) or f"a list of {noun}s, an array or a data frame"
    raise TypeError(
        f"{input_name} is of type {kind}, which is not a sequence of {noun}s. Pass {advice}."
    )


def list_cells(X: Any) -> list[Any] | None:
    """Return the cells of a sequence, such as a list, a deque or a view of a dict, else None."""
    is_text = isinstance(X, (str, UserString, bytes, bytearray, memoryview))
    if is_text or not isinstance(X, (Sequence, KeysView, ValuesView, ItemsView)):
        return None
    # A slice of a Hugging Face column is much faster than its items one by one.
    return list(X[:] if _is_hugging_face(X) and isinstance(X, Sequence) else X)


def make_sliceable(X: Any) -> Any:
    """Return X, or a list of its cells if it is a sequence, so that rows can be selected."""
    if (cells := list_cells(X)) is not None:
        return cells
    if isinstance(X, (Mapping, Set)) or _is_hugging_face(X):
        raise TypeError(
            f"X is of type {type(X).__name__}, which is not a sequence. Pass {_advise(X, 'X')}."
        )
    return X


def _advise(X: Any, input_name: str) -> str | None:
    """Return what to pass instead of a container that is refused."""
    if isinstance(X, Mapping):
        return (
            f"pandas.DataFrame({input_name}) if it maps names to columns, or "
            f"list({input_name}.values())"
        )
    if _is_hugging_face(X) and hasattr(X, "to_pandas"):
        return f"one of its columns, such as {input_name}['text'], or {input_name}.to_pandas()"
    if isinstance(X, Set):
        return f"sorted({input_name}), since a set has no order"
    return f"list({input_name})" if isinstance(X, Iterable) else None


def _is_hugging_face(X: Any) -> bool:
    return type(X).__module__.startswith("datasets.")


def _is_row(value: Any, row_types: tuple[type, ...]) -> bool:
    return isinstance(value, row_types) and getattr(value, "ndim", 1) > 0


def _split_rows(
    rows: Sequence[Any], row_types: tuple[type, ...], input_name: str, noun: str
) -> list[list[Any]]:
    width = len(rows[0])
    for i, row in enumerate(rows):
        if not _is_row(row, row_types):
            raise TypeError(
                f"{input_name} mixes rows and single cells: row 0 is of type {type(rows[0]).__name__}, "
                f"row {i} (counting from 0) of type {type(row).__name__}. Pass a list of {noun}s, or a "
                "list of rows that are all lists."
            )
        if len(row) != width:
            raise ValueError(
                f"{input_name} has rows of different lengths: row 0 has {width} cells, row {i} "
                f"(counting from 0) has {len(row)}. Give every row the same number of {noun}s, with "
                "None for missing ones."
            )
    return [[row[j] for row in rows] for j in range(width)]


def _split_array(X: np.ndarray, input_name: str) -> list[list[Any]]:
    if X.ndim == 0:
        raise TypeError(
            f"{input_name} is a zero-dimensional array of dtype {X.dtype}. Pass an array of shape (n,) "
            f"or (n, k); {input_name}.reshape(1) makes it one row."
        )
    if X.ndim > 2:
        raise ValueError(
            f"Found array with dim {X.ndim}, while dim <= 2 is required: {input_name} has shape "
            f"{X.shape}. Pass an array of shape (n,) or (n, k)."
        )
    if X.dtype.names:
        raise TypeError(
            f"{input_name} is a structured array with the fields {list(X.dtype.names)}. Pass one of "
            f"them, such as {input_name}[{X.dtype.names[0]!r}], or pandas.DataFrame({input_name})."
        )
    if X.dtype.kind in "mM":
        # tolist would turn dates of nanoseconds into integers.
        X = np.ma.masked_where(np.isnat(X), X).astype(str)
    columns = X.T if X.ndim == 2 else X[None]
    if X.dtype == object and not isinstance(X, np.ma.MaskedArray):
        # tolist would take apart cells that are arrays; a row of a matrix is a matrix again.
        return [list(column) for column in np.asarray(columns)]
    # tolist gives Python's own str and numbers, and None where a masked array is masked.
    return columns.tolist()


def _split_frame(X: Any) -> tuple[list[nw.Series], list[Any]]:
    """Return the columns and names of a native series or data frame."""
    # pandas and pyarrow allow repeated column names, which narwhals does not, so their columns are
    # taken by position.
    names: Sequence[Any]
    if is_pandas_dataframe(X):
        names, columns = list(X.columns), [X.iloc[:, j] for j in range(X.shape[1])]
    elif is_pyarrow_table(X):
        # Chunked arrays have no names.
        series = [nw.from_native(column, series_only=True) for column in X.columns]
        named = zip(series, X.column_names, strict=True)
        return [column.alias(name) for column, name in named], X.column_names
    elif is_into_series(X):
        name = nw.from_native(X, series_only=True).name
        names, columns = [name or None], [X]  # the name of an unnamed polars series is ""
    else:
        frame = nw.from_native(X, eager_only=True)
        return list(frame.iter_columns()), frame.columns
    return [nw.from_native(column, series_only=True) for column in columns], list(names)


def named_columns(X: Any) -> dict[str, nw.Series]:
    """Return the columns of a data frame by name."""
    X = nw.to_native(X, pass_through=True)
    if not is_into_dataframe(X):
        raise TypeError(
            f"X is of type {type(X).__name__}, but roles belong to named columns. Pass a data frame "
            "with its rows in memory, for example pandas.DataFrame(X, columns=[...])."
        )
    columns, names = _split_frame(X)
    if others := [name for name in names if not isinstance(name, str)]:
        raise TypeError(
            f"X has columns whose names are not strings, such as {others[0]!r}; rename them: "
            "X.columns = X.columns.astype(str)."
        )
    _check_unique_names(names)
    return dict(zip(names, columns, strict=True))


def _check_unique_names(names: list[Any]) -> None:
    """Raise for a repeated name; scikit-learn does so only in an error of narwhals."""
    if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"X has more than one column of the name {repeated[0]!r}; rename them.")


def columns_of(X: Any) -> list[nw.Series]:
    """Return the columns of a data frame, a series or an array-like."""
    import pandas as pd

    X = nw.to_native(X, pass_through=True)
    if not (is_into_series(X) or is_into_dataframe(X)):
        X = pd.DataFrame(X)
    return _split_frame(X)[0]


def validate_table(estimator: BaseEstimator, X: Any, *, reset: bool) -> Any:
    """Check X like scikit-learn, but without a common dtype for the columns of a data frame."""
    if not hasattr(X, "columns"):
        return validate_data(
            estimator,
            X,
            reset=reset,
            dtype=None,
            ensure_all_finite=False,
            ensure_min_samples=int(reset),
        )
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    if reset and not len(X):
        raise ValueError(
            f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is required by "
            f"{type(estimator).__name__}."
        )
    return X


def validate_feature_names(
    estimator: Any, X: Any, n_columns: int, *, reset: bool, is_1d: bool
) -> None:
    """Store the number and names of the columns in ``fit``; later, compare with them."""
    # One column is often fitted as a column of a frame and later passed as a list.
    if reset or not is_1d:
        if is_pandas_dataframe(X) or is_pyarrow_table(X):
            _check_unique_names(list(X.columns if is_pandas_dataframe(X) else X.column_names))
        _check_feature_names(estimator, X, reset=reset)
    if reset:
        estimator.n_features_in_ = n_columns
    elif n_columns != estimator.n_features_in_:
        raise ValueError(
            f"X has {n_columns} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
            + (" Reshape your data: one column per feature." if is_1d else "")
        )


def is_missing(cell: Any) -> bool:
    """Return whether a cell is None, NaN, NaT, ``pandas.NA``, masked or a blank string."""
    if isinstance(cell, str):
        return not cell.strip()
    if cell is None or cell is np.ma.masked or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(cell, Decimal):  # a signaling NaN cannot be compared
        return cell.is_nan()
    # NaN differs from itself. Other objects are not compared: images would compare their pixels.
    comparable = isinstance(cell, (Number, np.datetime64, np.timedelta64))
    return comparable and bool(cell != cell)
