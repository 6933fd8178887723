"""What a column holds, in numbers: how many words, how many distinct cells, how many dates."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Complex, Real
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from .._inputs import is_missing
from .dates import day_comes_first, read_dates
from .patterns import CODE, PICTURE_FILE, count_words, is_picture, is_whole, number

# Whole numbers of so many digits number things and count none.
_DIGITS_OF_A_CODE = 9


@dataclass(frozen=True)
class ColumnStats:
    """What a column holds."""

    dtype: str
    kind: str
    missing: float
    distinct: float = np.nan
    unique: float = np.nan
    words: float = np.nan
    number: float = np.nan
    date: float = np.nan
    image: float = np.nan
    code: float = np.nan
    whole: bool = False
    others: float = np.nan
    counts_rows: bool = False

    def shown(self) -> dict[str, Any]:
        """Return what users see."""
        hidden = ("kind", "whole", "others", "counts_rows")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden}


def measure(column: nw.Series, *, sample: int) -> ColumnStats:
    """Measure a column."""
    present, kind = _present(column)
    dtype, missing = str(column.dtype), 1 - len(present) / max(len(column), 1)
    if not len(present):
        return ColumnStats(dtype, "empty", missing if len(column) else 0.0)
    if kind in ("other", "image"):
        return ColumnStats(dtype, kind, missing)
    if kind in ("text", "category"):
        step = -(-len(present) // sample)
        sampled = present[::step] if isinstance(present, list) else present.gather_every(step)
        return _of_texts(list(sampled), dtype, kind, missing)
    distinct = len(set(present)) if isinstance(present, list) else present.n_unique()
    whole = kind == "number" and _are_whole(present)
    return ColumnStats(
        dtype,
        kind,
        missing,
        distinct,
        distinct / len(present),
        whole=whole,
        counts_rows=whole and _counts_rows(present, distinct),
    )


def _present(column: nw.Series) -> tuple[list[Any] | nw.Series, str]:
    """Return the cells that are not missing, and their kind, from the dtype or from the cells."""
    kind = _kind_of(column.dtype)
    if kind == "objects":
        cells = column.to_list()
        # Blank text is counted later: what is a column of text is sampled first.
        cells = [cell for cell in cells if isinstance(cell, str) or not is_missing(cell)]
        return cells, _kind_of_cells(cells)
    present = column.drop_nulls()
    if column.dtype.is_float():
        present = present.filter(~present.is_nan())
    return present, kind


def _kind_of(dtype: nw.dtypes.DType) -> str:
    if dtype.is_numeric() or dtype == nw.Duration:
        return "number"
    if dtype == nw.Boolean:
        return "bool"
    if isinstance(dtype, (nw.Categorical, nw.Enum)):
        return "category"
    if dtype == nw.Datetime or dtype == nw.Date:
        return "date"
    if dtype == nw.String:
        return "text"
    return "other" if dtype.is_nested() or dtype == nw.Time else "objects"


def _counts_rows(present: list[Any] | nw.Series, distinct: int) -> bool:
    """Say whether the whole numbers are 0, 1, 2, … or 1, 2, 3, … in some order."""
    if isinstance(present, list):
        first, last = int(min(present)), int(max(present))
    else:
        first, last = int(present.min()), int(present.max())
    return first in (0, 1) and distinct == len(present) == last - first + 1


def _are_whole(present: list[Any] | nw.Series) -> bool:
    """Return whether all numbers are whole, whatever their type; durations are not numbers here."""
    if isinstance(present, list):
        durations = (timedelta, np.timedelta64)
        return all(not isinstance(cell, durations) and is_whole(cell) for cell in present)
    if present.dtype.is_integer():
        return True
    if present.dtype == nw.Duration:
        return False
    values = present.cast(nw.Float64).to_numpy()
    return bool(np.isfinite(values).all()) and np.array_equal(values, np.trunc(values))


def _of_texts(cells: list[Any], dtype: str, kind: str, missing: float) -> ColumnStats:
    """Measure cells that are text, or are read as text, from a column with some share missing."""
    counts = Counter(cell if isinstance(cell, str) else str(cell) for cell in cells)
    blank = [text for text in counts if not text.strip()]
    n_blank = sum(counts.pop(text) for text in blank)
    missing += (1 - missing) * n_blank / len(cells)
    n_cells = counts.total()
    if not n_cells:
        return ColumnStats(dtype, "empty", missing)
    unique = len(counts) / n_cells

    def share(holds: Callable[[str], Any]) -> float:
        return sum(n for text, n in counts.items() if holds(text)) / n_cells

    texts = list(counts)
    numbers = {text: number(text) for text in texts}
    read = [value for value in numbers.values() if value is not None]
    dates = read_dates(texts, day_first=day_comes_first(texts))
    is_date = dict(zip(texts, dates.notna(), strict=True))
    is_code = _codes_of_digits(counts) or (lambda text: not is_date[text] and _is_code(text))
    return ColumnStats(
        dtype,
        kind,
        missing,
        len(counts),
        unique,
        words=sum(n * count_words(text) for text, n in counts.items()) / n_cells,
        number=share(lambda text: numbers[text] is not None),
        date=share(is_date.__getitem__),
        image=share(lambda text: PICTURE_FILE.fullmatch(text.strip())),
        code=share(is_code),
        whole=bool(read) and all(value.is_integer() for value in read),
        others=len(texts) - len(read),
    )


# Complex numbers are none that a model reads.
_NUMBERS = (Real, Decimal)


def _kind_of_cells(cells: list[Any]) -> str:
    """Say what the cells of a column of Python objects are."""
    if all(isinstance(cell, str) for cell in cells):
        return "text"
    if all(isinstance(cell, (bool, np.bool_)) for cell in cells):
        return "bool"
    if all(isinstance(cell, (*_NUMBERS, timedelta, np.timedelta64)) for cell in cells):
        return "number"
    if all(isinstance(cell, (date, np.datetime64, pd.Period)) for cell in cells):
        return "date"
    if all(is_picture(cell) for cell in cells):
        return "image"
    return "other" if any(map(_is_no_text, cells)) else "text"


def _is_no_text(cell: Any) -> bool:
    if isinstance(cell, Complex):
        return not isinstance(cell, Real)
    if isinstance(cell, time):
        return True
    return hasattr(cell, "__len__") and not isinstance(cell, str)


def _is_code(text: str) -> bool:
    return number(text) is None and bool(CODE.fullmatch(text.strip()))


def _digits(text: str) -> str:
    return text.strip().removeprefix("+")


def _codes_of_digits(counts: Counter[str]) -> Callable[[str], bool] | None:
    """Return what tells codes, if the column has the look of codes made of digits.

    Post codes and account numbers are written as numbers, yet with leading zeros, or with more digits
    than one counts with. Salaries, too, are of one length: that alone makes no code.
    """
    whole = [digits for digits in map(_digits, counts) if digits.isdecimal()]
    if not whole or 2 * len(whole) < len(counts):
        return None
    leading_zero = any(digits[0] == "0" and len(digits) > 1 for digits in whole)
    if leading_zero or min(map(len, whole)) >= _DIGITS_OF_A_CODE:
        return lambda text: _digits(text).isdecimal() or _is_code(text)
    return None
