"""DateParts: dates to numbers."""

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
from .._inputs import columns_of, is_missing, validate_table
from .._warn import warn
from ..exceptions import UnreadableCellWarning
from .dates import day_comes_first, day_in_digits, read_dates
from .patterns import to_float

# In seconds: nanoseconds reach from 1677 to 2262 only, and dates that stand for "never" lie beyond.
_EPOCH = pd.Timestamp(0).as_unit("s")

# By the clock of the column's own time zone; elapsed goes by UTC.
_PARTS: dict[str, Callable[[pd.DatetimeIndex, pd.DatetimeIndex], Any]] = {
    "year": lambda local, utc: local.year,
    "month": lambda local, utc: local.month,
    "day": lambda local, utc: local.day,
    "weekday": lambda local, utc: local.day_of_week,
    "hour": lambda local, utc: local.hour,
    "elapsed": lambda local, utc: (utc - _EPOCH) / pd.Timedelta(days=1),
    "missing": lambda local, utc: utc.isna(),
}


class DateParts(TransformerMixin, BaseEstimator):
    """Year, month, day, weekday, hour and time elapsed, from columns of dates.

    Parameters
    ----------
    parts : sequence of str, default=("year", "month", "day", "weekday", "hour", "elapsed")
        What to return of each date, in that order. A ``"weekday"`` is 0 on Mondays; ``"elapsed"`` are
        days since the beginning of 1970, in UTC; ``"missing"`` is 1 where there is no date.

    day_first : bool or "auto", default="auto"
        Whether 3/4/2024 is the third of April. ``"auto"`` to learn it in ``fit`` from the column's
        dates that can be read in one way only; where there are none, the day stands first between
        dots and second between slashes or hyphens.

    Attributes
    ----------
    day_first_ : list of bool
        Whether the day stands first, for each column.

    n_features_in_ : int
        Number of columns seen in ``fit``.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if ``X`` had string names for all of them.

    See Also
    --------
    sk_sentemb.make_multimodal_transformer : Uses it for columns of dates.

    Notes
    -----
    Dates are dtypes of dates, Python's and NumPy's dates, or text: 2024-05-31, 2024/5/31, 20240531,
    2024-05, 31.5.2024, 5/31/24, 31 May 2024, 31-May-24, May 31st, 2024, May 2024, Fri, 31 May 2024,
    with a time and a time zone or without. Names of months and days are English ones. Of two digits of
    a year, 69 is 1969 and 68 is 2068. Periods of pandas count from their beginning. Whole numbers that
    look like 20240531 are read as such text is, from 1900 to 2099; others are seconds since the
    beginning of 1970. Text with a time zone is read as UTC.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_sentemb.preprocessing import DateParts
    >>> X = pd.DataFrame({"bought": ["31/05/2024 18:30", None, "03/04/2024"]})
    >>> dates = DateParts().set_output(transform="pandas")
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
        """Learn in which order day and month stand.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_columns)
            Dates.
        y : Ignored
            Not used.

        Returns
        -------
        DateParts
            The fitted transformer itself.

        Raises
        ------
        ValueError
            If ``parts`` is empty or has a name that is unknown or repeated.
        """
        if unknown := [part for part in self.parts if part not in _PARTS]:
            raise ValueError(f"parts has {unknown}, which are not among {tuple(_PARTS)}.")
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise ValueError(f"parts={self.parts!r}; pass one or more names, each once.")
        columns = self._columns(X, reset=True)
        self.day_first_ = [
            bool(self.day_first)
            if self.day_first != "auto"
            else day_comes_first(cell for cell in column.to_list() if isinstance(cell, str))
            for column in columns
        ]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Take dates apart.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_columns)
            Dates. No rows are fine.

        Returns
        -------
        ndarray of shape (n_samples, n_columns * n_parts), float64
            The parts of each column side by side; NaN where a date is missing.

        Warns
        -----
        UnreadableCellWarning
            If cells with something in them are no dates; they become NaN. It counts them.
        """
        check_is_fitted(self)
        columns = self._columns(X, reset=False)
        parts = []
        for column, day_first in zip(columns, self.day_first_, strict=True):
            local, utc = _dates(column, day_first)
            parts += [np.asarray(_PARTS[part](local, utc), dtype=np.float64) for part in self.parts]
        return np.stack(parts, axis=1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the output's columns ``<column>_year``, ``<column>_month`` and so on.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of dates; None for those seen in ``fit``.

        Returns
        -------
        ndarray of shape (n_columns * n_parts,), object
            One name for each output column.
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


def _dates(column: nw.Series, day_first: bool) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Return dates by the clock of their time zone, and by that of UTC."""
    if column.dtype == nw.Date:
        column = column.cast(nw.Datetime("us"))
    if column.dtype == nw.Datetime:
        local = utc = column
        if getattr(column.dtype, "time_zone", None) is not None:
            local = column.dt.replace_time_zone(None)
            utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return pd.DatetimeIndex(local.to_numpy()), pd.DatetimeIndex(utc.to_numpy())
    cells = [_as_text_of_a_day(cell) for cell in column.to_list()]
    texts = list(dict.fromkeys(cell for cell in cells if isinstance(cell, str)))
    read = read_dates(texts, day_first=day_first).dt.tz_localize(None)
    of_text = dict(zip(texts, read, strict=True))
    dates = [_date(cell, of_text) for cell in cells]
    n_unreadable = sum(
        found is pd.NaT and not is_missing(cell) for cell, found in zip(cells, dates, strict=True)
    )
    if n_unreadable:
        warn(
            f"{n_unreadable} of {len(cells)} cells of {column.name!r} are no dates and became "
            "missing. Correct them, or make the column a category or text.",
            UnreadableCellWarning,
        )
    return (
        _index([found.tz_localize(None) for found in dates]),
        _index([found.tz_convert(None) if found.tzinfo else found for found in dates]),
    )


def _index(dates: list[Any]) -> pd.DatetimeIndex:
    # In one unit: pandas would cast dates far off to the one of the first.
    stamps = [found if found is pd.NaT else found.as_unit("us") for found in dates]
    return pd.DatetimeIndex(np.array([found.to_datetime64() for found in stamps], dtype="M8[us]"))


def _as_text_of_a_day(cell: Any) -> Any:
    """Return a number that looks like 20240531 as text, and other cells as they are."""
    if isinstance(cell, (Real, Decimal)) and not is_missing(cell):
        number = to_float(cell)
        return cell if number is None else day_in_digits(number) or cell
    return cell


def _date(cell: Any, of_text: dict[str, pd.Timestamp]) -> Any:
    """Return the timestamp of a cell, or NaT."""
    if isinstance(cell, str):
        return of_text[cell]
    if isinstance(cell, (date, np.datetime64)):
        return pd.Timestamp(cell)
    if isinstance(cell, pd.Period):
        return cell.to_timestamp()
    if isinstance(cell, (Real, Decimal)) and (seconds := to_float(cell)) is not None:
        return pd.to_datetime(seconds, unit="s", errors="coerce")
    return pd.NaT
