"""Parse columns of any dtype as numbers or as categories."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from math import isfinite
from numbers import Integral, Real
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._atomic_fit import atomic_fit
from .._inputs import columns_of, is_missing, validate_table
from .._warn import warn
from ..exceptions import UnreadableCellWarning

# Sign and currency in either order, digits with or without thousands separators, exponent, percent or
# currency. The first group of thousands has no leading zero: "0,512" has a decimal comma.
_NUMBER = re.compile(
    r"(?:([+-])\s*)?(?:([$€£¥])\s*)?(?:([+-])\s*)?"
    r"((?:[1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(e[+-]?\d+)?(?:\s*([%$€£¥]))?",
    re.IGNORECASE,
)

# Categories that are equal, depending on the library that reads the file.
_EQUAL = {"True": "1", "False": "0", "1": "True", "0": "False"}


def parse_numbers(X: Any) -> np.ndarray:
    """Parse columns of numbers, including numbers written as text.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_columns)
        Numbers of any dtype, durations, or text.

        - Text may have a sign, a currency symbol, thousands separators, an exponent or a percent sign:
          ``"1,200.5"``, ``"$-3"``, ``"3 €"``, ``"7e-3"``, and ``"12 %"``, which becomes 12.
        - Parentheses make a number negative, as in accounting: ``"(5.00)"`` becomes -5.
        - Decimal commas are not supported: ``"0,512"`` and ``"12,50"`` become NaN.
        - Durations become seconds.

    Returns
    -------
    ndarray of shape (n_samples, n_columns), dtype float64
        The numbers, NaN for missing values and for cells that are not numbers.

    Warns
    -----
    UnreadableCellWarning
        If cells that are not missing cannot be parsed. The warning counts them.

    See Also
    --------
    make_multimodal_transformer : Parse, impute and scale the columns of numbers.

    Examples
    --------
    >>> from sk_sentemb.preprocessing import parse_numbers
    >>> parse_numbers([["1,200.5", 3], [None, " $7 "]])
    array([[1200.5,    3. ],
           [   nan,    7. ]])
    """
    return _parse_columns(X, _parse_numbers)


def parse_categories(X: Any, *, fill: str | None = None) -> np.ndarray:
    """Convert categories of any dtype to strings.

    Equal categories become equal strings: 3 in one table and 3.0 in another, which has missing
    values, are both ``"3"``.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_columns)
        Strings, numbers, booleans or dates.

    fill : str, default=None
        The string for missing values. If None, missing values become NaN.

    Returns
    -------
    ndarray of shape (n_samples, n_columns), dtype object
        Strings, and `fill` or NaN for missing values.

    See Also
    --------
    make_multimodal_transformer : Parse and encode the columns of categories.

    Examples
    --------
    >>> from sk_sentemb.preprocessing import parse_categories
    >>> parse_categories([["S", 3.0], [None, True]])
    array([['S', '3'],
           [nan, 'True']], dtype=object)
    >>> parse_categories([["S"], [None]], fill="missing")
    array([['S'],
           ['missing']], dtype=object)
    """
    return _parse_columns(
        X, lambda column: _parse_categories(column, np.nan if fill is None else fill)
    )


class CategoryParser(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Convert categories to strings, and True and 1, False and 0 to the one of both seen in ``fit``."""

    def __init__(self, fill: str = "missing") -> None:
        self.fill = fill

    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Store which of True, False, 1 and 0 each column contains."""
        categories = parse_categories(validate_table(self, X, reset=True), fill=self.fill)
        self.seen_ = [_EQUAL.keys() & set(column) for column in categories.T]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Convert categories to strings."""
        check_is_fitted(self)
        categories = parse_categories(validate_table(self, X, reset=False), fill=self.fill)
        for column, seen in zip(categories.T, self.seen_, strict=True):
            for other, name in _EQUAL.items():
                if name in seen and other not in seen:
                    column[column == other] = name
        return categories

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def parse_number(text: str) -> float | None:
    """Return the number that a text represents, or None."""
    text = text.strip()
    negative = text.startswith("(") and text.endswith(")")
    found = _NUMBER.fullmatch(text[1:-1].strip() if negative else text)
    if found is None:
        return None
    first_sign, currency, second_sign, digits, exponent, unit = found.groups()
    signs = (first_sign or "") + (second_sign or "")
    if len(signs) + negative > 1 or (currency and unit):
        return None
    value = float(f"{signs}{digits.replace(',', '')}{exponent or ''}")
    if not isfinite(value):
        return None
    return -value if negative else value


def to_float(cell: Any) -> float | None:
    """Return a number as a float, or None if it is finite and too large for a float."""
    if isinstance(cell, Decimal) and cell.is_nan():
        return float("nan")  # float() refuses signaling NaN
    try:
        value = float(cell)
    except OverflowError:
        return None
    too_large = isinstance(cell, Decimal) and cell.is_finite() and not isfinite(value)
    return None if too_large else value


def is_whole(cell: Any) -> bool:
    """Return whether a number of any type and size is an integer."""
    if isinstance(cell, Integral):
        return True
    if isinstance(cell, Decimal):
        return cell.is_finite() and cell == cell.to_integral_value()
    return bool(cell % 1 == 0)


def warn_unreadable(n_unreadable: int, column: nw.Series, kind: str) -> None:
    """Warn about cells that are not numbers or dates."""
    if n_unreadable:
        warn(
            f"{n_unreadable} of {len(column)} cells of {column.name!r} are not {kind} and are "
            "treated as missing. Correct them, or use the column as categories or text.",
            UnreadableCellWarning,
        )


def _parse_columns(X: Any, parse: Callable[[nw.Series], np.ndarray]) -> np.ndarray:
    return np.stack([parse(column) for column in columns_of(X)], axis=1)


def _parse_numbers(column: nw.Series) -> np.ndarray:
    if column.dtype == nw.Duration:
        # Floating-point division, because the unit depends on the column.
        return column.to_numpy() / np.timedelta64(1, "s")
    if column.dtype.is_float():
        return column.cast(nw.Float64).to_numpy().astype(np.float64)
    if column.dtype.is_integer() or column.dtype == nw.Boolean:
        # Without a cast of narwhals: pyarrow refuses integers that a float only approximates.
        numbers = column.fill_null(0 if column.dtype.is_integer() else False).to_numpy()
        return np.where(column.is_null().to_numpy(), np.nan, numbers.astype(np.float64))
    cells = [(np.nan if is_missing(cell) else _parse_cell(cell)) for cell in column.to_list()]
    warn_unreadable(cells.count(None), column, "numbers")
    return np.array(cells, dtype=np.float64)


def _parse_cell(cell: Any) -> float | None:
    if isinstance(cell, str):
        return parse_number(cell)
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    return to_float(cell) if isinstance(cell, (Real, Decimal)) else None


def _parse_categories(column: nw.Series, fill: Any) -> np.ndarray:
    cells = column.to_list()
    categories = np.empty(len(cells), dtype=object)
    categories[:] = [fill if is_missing(cell) else _format_category(cell) for cell in cells]
    return categories


def _format_category(cell: Any) -> str:
    if isinstance(cell, (float, np.floating, Decimal)) and is_whole(cell):
        return str(int(cell))
    if isinstance(cell, Decimal):  # whatever the scale of the column
        return f"{cell.normalize():f}"
    if isinstance(cell, pd.Timedelta):  # formatted unlike Python's
        cell = cell.to_pytimedelta()
    return str(cell)
