"""DateEncoder: numeric features of dates."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from numbers import Real
from typing import Any, ClassVar, Self

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from .._atomic_fit import atomic_fit
from .._docstrings import substitute_docstring
from .._inputs import columns_of, is_missing, validate_table
from .dates import format_day, is_day_first, parse_dates
from .parsing import to_float, warn_unreadable

# In seconds: nanoseconds end in 2262, before dates that stand for "never". Of NumPy: pandas before 3
# subtracts in nanoseconds.
_EPOCH = np.datetime64(0, "s")

# From a date in the time zone of the column, and in UTC.
_PARTS: dict[str, Callable[[pd.DatetimeIndex, pd.DatetimeIndex], Any]] = {
    "year": lambda local, utc: local.year,
    "month": lambda local, utc: local.month,
    "day": lambda local, utc: local.day,
    "weekday": lambda local, utc: local.day_of_week,
    "hour": lambda local, utc: local.hour,
    "elapsed": lambda local, utc: (utc.to_numpy() - _EPOCH) / np.timedelta64(1, "D"),
    "missing": lambda local, utc: utc.isna(),
}


@substitute_docstring
class DateEncoder(TransformerMixin, BaseEstimator):
    """Encode dates as numbers: year, month, day, weekday, hour and days since 1970.

    Parameters
    ----------
    parts : sequence of str, default=("year", "month", "day", "weekday", "hour", "elapsed")
        The features of each date, in the order of the output.

        - ``"year"``, ``"month"``, ``"day"``, ``"hour"``: in the time zone of the column.
        - ``"weekday"``: 0 for Monday to 6 for Sunday.
        - ``"elapsed"``: days since 1970-01-01 in UTC, with a fraction for the time of day.
        - ``"missing"``: 1 for missing dates, otherwise 0.

    day_first : bool or "auto", default="auto"
        How to interpret dates such as 3/4/2024.

        - True: as April 3.
        - False: as March 4.
        - ``"auto"``: inferred in ``fit``, for each column, from dates with a day above 12. If there
          are none, as April 3 if dots separate the numbers (3.4.2024), otherwise as March 4.

    Attributes
    ----------
    day_first_ : list of bool
        Whether the day precedes the month, for each column.

    n_features_in_ : int
        Number of columns seen in ``fit``.

    {feature_names_in_}

    See Also
    --------
    make_multimodal_transformer : Encode, impute and scale the columns of dates.

    Notes
    -----
    Cells are dates of Python, NumPy, pandas, polars or pyarrow, or text: 2024-05-31, 2024/5/31,
    20240531, 2024-05, 31.5.2024, 5/31/24, 31 May 2024, 31-May-24, May 31st, 2024, May 2024,
    Fri, 31 May 2024, with or without a time and a UTC offset. Names of months and weekdays are
    English. Two-digit years are those from 1969 to 2068. A pandas Period is represented by its
    start. Integers that look like 20240531 (years 1900 to 2099) are parsed like text; other numbers
    are seconds since 1970-01-01. Text with a UTC offset is converted to UTC. Before pandas 3, text and
    periods outside the years 1678 to 2261 are unreadable.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_sentemb.preprocessing import DateEncoder
    >>> X = pd.DataFrame({"bought": ["31/05/2024 18:30", None, "03/04/2024"]})
    >>> dates = DateEncoder().set_output(transform="pandas")
    >>> dates.fit_transform(X)[["bought_month", "bought_day", "bought_weekday", "bought_hour"]]
       bought_month  bought_day  bought_weekday  bought_hour
    0           5.0        31.0             4.0         18.0
    1           NaN         NaN             NaN          NaN
    2           4.0         3.0             2.0          0.0
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "parts": [list, tuple],
        "day_first": ["boolean", StrOptions({"auto"})],
    }

    def __init__(
        self,
        *,
        parts: Sequence[str] = ("year", "month", "day", "weekday", "hour", "elapsed"),
        day_first: bool | str = "auto",
    ) -> None:
        self.parts = parts
        self.day_first = day_first

    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Infer the order of day and month.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_columns)
            Dates.
        y : Ignored
            Not used.

        Returns
        -------
        DateEncoder
            The fitted transformer.

        Raises
        ------
        ValueError
            If ``parts`` is empty or contains an unknown or repeated name.
        """
        if unknown := [part for part in self.parts if part not in _PARTS]:
            raise ValueError(f"parts contains {unknown}; valid names are {tuple(_PARTS)}.")
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise ValueError(
                f"parts={self.parts!r} is empty or repeats a name; pass distinct names."
            )
        columns = self._columns(X, reset=True)
        self.day_first_ = [
            bool(self.day_first)
            if self.day_first != "auto"
            else is_day_first(cell for cell in column.to_list() if isinstance(cell, str))
            for column in columns
        ]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Extract the features of dates.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_columns)
            Dates. ``n_samples`` may be 0.

        Returns
        -------
        ndarray of shape (n_samples, n_columns * n_parts), dtype float64
            The features, column by column; NaN for missing dates.

        Warns
        -----
        UnreadableCellWarning
            If cells that are not missing are not dates. They become NaN; the warning counts them.
        """
        check_is_fitted(self)
        columns = self._columns(X, reset=False)
        parts = []
        for column, day_first in zip(columns, self.day_first_, strict=True):
            local, utc = _to_datetimes(column, day_first)
            parts += [np.asarray(_PARTS[part](local, utc), dtype=np.float64) for part in self.parts]
        return np.stack(parts, axis=1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names ``<column>_<part>`` of the output columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of dates. If None, those seen in ``fit``.

        Returns
        -------
        ndarray of shape (n_columns * n_parts,), dtype object
            One name per output column.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        return np.array([f"{name}_{part}" for name in names for part in self.parts], dtype=object)

    def _columns(self, X: Any, *, reset: bool) -> list[nw.Series]:
        return columns_of(validate_table(self, X, reset=reset))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _to_datetimes(column: nw.Series, day_first: bool) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Return the dates of a column in its own time zone and in UTC."""
    if column.dtype == nw.Date:
        column = column.cast(nw.Datetime("us"))
    if column.dtype == nw.Datetime:
        local = utc = column
        if getattr(column.dtype, "time_zone", None) is not None:
            if isinstance(getattr(column.to_native(), "dtype", None), pd.ArrowDtype):
                # Before pandas 3, such a column without its time zone is in UTC.
                table = column.alias("dates").to_frame().to_arrow()
                column = nw.from_native(table, eager_only=True)["dates"]
            local = column.dt.replace_time_zone(None)
            utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return pd.DatetimeIndex(local.to_numpy()), pd.DatetimeIndex(utc.to_numpy())
    cells = column.to_list()
    texts = [_to_text(cell) for cell in cells]
    unique = list(dict.fromkeys(text for text in texts if text is not None))
    parsed = parse_dates(unique, day_first=day_first).dt.tz_localize(None)
    by_text = dict(zip(unique, parsed, strict=True))
    dates = [
        _to_timestamp(cell) if text is None else by_text[text]
        for cell, text in zip(cells, texts, strict=True)
    ]
    n_unreadable = sum(
        found is pd.NaT and not is_missing(cell) for cell, found in zip(cells, dates, strict=True)
    )
    warn_unreadable(n_unreadable, column, "dates")
    return (
        _to_index([found.tz_localize(None) for found in dates]),
        _to_index([found.tz_convert(None) if found.tzinfo else found for found in dates]),
    )


def _to_index(dates: list[Any]) -> pd.DatetimeIndex:
    # In one unit: pandas would convert all dates to the unit of the first, which may be too small.
    stamps = [found if found is pd.NaT else found.as_unit("us") for found in dates]
    return pd.DatetimeIndex(np.array([found.to_datetime64() for found in stamps], dtype="M8[us]"))


def _to_number(cell: Any) -> float | None:
    is_number = isinstance(cell, (Real, Decimal)) and not is_missing(cell)
    return to_float(cell) if is_number else None


def _to_text(cell: Any) -> str | None:
    """Return text, and numbers such as 20240531 as text."""
    if isinstance(cell, str):
        return cell
    number = _to_number(cell)
    return None if number is None else format_day(number)


def _to_timestamp(cell: Any) -> Any:
    """Return the timestamp of a cell that is not text, or NaT."""
    if isinstance(cell, (date, np.datetime64)):
        return pd.Timestamp(cell)
    if isinstance(cell, pd.Period):
        try:
            return cell.to_timestamp()
        except pd.errors.OutOfBoundsDatetime:  # pandas before 3 converts it to nanoseconds
            return pd.NaT
    seconds = _to_number(cell)
    return pd.NaT if seconds is None else pd.to_datetime(seconds, unit="s", errors="coerce")
