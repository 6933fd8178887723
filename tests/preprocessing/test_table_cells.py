"""Cells and columns that are hard to read: huge numbers, dates of several dtypes, odd names."""

import pickle
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_sentemb import (
    SentenceEmbedder,
    TextCleaner,
    make_multimodal_transformer,
    text_column_selector,
)
from sk_sentemb.exceptions import UnreadableCellWarning
from sk_sentemb.preprocessing import DateEncoder, column_roles, parse_categories, parse_numbers
from sk_sentemb.preprocessing.parsing import CategoryParser
from sk_sentemb.preprocessing.text_pca import TextPCA
from tests.helpers.tiny_models import TINY

N = 12
TEXTS = [f"The {['red', 'blue'][i % 2]} dress number {i} fits me" for i in range(N)]
EMBEDDER = SentenceEmbedder(TINY)
DIM = 32
FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}

frames = pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)


def entries(transformer):
    return {name: columns for name, _, columns in transformer.transformers}


pytestmark = pytest.mark.filterwarnings("error")


# Numbers


@frames
@pytest.mark.parametrize("missing", [[], [None]], ids=["all", "some"])
def test_integers_beyond_floats_are_rounded(make, missing):
    cells = [2**53 + 1, 2**62 + 1, -(2**63), 7, *missing]
    found = parse_numbers(make({"n": cells}))
    np.testing.assert_array_equal(
        found[:, 0], [2.0**53, 2.0**62, -(2.0**63), 7, *[np.nan][: len(missing)]]
    )


def test_numbers_too_large_for_floats_are_missing_with_a_warning():
    X = pd.DataFrame({"n": [10**400, Decimal("1e400"), Fraction(10**400), 1, None]}, dtype=object)
    with pytest.warns(UnreadableCellWarning, match="3 of 5 cells of 'n' are not numbers"):
        found = parse_numbers(X)
    np.testing.assert_array_equal(found[:, 0], [np.nan, np.nan, np.nan, 1, np.nan])
    X = pd.DataFrame(
        {"n": pd.Series([10**400 + i for i in range(60)], dtype=object), "m": range(7, 67)}
    )
    features = make_multimodal_transformer(X)
    assert entries(features) == {"numeric": ["n", "m"]}
    with pytest.warns(UnreadableCellWarning, match="60 of 60 cells of 'n'"):
        found = features.fit_transform(X)
    assert np.isfinite(found).all()
    with pytest.warns(UnreadableCellWarning, match="60 of 60 cells of 'n' are not dates"):
        assert np.isnan(DateEncoder().fit_transform(X[["n"]])).all()


def test_decimals_that_are_not_numbers_are_missing():
    cells = [Decimal("NaN"), Decimal("sNaN"), Decimal("-sNaN"), Decimal("1.50")]
    X = pd.DataFrame({"n": cells})
    np.testing.assert_array_equal(parse_numbers(X)[:, 0], [np.nan, np.nan, np.nan, 1.5])
    assert parse_categories(X, fill="?")[:, 0].tolist() == ["?", "?", "?", "1.5"]
    assert np.isnan(DateEncoder(parts=["year"]).fit_transform(X)[:3]).all()
    assert column_roles(X)["numeric"] == ["n"]
    for x in (X, cells, np.array(cells)):
        assert TextCleaner().fit_transform(x).ravel().tolist() == [None, None, None, "1.50"]
    embedder = SentenceEmbedder(TINY, missing="nan")
    assert np.isnan(embedder.fit_transform(cells)).all(axis=1).tolist() == [True, True, True, False]


# Categories

TRUE = [True, False, True, True]
EQUAL = {
    "integers": [1, 0, 1, 1],
    "floats": [1.0, 0.0, 1.0, 1.0],
    "text": ["1", "0", "1", "1"],
    "objects": pd.Series([True, 0, True, True], dtype=object),
    "nullable": pd.Series(TRUE, dtype="boolean"),
    "decimals": [Decimal("1.0"), Decimal(0), Decimal(1), Decimal(1)],
}


