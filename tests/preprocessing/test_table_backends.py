"""The same table has the same roles and the same features, whatever library and dtypes hold it."""

import warnings
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sk_sentemb import (
    FineTuner,
    SentenceClassifier,
    SentenceEmbedder,
    TextCleaner,
    make_multimodal_transformer,
    text_column_selector,
)
from sk_sentemb.preprocessing import column_roles, describe_columns
from tests.helpers.tiny_models import TINY

N = 60
RNG = np.random.default_rng(0)
BERLIN = ZoneInfo("Europe/Berlin")
SENTENCES = [f"The {['red', 'blue'][i % 2]} dress number {i} fits me well" for i in range(N)]
INTEGERS = RNG.integers(100, size=N).tolist()
FLOATS = RNG.normal(size=N).tolist()
DATES = [date(2024, 1, 1) + timedelta(days=i) for i in range(N)]
TIMES = [datetime(2024, 3, 20, 5) + timedelta(hours=7 * i) for i in range(N)]
SIZES = [["S", "M", "L"][i % 3] for i in range(N)]
PRICES = [Decimal(700 * i + 50) / 100 for i in range(N)]
CATEGORIES = pa.dictionary(pa.int32(), pa.string())


def some_missing(cells):
    return [None if i % 7 == 3 else cell for i, cell in enumerate(cells)]


# Cells, the type of Arrow that holds them, and the role. Integers beside missing cells are floats in
# NumPy's dtypes: those beyond 2**53 are such that no digit is lost.
COLUMNS = {
    "integers": (INTEGERS, pa.int64(), "numeric"),
    "some integers": (some_missing(INTEGERS), pa.int64(), "numeric"),
    "bytes": (INTEGERS, pa.int8(), "numeric"),
    "beyond 2**53": ([2**53 + 2 * i * i + 1 for i in range(N)], pa.int64(), "numeric"),
    "some beyond 2**53": (
        some_missing([2**60 + i * i * 2**10 for i in range(N)]),
        pa.int64(),
        "numeric",
    ),
    "beyond 2**63": (
        some_missing([2**63 + i * i * 2**13 for i in range(N)]),
        pa.uint64(),
        "numeric",
    ),
    "floats": (FLOATS, pa.float64(), "numeric"),
    "some floats": (some_missing(FLOATS), pa.float64(), "numeric"),
    "half of floats": (some_missing([x / 2 for x in INTEGERS]), pa.float32(), "numeric"),
    "booleans": ([i % 3 == 0 for i in range(N)], pa.bool_(), "categorical"),
    "some booleans": (some_missing([i % 3 == 0 for i in range(N)]), pa.bool_(), "categorical"),
    "dates": (DATES, pa.date32(), "date"),
    "some dates": (some_missing(DATES), pa.date32(), "date"),
    "times": (TIMES, pa.timestamp("us"), "date"),
    "some times": (some_missing(TIMES), pa.timestamp("us"), "date"),
    "times in Berlin": (
        some_missing([when.replace(tzinfo=BERLIN) for when in TIMES]),
        pa.timestamp("us", tz="Europe/Berlin"),
        "date",
    ),
    "dates as text": (some_missing([str(day) for day in DATES]), pa.string(), "date"),
    "categories": (SIZES, CATEGORIES, "categorical"),
    "some categories": (some_missing(SIZES), CATEGORIES, "categorical"),
    "sentences as categories": (SENTENCES, CATEGORIES, "text"),
    "words": (some_missing(SIZES), pa.string(), "categorical"),
    "text": (SENTENCES, pa.string(), "text"),
    "some text": (some_missing(SENTENCES[::-1]), pa.string(), "text"),
    "articles": ([f"SKU-{i:04d}" for i in range(N)], pa.string(), "id"),
    "order_id": ([1000 + 7 * i for i in range(N)], pa.int64(), "id"),
    "some_id": (some_missing([1000 + 7 * i for i in range(N)]), pa.int64(), "id"),
    "row numbers": (list(range(N)), pa.int64(), "id"),
    "all but the last": ([*range(N - 1), None], pa.int64(), "id"),
    "prices": (PRICES, pa.decimal128(20, 4), "numeric"),
    "some prices": (some_missing(PRICES), pa.decimal128(20, 4), "numeric"),
    "prices as text": ([f"${i * 37:,}.50" for i in range(N)], pa.string(), "numeric"),
    "durations": (
        some_missing([timedelta(hours=i) for i in range(N)]),
        pa.duration("us"),
        "numeric",
    ),
    "no floats": ([None] * N, pa.float64(), "empty"),
    "no text": ([None] * N, pa.string(), "empty"),
    "nothing": ([None] * N, pa.null(), "empty"),
    "times of day": ([time(i % 24) for i in range(N)], pa.time64("us"), "other"),
    "lists": ([["a"]] * N, pa.list_(pa.string()), "other"),
    "pictures": ([b"\x89PNG" + bytes([i]) for i in range(N)], pa.binary(), "image"),
}
STRINGS = [name for name, (_, dtype, _) in COLUMNS.items() if dtype == pa.string()]
WITH_FEATURES = [
    name for name, (*_, role) in COLUMNS.items() if role not in ("image", "other", "empty", "id")
]
NEVER_SEEN = ["no floats", "no text", "nothing"]


def make_arrow():
    return pa.table({name: pa.array(cells, dtype) for name, (cells, dtype, _) in COLUMNS.items()})


