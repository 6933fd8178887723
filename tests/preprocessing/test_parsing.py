"""Columns of any dtype as numbers and categories."""

import warnings
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from sk_sentemb import (
    SentenceEmbedder,
    TextCleaner,
    make_multimodal_transformer,
)
from sk_sentemb.exceptions import UnreadableCellWarning
from sk_sentemb.preprocessing import DateEncoder, column_roles, parse_categories, parse_numbers
from sk_sentemb.preprocessing.parsing import CategoryParser, parse_number
from tests.helpers.tiny_models import TINY

FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}

frames = pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)


def test_parse_numbers_of_any_dtype():
    X = pd.DataFrame(
        {
            "float": [1.5, np.nan, -2],
            "integer": pd.array([1, None, 3], dtype="Int64"),
            "bool": [True, None, False],
            "text": [" 1,200.5", "", "$3"],
            "percent": ["12 %", "7e-3", None],
            "decimal": [Decimal("1.5"), None, Decimal("NaN")],
            "duration": [timedelta(minutes=1), None, timedelta(days=-1)],
            "category": pd.Categorical([3, None, 4]),
        }
    )
    nan = np.nan
    expected = [
        [1.5, 1, 1, 1200.5, 12, 1.5, 60, 3],
        [nan, nan, nan, nan, 0.007, nan, nan, nan],
        [-2, 3, 0, 3, nan, nan, -86400, 4],
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(parse_numbers(X), expected)
        np.testing.assert_array_equal(
            parse_numbers(pl.from_pandas(X[["float", "integer", "bool", "text", "percent"]])),
            np.array(expected)[:, :5],
        )
        np.testing.assert_array_equal(parse_numbers(["1", None, 2]), [[1], [nan], [2]])
        assert parse_numbers(X[:0]).shape == (0, 8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.50 €", 12.5),
        ("12€", 12),
        ("€ 1,200", 1200),
        ("-$5.00", -5),
        ("$-5.00", -5),
        ("$ +5", 5),
        ("(5.00)", -5),
        (" ( $1,200.50 ) ", -1200.5),
        ("0.5", 0.5),
        ("007", 7),
        ("100,000", 100_000),
        # Decimal commas, and what has two signs or two currencies.
        *[(text, None) for text in ("0,512", "00,123", "12,50€", "1,23")],
        *[(text, None) for text in ("--5", "-$-5", "(-5)", "$5€", "(5", "5)", "()", "$", "")],
    ],
)
def test_parse_number(text, value):
    assert parse_number(text) == value


def test_parse_number_of_hostile_text_is_fast():
    for text in (" " * 100_000 + "x", "$" + " " * 100_000, "1" * 100_000 + "x", "1,111" * 20_000):
        assert parse_number(text) is None


@frames
def test_parse_numbers_counts_unreadable_cells(make):
    with pytest.warns(
        UnreadableCellWarning, match="2 of 4 cells of 'n' are not numbers and are treated"
    ):
        found = parse_numbers(make({"n": ["1", "unknown", None, "1e999"]}))
    np.testing.assert_array_equal(found, [[1], [np.nan], [np.nan], [np.nan]])


@frames
@pytest.mark.parametrize("missing", [[], [None]], ids=["all", "some"])
def test_parse_numbers_rounds_integers_beyond_floats(make, missing):
    cells = [2**53 + 1, 2**62 + 1, -(2**63), 7, *missing]
    found = parse_numbers(make({"n": cells}))
    np.testing.assert_array_equal(
        found[:, 0], [2.0**53, 2.0**62, -(2.0**63), 7, *[np.nan][: len(missing)]]
    )


def entries(transformer):
    return {name: columns for name, _, columns in transformer.transformers}


def test_parse_numbers_too_large_for_floats():
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


def test_decimal_nan_is_missing_everywhere():
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


def test_parse_categories_of_any_dtype():
    X = pd.DataFrame({"a": [1, 2.0, "S", " ", None, pd.NA, np.nan, True]}, dtype=object)
    found = parse_categories(X, fill="?")
    assert found[:, 0].tolist() == ["1", "2", "S", "?", "?", "?", "?", "True"]
    assert [cell is np.nan for cell in parse_categories(X)[:, 0]] == [cell == "?" for cell in found]


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
def test_category_parser_equates_true_and_one(cells, encoder):
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


def test_category_parser_keeps_values_seen_apart():
    reader = CategoryParser().fit(pd.DataFrame({"c": ["1", "True", "S", None]}))
    found = reader.transform(pd.DataFrame({"c": [True, 1, 0, False, "S", None]}, dtype=object))
    assert found[:, 0].tolist() == ["True", "1", "0", "False", "S", "missing"]


def test_category_parser_rejects_bad_input():
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