@pytest.mark.parametrize("cells", EQUAL.values(), ids=EQUAL)
@pytest.mark.parametrize("encoder", ["onehot", "target"])
def test_true_is_one_whatever_fit_has_seen(cells, encoder):
    booleans, others = pd.DataFrame({"member": TRUE * 5}), pd.DataFrame({"member": cells})
    y = [1, 0, 1, 0] * 5
    features = make_multimodal_transformer(
        categorical="member", categorical_encoder=encoder, random_state=0
    ).fit(booleans, y)
    np.testing.assert_array_equal(features.transform(others), features.transform(booleans[:4]))
    if encoder == "onehot":
        names = ["categorical__member_False", "categorical__member_True"]
        assert features.get_feature_names_out().tolist() == names
    others = pd.concat([others] * 5, ignore_index=True)
    features.fit(others, y)
    found = features.transform(booleans)
    np.testing.assert_array_equal(found, features.transform(others))
    assert np.unique(found, axis=0).shape[0] == 2


def test_values_that_fit_has_seen_apart_stay_apart():
    reader = CategoryParser().fit(pd.DataFrame({"c": ["1", "True", "S", None]}))
    found = reader.transform(pd.DataFrame({"c": [True, 1, 0, False, "S", None]}, dtype=object))
    assert found[:, 0].tolist() == ["True", "1", "0", "False", "S", "missing"]


def test_what_no_category_can_be_read_from():
    for X, message in (
        (["a", "b"], "Reshape your data"),
        (sparse.eye(3), "Sparse data was passed|sparse"),
        (pd.DataFrame({"a": []}), "0 sample"),
        (np.empty((0, 2), dtype=object), "0 sample"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            CategoryParser().fit(X)
    reader = CategoryParser().fit([["a", 1]])
    assert reader.transform(np.empty((0, 2), dtype=object)).shape == (0, 2)
    with pytest.raises(ValueError, match="X has 1 features, but CategoryParser is expecting 2"):
        reader.transform([["a"]])


@parametrize_with_checks([TextPCA(2)])
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", ["category", "pl.Categorical", "dictionary"])
def test_sentences_of_the_dtype_of_categories_are_embedded(dtype):
    texts = [f"{text} very well" for text in TEXTS]
    X = pd.DataFrame({"text": texts, "size": ["S", "M"] * 6, "n": np.arange(12) * 3})
    expected = make_multimodal_transformer(X, embedder=EMBEDDER).fit_transform(X)
    as_category = X.astype({"text": "category", "size": "category"})
    if dtype == "pl.Categorical":
        as_category = pl.from_pandas(as_category)
    if dtype == "dictionary":
        as_category = pa.Table.from_pandas(as_category, preserve_index=False)
    features = make_multimodal_transformer(as_category, embedder=EMBEDDER)
    assert entries(features) == {"text-text": "text", "categorical": ["size"], "numeric": ["n"]}
    np.testing.assert_array_equal(features.fit_transform(as_category), expected)
    # Unless the user says so.
    given = column_roles(as_category, roles={"text": "categorical"})
    assert given["categorical"] == ["text", "size"]


# Dates


def test_columns_of_dates_of_several_dtypes():
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


# Names


@frames
def test_a_column_of_text_with_an_empty_name(make):
    X = make({"b": TEXTS[::-1], "": TEXTS})
    features = make_multimodal_transformer(X, text=["", "b"], embedder=EMBEDDER)
    assert entries(features) == {"text-b": "b", "text-": 1}
    embedded = EMBEDDER.fit_transform(TEXTS)
    expected = np.hstack([embedded[::-1], embedded])
    np.testing.assert_array_equal(features.fit_transform(X), expected)
    np.testing.assert_array_equal(features.transform(X), expected)
    assert features.get_feature_names_out()[DIM] == "text-___0"


def test_a_column_with_an_empty_name_stands_anywhere():
    X = pd.DataFrame({"": TEXTS, "b": TEXTS[::-1], "n": range(3, 15)})
    features = make_multimodal_transformer(X, roles={"": "text"}, embedder=TfidfVectorizer()).fit(X)
    expected = features.transform(X)
    words = TfidfVectorizer().fit_transform(TEXTS)
    assert expected.shape == (N, 2 * words.shape[1] + 1)
    turned = X[["n", "b", ""]]
    np.testing.assert_array_equal(features.transform(turned), expected)
    # Of other roles, columns stand in lists.
    X = pd.DataFrame({"": ["S", "M"] * 6, "b": range(3, 15)})
    assert make_multimodal_transformer(X).fit_transform(X).shape == (N, 3)
    with pytest.raises(ValueError, match="A column named '' requires X"):
        make_multimodal_transformer(text=["", "b"])


@pytest.mark.parametrize("names", [[0, 1], [5, "a"], [("a", 1), ("b", 2)]])
def test_names_that_are_no_strings_are_refused(names):
    X = pd.DataFrame({"a": TEXTS, "b": np.linspace(0, 1, N)})
    X.columns = pd.Index(names, tupleize_cols=False)
    for read in (column_roles, make_multimodal_transformer, text_column_selector()):
        with pytest.raises(TypeError, match=r"not strings, .* X.columns = X.columns.astype\(str\)"):
            read(X)
    X.columns = X.columns.astype(str)
    assert len(make_multimodal_transformer(X).transformers) == 2


# Components

TABLE = pd.DataFrame({"t": TEXTS, "n": np.arange(12) * 3})


def reduced(k, **how):
    return make_multimodal_transformer(
        text="t", numeric="n", text_components=k, embedder=EMBEDDER, random_state=0, **how
    )


def test_fewer_rows_than_components():
    features = reduced(30)
    message = r"text-t__pca__n_components=30 exceeds the 12 rows: 12 components"
    with pytest.warns(UserWarning, match=message):
        found = features.fit_transform(TABLE)
    expected = PCA(12, random_state=0).fit_transform(EMBEDDER.fit_transform(TEXTS))
    np.testing.assert_allclose(found[:, :12], expected, atol=1e-5)
    assert found.shape == (12, 13)
    np.testing.assert_allclose(features.transform(TABLE), found, atol=1e-5)
    assert features.get_feature_names_out().tolist() == [
        *(f"text-t__pca{i}" for i in range(12)),
        "numeric__n",
    ]
    pca = features.named_transformers_["text-t"]["pca"]
    assert (pca.n_components, pca.n_components_) == (30, 12)
    assert clone(pca).get_params() == pca.get_params()
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(features)).transform(TABLE), features.transform(TABLE)
    )
    # The next fit has what it needs.
    more = pd.DataFrame({"t": [f"{i} {text}" for i in range(4) for text in TEXTS], "n": range(48)})
    assert features.fit_transform(more).shape == (48, 31)


