"""Columns of any dtype to numbers, and to categories."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from numbers import Real
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from .._inputs import columns_of, is_missing
from .._warn import warn
from ..exceptions import UnreadableCellWarning
from .patterns import is_whole, number, to_float


def read_numbers(X: Any) -> np.ndarray:
    """Read numbers, also from text.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_columns)
        Numbers; or text such as ``"1,200.5"``, ``"$-3"``, ``"3 €"``, ``"7e-3"``, ``"12 %"``, which is
        12, and ``"(5.00)"``, which is -5. A comma stands between thousands; ``"0,512"`` and
        ``"12,50"``, with a decimal comma, are no numbers. Durations become seconds.

    Returns
    -------
    ndarray of shape (n_samples, n_columns), float64
        The numbers, and NaN where a cell is missing or is no number.

    Warns
    -----
    UnreadableCellWarning
        If cells with something in them are no numbers. It counts them.

    See Also
    --------
    sk_sentemb.make_multimodal_transformer : Uses it for columns of numbers.

    Examples
    --------
    >>> from sk_sentemb.preprocessing import read_numbers
    >>> read_numbers([["1,200.5", 3], [None, " $7 "]])
    array([[1200.5,    3. ],
           [   nan,    7. ]])
    """
    return _read(X, _numbers)


def read_categories(X: Any, *, fill: str | None = None) -> np.ndarray:
    """Read categories as strings, whatever they are.

    A category that is 3 in one table and 3.0 in another, which has missing cells, is the same.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_columns)
        Strings, numbers, booleans, dates.

    fill : str, default=None
        The category of missing cells, together with the cells that have this very text. None for NaN.

    Returns
    -------
    ndarray of shape (n_samples, n_columns), object
        Strings, and ``fill`` or NaN where a cell is missing.

    See Also
    --------
    sk_sentemb.make_multimodal_transformer : Uses it for columns of categories.

    Examples
    --------
    >>> from sk_sentemb.preprocessing import read_categories
    >>> read_categories([["S", 3.0], [None, True]])
    array([['S', '3'],
           [nan, 'True']], dtype=object)
    >>> read_categories([["S"], [None]], fill="missing")
    array([['S'],
           ['missing']], dtype=object)
    """
    return _read(X, lambda column: _categories(column, np.nan if fill is None else fill))


def _read(X: Any, read: Callable[[nw.Series], np.ndarray]) -> np.ndarray:
    return np.stack([read(column) for column in columns_of(X)], axis=1)


def _numbers(column: nw.Series) -> np.ndarray:
    if column.dtype == nw.Duration:
        # In floating point, since the unit is the column's.
        return column.to_numpy() / np.timedelta64(1, "s")
    if column.dtype.is_float():
        return column.cast(nw.Float64).to_numpy().astype(np.float64)
    if column.dtype.is_integer() or column.dtype == nw.Boolean:
        # Not by a cast: pyarrow refuses integers that floats hold by rounding only.
        numbers = column.fill_null(0 if column.dtype.is_integer() else False).to_numpy()
        return np.where(column.is_null().to_numpy(), np.nan, numbers.astype(np.float64))
    cells = column.to_list()
    numbers = np.full(len(cells), np.nan)
    n_unreadable = 0
    for i, cell in enumerate(cells):
        if not is_missing(cell):
            value = _number(cell)
            n_unreadable += value is None
            numbers[i] = np.nan if value is None else value
    if n_unreadable:
        warn(
            f"{n_unreadable} of {len(cells)} cells of {column.name!r} are no numbers and became "
            "missing. Correct them, or make the column a category or text.",
            UnreadableCellWarning,
        )
    return numbers


def _number(cell: Any) -> float | None:
    if isinstance(cell, str):
        return number(cell)
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    return to_float(cell) if isinstance(cell, (Real, Decimal)) else None


def _categories(column: nw.Series, fill: Any) -> np.ndarray:
    cells = column.to_list()
    categories = np.empty(len(cells), dtype=object)
    categories[:] = [fill if is_missing(cell) else _category(cell) for cell in cells]
    return categories


def _category(cell: Any) -> str:
    if isinstance(cell, (float, np.floating, Decimal)) and is_whole(cell):
        return str(int(cell))
    if isinstance(cell, Decimal):
        # Whatever the scale of the column.
        return f"{cell.normalize():f}"
    if isinstance(cell, pd.Timedelta):
        cell = cell.to_pytimedelta()  # which has another text
    return str(cell)
