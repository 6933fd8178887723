"""DateEncoder: text and dtypes of dates to numbers."""

import warnings
from datetime import date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

from sk_sentemb import (
    make_multimodal_transformer,
)
from sk_sentemb.exceptions import UnreadableCellWarning
from sk_sentemb.preprocessing import DateEncoder, column_roles

PARTS_OF = {
    # year, month, day, weekday, hour, elapsed
    "2024-05-31": (2024, 5, 31, 4, 0, 19874),
    "2024-05-31 18:00": (2024, 5, 31, 4, 18, 19874.75),
    "31.5.2024": (2024, 5, 31, 4, 0, 19874),
    "5/31/24": (2024, 5, 31, 4, 0, 19874),
    "31/5/1999 6:00 pm": (1999, 5, 31, 0, 18, 10742.75),
    "May 31st, 2024": (2024, 5, 31, 4, 0, 19874),
    "31 May 2024": (2024, 5, 31, 4, 0, 19874),
    "20240531": (2024, 5, 31, 4, 0, 19874),
    "2024-05": (2024, 5, 1, 2, 0, 19844),
    "31-May-24": (2024, 5, 31, 4, 0, 19874),
    "31-may-99 6:00 pm": (1999, 5, 31, 0, 18, 10742.75),
    "1-Jan-68": (2068, 1, 1, 6, 0, 35794),
    "9999-12-31": (9999, 12, 31, 4, 0, 2932896),
    "1500-01-01": (1500, 1, 1, 0, 0, -171664),
    "Fri, 31 May 2024 20:00:00 +0200": (2024, 5, 31, 4, 18, 19874.75),
    "2024-05-31T18:00:00.123456789Z": (2024, 5, 31, 4, 18, 19874.75),
    " ": (np.nan,) * 6,
}
ENDS_IN_2262 = parse_version(pd.__version__) < parse_version("3")
if ENDS_IN_2262:
    del PARTS_OF["9999-12-31"], PARTS_OF["1500-01-01"]