def test_fewer_features_than_components():
    more = pd.DataFrame({"t": [f"{i} {text}" for i in range(4) for text in TEXTS], "n": range(48)})
    with pytest.warns(UserWarning, match="exceeds the 32 features of the embedder: 32 components"):
        assert reduced(40).fit_transform(more).shape == (48, 33)


def test_components_that_fit_are_those_of_scikit_learn():
    for k in (3, 0.9, None):
        features = reduced(k)
        found = features.fit_transform(TABLE)[:, :-1]
        embedded = EMBEDDER.fit_transform(TEXTS)
        if k is not None:
            embedded = PCA(k, random_state=0).fit_transform(embedded)
        np.testing.assert_array_equal(found, embedded)


def test_components_in_folds_and_of_sparse_words():
    words = make_multimodal_transformer(text="t", text_components=30, embedder=TfidfVectorizer())
    n_words = TfidfVectorizer().fit_transform(TEXTS).shape[1]
    with pytest.warns(UserWarning, match=f"exceeds the {n_words} features of the embedder"):
        assert words.fit_transform(TABLE).shape == (12, n_words - 1)
    model = make_pipeline(reduced(8), LogisticRegression())
    with pytest.warns(UserWarning, match="exceeds the 6 rows: 6 components are kept"):
        scores = cross_val_score(model, TABLE, np.arange(12) % 2, cv=2, error_score="raise")
    assert scores.shape == (2,)
    with pytest.warns(UserWarning, match="^n_components=5 exceeds the 3 rows"):
        assert TextPCA(5).fit(np.eye(3)).transform(np.eye(3)).shape == (3, 3)
