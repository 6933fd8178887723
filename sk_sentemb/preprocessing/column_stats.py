"""Statistics of a column: its words, distinct cells, numbers, dates, images and codes."""

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
from .dates import is_day_first, parse_dates
from .parsing import is_whole, parse_number
from .patterns import CODE, IMAGE_FILE, count_words, is_image

# Integers in text with this many digits are codes rather than quantities.
_MIN_DIGITS_OF_CODE = 9


@dataclass(frozen=True)
class ColumnStats:
    """Statistics of the cells of a column that are not missing, NaN where the dtype decides."""

    dtype: str
    cell_type: str
    missing: float
    distinct: float = np.nan
    unique: float = np.nan
    words: float = np.nan
    number: float = np.nan
    date: float = np.nan
    image: float = np.nan
    code: float = np.nan
    all_whole: bool = False
    n_other: float = np.nan
    is_row_number: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics that users see."""
        hidden = ("cell_type", "all_whole", "n_other", "is_row_number")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden}


def compute_stats(column: nw.Series, *, sample: int) -> ColumnStats:
    """Compute the statistics of a column, those of text from at most `sample` cells."""
    present, cell_type = _drop_missing(column)
    dtype, missing = str(column.dtype), 1 - len(present) / max(len(column), 1)
    if not len(present):
        return ColumnStats(dtype, "empty", missing if len(column) else 0.0)
    if cell_type in ("other", "image"):
        return ColumnStats(dtype, cell_type, missing)
    if cell_type in ("text", "category"):
        step = -(-len(present) // sample)
        sampled = present[::step] if isinstance(present, list) else present.gather_every(step)
        return _compute_text_stats(list(sampled), dtype, cell_type, missing)
    distinct = len(set(present)) if isinstance(present, list) else present.n_unique()
    all_whole = cell_type == "number" and _are_whole(present)
    return ColumnStats(
        dtype,
        cell_type,
        missing,
        distinct,
        distinct / len(present),
        all_whole=all_whole,
        is_row_number=all_whole and _are_row_numbers(present, distinct),
    )


def _drop_missing(column: nw.Series) -> tuple[list[Any] | nw.Series, str]:
    """Return the cells that are not missing, and their type."""
    cell_type = _infer_type_from_dtype(column.dtype)
    if cell_type == "objects":
        # Blank text is dropped later, after sampling.
        cells = [c for c in column.to_list() if isinstance(c, str) or not is_missing(c)]
        return cells, _infer_type_from_cells(cells)
    present = column.drop_nulls()
    if column.dtype.is_float():
        present = present.filter(~present.is_nan())
    return present, cell_type


def _infer_type_from_dtype(dtype: nw.dtypes.DType) -> str:
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


def _are_row_numbers(present: list[Any] | nw.Series, distinct: int) -> bool:
    """Return whether integers are 0, 1, 2, … or 1, 2, 3, … in any order."""
    if isinstance(present, list):
        first, last = int(min(present)), int(max(present))
    else:
        first, last = int(present.min()), int(present.max())
    return first in (0, 1) and distinct == len(present) == last - first + 1


def _are_whole(present: list[Any] | nw.Series) -> bool:
    """Return whether all numbers are integers of any type; durations are not."""
    if isinstance(present, list):
        durations = (timedelta, np.timedelta64)
        return all(not isinstance(cell, durations) and is_whole(cell) for cell in present)
    if present.dtype.is_integer():
        return True
    if present.dtype == nw.Duration:
        return False
    values = present.cast(nw.Float64).to_numpy()
    return bool(np.isfinite(values).all()) and np.array_equal(values, np.trunc(values))


def _compute_text_stats(
    cells: list[Any], dtype: str, cell_type: str, missing: float
) -> ColumnStats:
    """Compute the statistics of text, from cells of a column with a known share of missing values."""
    counts = Counter(cell if isinstance(cell, str) else str(cell) for cell in cells)
    blank = [text for text in counts if not text.strip()]
    n_blank = sum(counts.pop(text) for text in blank)
    missing += (1 - missing) * n_blank / len(cells)
    n_cells = counts.total()
    if not n_cells:
        return ColumnStats(dtype, "empty", missing)
    unique = len(counts) / n_cells

    def compute_share(condition: Callable[[str], Any]) -> float:
        return sum(n for text, n in counts.items() if condition(text)) / n_cells

    texts = list(counts)
    by_text = {text: parse_number(text) for text in texts}
    numbers = [value for value in by_text.values() if value is not None]
    dates = parse_dates(texts, day_first=is_day_first(texts))
    is_date = dict(zip(texts, dates.notna(), strict=True))
    is_code = _find_digit_codes(counts) or (lambda text: not is_date[text] and _is_code(text))
    return ColumnStats(
        dtype,
        cell_type,
        missing,
        len(counts),
        unique,
        words=sum(n * count_words(text) for text, n in counts.items()) / n_cells,
        number=compute_share(lambda text: by_text[text] is not None),
        date=compute_share(is_date.__getitem__),
        image=compute_share(lambda text: IMAGE_FILE.fullmatch(text.strip())),
        code=compute_share(is_code),
        all_whole=bool(numbers) and all(value.is_integer() for value in numbers),
        n_other=len(texts) - len(numbers),
    )


def _infer_type_from_cells(cells: list[Any]) -> str:
    """Return the type of Python objects; complex numbers are of no use to a model."""
    if all(isinstance(cell, str) for cell in cells):
        return "text"
    if all(isinstance(cell, (bool, np.bool_)) for cell in cells):
        return "bool"
    if all(isinstance(cell, (Real, Decimal, timedelta, np.timedelta64)) for cell in cells):
        return "number"
    if all(isinstance(cell, (date, np.datetime64, pd.Period)) for cell in cells):
        return "date"
    if all(is_image(cell) for cell in cells):
        return "image"
    return "other" if any(map(_has_no_text, cells)) else "text"


def _has_no_text(cell: Any) -> bool:
    if isinstance(cell, Complex):
        return not isinstance(cell, Real)
    if isinstance(cell, time):
        return True
    return hasattr(cell, "__len__") and not isinstance(cell, str)


def _is_code(text: str) -> bool:
    return parse_number(text) is None and bool(CODE.fullmatch(text.strip()))


def _strip_sign(text: str) -> str:
    return text.strip().removeprefix("+")


def _find_digit_codes(counts: Counter[str]) -> Callable[[str], bool] | None:
    """Return a function that recognizes codes, if those of the column consist of digits, or None."""
    # Postal codes and account numbers have leading zeros or many digits. An equal number of digits is
    # not enough, since salaries have it, too.
    whole = [digits for digits in map(_strip_sign, counts) if digits.isdecimal()]
    if not whole or 2 * len(whole) < len(counts):
        return None
    leading_zero = any(digits[0] == "0" and len(digits) > 1 for digits in whole)
    if leading_zero or min(map(len, whole)) >= _MIN_DIGITS_OF_CODE:
        return lambda text: _strip_sign(text).isdecimal() or _is_code(text)
    return None