@pytest.mark.parametrize(("text", "parts"), PARTS_OF.items())
def test_date_encoder_of_text(text, parts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = DateEncoder().fit_transform([[text], [None]])
    np.testing.assert_allclose(found, [parts, [np.nan] * 6], atol=1e-5)


WHEN = datetime(2024, 5, 31, 18)

IN_BERLIN = pd.Series([WHEN, None]).dt.tz_localize("Europe/Berlin")

DATES = {
    "datetime64": (pd.DataFrame({"d": [WHEN, None]}), 19874.75),
    "zone": (pd.DataFrame({"d": IN_BERLIN}), 19874.75 - 2 / 24),
    "objects": (pd.DataFrame({"d": [WHEN, None]}, dtype=object), 19874.75),
    "objects with a zone": (pd.DataFrame({"d": IN_BERLIN.astype(object)}), 19874.75 - 2 / 24),
    "array": (np.array([[WHEN], ["NaT"]], dtype="M8[s]"), 19874.75),
    "seconds": (np.array([[1717178400], [np.nan]]), 19874.75),
    "polars": (pl.DataFrame({"d": [WHEN, None]}), 19874.75),
    "polars with a zone": (
        pl.DataFrame({"d": pl.Series([WHEN, None]).dt.replace_time_zone("Europe/Berlin")}),
        19874.75 - 2 / 24,
    ),
    "pyarrow": (pa.table({"d": [WHEN, None]}), 19874.75),
}


@pytest.mark.parametrize(("X", "elapsed"), DATES.values(), ids=DATES)
def test_date_encoder_of_any_dtype(X, elapsed):
    found = DateEncoder().fit_transform(X)
    np.testing.assert_allclose(found, [[2024, 5, 31, 4, 18, elapsed], [np.nan] * 6])


def test_date_encoder_of_dates_without_a_time():
    for X in (pd.DataFrame({"d": [date(2024, 5, 31)]}), pl.DataFrame({"d": [date(2024, 5, 31)]})):
        assert DateEncoder().fit_transform(X).tolist() == [[2024, 5, 31, 4, 0, 19874]]


NEVER = date(9999, 12, 31)

FAR_OFF = {
    "date": pd.DataFrame({"d": pd.Series([NEVER, None, date(1500, 1, 1)], dtype=object)}),
    "datetime": pd.DataFrame({"d": [datetime(9999, 12, 31), None, datetime(1500, 1, 1)]}),
    "seconds": pd.DataFrame({"d": np.array(["9999-12-31", "NaT", "1500-01-01"], dtype="M8[s]")}),
    "polars": pl.DataFrame({"d": [NEVER, None, date(1500, 1, 1)]}),
    "text": pd.DataFrame({"d": ["9999-12-31", None, "1500-01-01"]}),
    "periods": pd.DataFrame({"d": pd.PeriodIndex(["9999-12-31", "NaT", "1500-01-01"], freq="D")}),
}
if ENDS_IN_2262:
    del FAR_OFF["text"], FAR_OFF["periods"]


@pytest.mark.parametrize("X", FAR_OFF.values(), ids=FAR_OFF)
def test_date_encoder_beyond_nanoseconds(X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = DateEncoder(parts=(*DateEncoder().parts, "missing")).fit_transform(X)
    never, missing, early = found
    assert never.tolist() == [9999, 12, 31, 4, 0, 2932896, 0]
    np.testing.assert_array_equal(missing, [*[np.nan] * 6, 1])
    assert early.tolist() == [1500, 1, 1, 0, 0, -171664, 0]


def test_date_encoder_of_mixed_resolutions():
    cells = [pd.Timestamp(1, unit="ns"), pd.Timestamp("9999-12-31"), pd.NaT]
    found = DateEncoder(parts=["year"]).fit_transform(pd.DataFrame({"d": cells}, dtype=object))
    np.testing.assert_array_equal(found, [[1970], [9999], [np.nan]])


def test_date_encoder_represents_periods_by_their_start():
    X = pd.DataFrame({"d": pd.PeriodIndex(["2024-05", "NaT"], freq="M")})
    assert column_roles(X)["date"] == ["d"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = DateEncoder().fit_transform(X)
    np.testing.assert_array_equal(found, [PARTS_OF["2024-05"], [np.nan] * 6])


def test_date_encoder_of_integers():
    whole = pd.DataFrame({"d": [20240531, 19991231, 45000]})
    read = [[2024, 5, 31], [1999, 12, 31], [1970, 1, 1]]
    dates = DateEncoder(parts=["year", "month", "day"])
    for X in (whole, whole.astype(float), whole.astype(object), pl.from_pandas(whole)):
        assert dates.fit_transform(X).tolist() == read
    # As text is, months and days that are none are seconds, and days that do not exist are no dates.
    assert dates.fit_transform([[20241331]])[0].tolist() == [1970, 8, 23]
    with pytest.warns(UnreadableCellWarning, match="1 of 1 cells"):
        assert np.isnan(dates.fit_transform([[20240230]])).all()
    assert dates.fit_transform([[20240531.5]])[0].tolist() == [1970, 8, 23]


def test_date_encoder_infers_day_first():
    X = pd.DataFrame({"a": ["3/4/2024", "13/4/2024"], "b": ["3/4/2024", "3/13/2024"]})
    dates = DateEncoder(parts=["month"]).fit(X)
    assert dates.day_first_ == [True, False]
    assert dates.transform(X).tolist() == [[4, 3], [4, 3]]
    # As it was learnt, whatever comes.
    with pytest.warns(UnreadableCellWarning, match="1 of 2 cells of 'b' are not dates"):
        found = dates.transform(X.assign(b=["3/4/2024", "13/4/2024"]))
    np.testing.assert_array_equal(found, [[4, 3], [4, np.nan]])
    slashes, dots = [["3/4/2024"]], [["3.4.2024"]]
    assert DateEncoder(parts=["day"]).fit_transform(slashes) == 4
    assert DateEncoder(parts=["day"]).fit_transform(dots) == 3
    assert DateEncoder(parts=["day"], day_first=True).fit_transform(slashes) == 3
    assert DateEncoder(parts=["day"], day_first=False).fit_transform(dots) == 4


def test_date_encoder_parts_and_their_order():
    dates = DateEncoder(parts=("missing", "year")).set_output(transform="pandas")
    found = dates.fit_transform(
        pd.DataFrame({"a": ["2024-05-31", None], "b": [None, "2023-01-01"]})
    )
    assert list(found.columns) == ["a_missing", "a_year", "b_missing", "b_year"]
    np.testing.assert_array_equal(found, [[0, 2024, 1, np.nan], [1, np.nan, 0, 2023]])


def test_date_encoder_errors_and_unreadable_cells():
    X = [["2024-05-31"]]
    with pytest.raises(ValueError, match=r"parts contains \['minute'\]; valid names are"):
        DateEncoder(parts=["minute"]).fit(X)
    for parts in ([], ["day", "day"]):
        with pytest.raises(ValueError, match="is empty or repeats a name"):
            DateEncoder(parts=parts).fit(X)
    with pytest.raises(ValueError, match="The 'day_first' parameter of DateEncoder must be"):
        DateEncoder(day_first="yes").fit(X)
    with pytest.raises(NotFittedError):
        DateEncoder().transform(X)
    with pytest.warns(UnreadableCellWarning, match="3 of 5 cells of .* are not dates and are"):
        found = DateEncoder().fit_transform(
            [["2024-02-30"], ["soon"], ["10"], [None], ["2024-05-31"]]
        )
    assert np.isnan(found).all(axis=1).tolist() == [True, True, True, True, False]
    assert DateEncoder().fit(X).transform(np.empty((0, 1), dtype=object)).shape == (0, 6)


def test_date_encoder_of_columns_of_several_dtypes():
    X = pd.DataFrame(
        {
            "opened": pd.date_range("2024-01-01", periods=30),
            "closed": [f"2024-02-{1 + i % 28:02d}" for i in range(30)],
        }
    )
    features = make_multimodal_transformer(X).fit(X)
    few = X.head(3)
    expected = features.transform(few.assign(closed=pd.Series([None] * 3, dtype=object)))
    for missing in (np.nan, pd.NaT, pd.Series([pd.NA] * 3, dtype="string")):
        np.testing.assert_array_equal(features.transform(few.assign(closed=missing)), expected)
    dates = DateEncoder(parts=["year", "month", "day"])
    for closed in (
        20240531,
        20240531.0,
        "2024-05-31",
        date(2024, 5, 31),
        pd.Timestamp("2024-05-31"),
    ):
        found = dates.fit_transform(few.assign(closed=closed))
        assert found.tolist() == [[2024, 1, i, 2024, 5, 31] for i in (1, 2, 3)]
    zone = few.assign(closed=pd.Timestamp("2024-05-31", tz="Europe/Berlin"))
    assert dates.fit_transform(zone)[0].tolist() == [2024, 1, 1, 2024, 5, 31]
    with pytest.raises(ValueError, match="0 sample"):
        DateEncoder().fit(X[:0])
    assert dates.transform(X[:0]).shape == (0, 6)
    with pytest.raises(ValueError, match="feature names should match"):
        dates.transform(X.rename(columns={"closed": "shut"}))


@parametrize_with_checks([DateEncoder(), DateEncoder(parts=["missing", "elapsed"], day_first=True)])
def test_scikit_learn_check(estimator, check):
    check(estimator)