def with_strings(dtype):
    cells = {name: pd.Series(COLUMNS[name][0], dtype=dtype) for name in STRINGS}
    return make_arrow().to_pandas().assign(**cells)


def converted(dtype_backend):
    with warnings.catch_warnings():
        # pandas before 3 casts missing values on the way.
        warnings.filterwarnings("ignore", "invalid value encountered in cast", RuntimeWarning)
        return make_arrow().to_pandas().convert_dtypes(dtype_backend=dtype_backend)


BACKENDS = {
    "pyarrow": make_arrow,
    "polars": lambda: pl.from_arrow(make_arrow()),
    "pandas": lambda: make_arrow().to_pandas(),
    "objects": lambda: pd.DataFrame(
        {name: pd.Series(cells, dtype=object) for name, (cells, *_) in COLUMNS.items()}
    ),
    "strings of objects": lambda: with_strings(object),
    "str": lambda: with_strings("str"),
    "string[python]": lambda: with_strings("string[python]"),
    "string[pyarrow]": lambda: with_strings("string[pyarrow]"),
    "numpy_nullable": lambda: converted("numpy_nullable"),
    "pyarrow dtypes": lambda: make_arrow().to_pandas(types_mapper=pd.ArrowDtype),
    "converted to pyarrow": lambda: converted("pyarrow"),
}
if pd.Series(["a"]).dtype == object:  # before pandas 3, None becomes "None" in this dtype
    del BACKENDS["str"]

backends = pytest.mark.parametrize("make", BACKENDS.values(), ids=BACKENDS)


def select(X, names):
    return X.select(names) if isinstance(X, (pa.Table, pl.DataFrame)) else X[names]


pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def reference():
    return BACKENDS["pyarrow"]()


def roles(names):
    """Return what `column_roles` returns, by name."""
    return {
        role: [n for n in names if COLUMNS[n][2] == role] for role in column_roles(pd.DataFrame())
    }


@backends
def test_roles_and_what_was_measured(make, reference):
    X = make()
    expected, found = describe_columns(reference), describe_columns(X)
    assert found["role"].to_dict() == {name: role for name, (*_, role) in COLUMNS.items()}
    # A dtype of categories is a reason that objects cannot give.
    measures = found.columns.difference(["dtype", "reason"])
    pd.testing.assert_frame_equal(found[measures], expected[measures])
    same = [name for name, (_, dtype, _) in COLUMNS.items() if dtype != CATEGORIES]
    assert found["reason"][same].to_dict() == expected["reason"][same].to_dict()
    assert column_roles(X) == roles(COLUMNS)
    assert text_column_selector()(X) == roles(COLUMNS)["text"]


@pytest.fixture(scope="module")
def of_reference(reference):
    X = select(reference, [*WITH_FEATURES, *NEVER_SEEN])
    given = roles(WITH_FEATURES)
    features = make_multimodal_transformer(
        X,
        embedder=SentenceEmbedder(TINY, missing="empty"),
        numeric=[*given["numeric"], "no floats", "nothing"],
        categorical=[*given["categorical"], "no text"],
    )
    return features.fit(X), features.transform(X)


@backends
def test_features(make, of_reference):
    X = select(make(), [*WITH_FEATURES, *NEVER_SEEN])
    fitted, expected = of_reference
    np.testing.assert_array_equal(fitted.transform(X), expected)
    again = make_multimodal_transformer(
        **{
            name.split("-")[0]: columns
            for name, _, columns in fitted.transformers
            if "-" not in name
        },
        text=roles(WITH_FEATURES)["text"],
        embedder=SentenceEmbedder(TINY, missing="empty"),
    )
    np.testing.assert_array_equal(again.fit_transform(X), expected)
    assert list(again.get_feature_names_out()) == list(fitted.get_feature_names_out())


@backends
def test_any_column_as_a_category(make, reference):
    names = [name for name in COLUMNS if name not in ("lists", "pictures")]
    features = make_multimodal_transformer(categorical=names).fit(reference)
    expected = features.transform(reference)
    assert expected.sum() == len(names) * N
    X = make()
    np.testing.assert_array_equal(features.transform(X), expected)
    again = make_multimodal_transformer(categorical=names)
    np.testing.assert_array_equal(again.fit_transform(X), expected)


@backends
def test_cleaned_text(make):
    names = [*STRINGS, "sentences as categories", "some categories", "nothing"]
    cleaned = TextCleaner(html=False).fit_transform(select(make(), names))
    for name, cells in zip(names, cleaned.T, strict=True):
        assert cells.tolist() == COLUMNS[name][0], name


@pytest.fixture(scope="module")
def classifier(reference):
    tuner = FineTuner(max_steps=1, batch_size=8, random_state=0)
    model = SentenceClassifier(TINY, fine_tuner=tuner)
    X = select(reference, [*WITH_FEATURES, *NEVER_SEEN])
    return model.fit(X, np.arange(N) % 2)


@backends
def test_classifiers_of_tables(make, classifier, reference):
    names = [*WITH_FEATURES, *NEVER_SEEN]
    X = select(make(), names)
    expected = classifier.transform(select(reference, names))
    np.testing.assert_array_equal(classifier.transform(X), expected)
    fitted = SentenceClassifier(TINY, fine_tuner=classifier.fine_tuner).fit(X, np.arange(N) % 2)
    np.testing.assert_array_equal(
        fitted.predict_proba(X), classifier.predict_proba(select(reference, names))
    )
