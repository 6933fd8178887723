"""SentenceClassifier and SentenceRegressor: what they read, learn, predict and carry along."""

import copy
import io
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from functools import partial

import joblib
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
import torch
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from sk_sentemb import (
    FineTuner,
    ImageEmbedder,
    SentenceClassifier,
    SentenceEmbedder,
    SentenceRegressor,
    load_encoder,
    release_models,
)
from sk_sentemb.cache import MemoryCache
from sk_sentemb.end_to_end.fusion import FUSIONS
from sk_sentemb.end_to_end.head import ACTIVATIONS
from sk_sentemb.exceptions import MissingImageWarning, ModelNotFoundError, TruncationWarning
from tests.checks.data import CONTAINERS, MISSING
from tests.checks.data import TEXTS as SIX_TEXTS
from tests.helpers.images import PICTURES, TINY_VIT
from tests.helpers.tiny_models import NO_DROPOUT, OTHER, PROMPTED, PROMPTS, TINY, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ["ferry", "pier", "storm", "market", "nets", "harbour", "brothers", "bread"]
TEXTS = [
    f"the {a} and the {b} of day {i}"
    for i, (a, b) in enumerate(zip(WORDS * 3, WORDS[::-1] * 3, strict=True))
]
LABELS = np.array(["sea" if i % 2 else "land" for i in range(24)])
NUMBERS = np.linspace(-5, 40, 24)
SHOP = pd.DataFrame(
    {
        "review": TEXTS,
        "size": ["S", "M", "L"] * 8,
        "price": np.linspace(3, 9, 24).round(2),
        "bought": pd.date_range("2024-01-01", periods=24).strftime("%Y-%m-%d"),
        "order_id": np.arange(1000, 1024),
    }
)
ROLES = {"text": "review", "categorical": ["size"], "numeric": "price", "date": ("bought",)}
SEVERAL = np.column_stack([np.arange(24) % 2, np.arange(24) % 3 == 0, np.zeros(24)]).astype(int)


def tuner(**how):
    how = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "random_state": 0, **how}
    return FineTuner(**how)


def classifier(model=TINY, *, how=None, **params):
    return SentenceClassifier(model, fine_tuner=tuner(**how or {}), **params)


def regressor(model=TINY, *, how=None, **params):
    return SentenceRegressor(model, fine_tuner=tuner(**how or {}), **params)


# The encoder stays as it is, so that only the head decides.
HEAD_ALONE = {"trainable": "head", "epochs": 40, "head_learning_rate": 0.05}
LONGER = {**HEAD_ALONE, "epochs": 100}


@pytest.fixture(scope="module")
def of_texts(one_thread):
    return classifier().fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def of_shop(one_thread):
    return classifier().fit(SHOP, LABELS)


both = pytest.mark.parametrize(
    ("make", "y"), [(classifier, LABELS), (regressor, NUMBERS)], ids=["classifier", "regressor"]
)


def outputs(fitted, X):
    return fitted.decision_function(X) if is_classifier(fitted) else fitted.predict(X)


# What X may be


@both
def test_texts_are_the_same_in_all_containers(make, y):
    expected = outputs(make().fit(SIX_TEXTS, y[:6]), SIX_TEXTS)
    fitted = make().fit(SIX_TEXTS, y[:6])
    for kind, container in CONTAINERS.items():
        X = container(SIX_TEXTS)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X has feature names")
            np.testing.assert_array_equal(outputs(fitted, X), expected, err_msg=kind)
            again = make().fit(X, y[:6])
        np.testing.assert_array_equal(outputs(again, X), expected, err_msg=kind)
        # One column of a frame is often met as a list.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(outputs(again, SIX_TEXTS), expected, err_msg=kind)


LIBRARIES = {
    "polars": pl.DataFrame,
    "pyarrow": lambda d: pa.Table.from_pandas(pd.DataFrame(d)),
    "narwhals": lambda d: nw.from_native(pl.DataFrame(d)),
    "pandas with dtypes": lambda d: pd.DataFrame(d, index=[7] * 24).convert_dtypes(),
}


@pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES)
def test_frames_are_the_same_in_all_libraries(make, of_shop):
    expected = of_shop.decision_function(SHOP)
    frame = make(SHOP.to_dict("list"))
    np.testing.assert_array_equal(of_shop.decision_function(frame), expected)
    fitted = classifier().fit(frame, LABELS)
    np.testing.assert_array_equal(fitted.decision_function(SHOP), expected)
    np.testing.assert_array_equal(fitted.transform(frame[:3]), of_shop.transform(SHOP[:3]))
    assert fitted.feature_names_in_.tolist() == list(SHOP)


def test_roles_are_found_or_given(of_shop):
    expected = of_shop.decision_function(SHOP)
    given = classifier(**ROLES).fit(SHOP, LABELS)
    np.testing.assert_array_equal(given.decision_function(SHOP), expected)
    # A column that was given no role, or another one, is another model.
    without = classifier(numeric=[]).fit(SHOP, LABELS)
    other = classifier(categorical=["size", "order_id"]).fit(SHOP, LABELS)
    widths = [f.transform(SHOP).shape[1] for f in (of_shop, without, other)]
    assert widths[1] == widths[0] - 1
    assert widths[2] == widths[0] + 24
    moved = SHOP.assign(price=SHOP["price"][::-1].to_numpy(), order_id=0)
    np.testing.assert_array_equal(without.decision_function(moved), without.decision_function(SHOP))
    assert np.abs(of_shop.decision_function(moved) - expected).min() > 1e-5


def test_several_columns_of_text_are_parts_of_their_own():
    X = pd.DataFrame({"title": TEXTS, "review": TEXTS[::-1]})
    fitted = classifier().fit(X, LABELS)
    embedded = fitted.embedder_.transform(TEXTS)
    assert_same_rows(fitted.transform(X), np.hstack([embedded, embedded[::-1]]))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        found = fitted.decision_function(X.to_numpy())
    np.testing.assert_array_equal(found, fitted.decision_function(X))


def test_what_is_fused_is_texts_and_table():
    """Beside the vectors: z-scores of the price, one of each size; by hand."""
    fitted = classifier(date=[]).fit(SHOP, LABELS)
    fused = fitted.transform(SHOP)
    assert fused.dtype == np.float32
    sizes = np.stack([SHOP["size"] == size for size in "LMS"], axis=1)
    price = (SHOP["price"] - SHOP["price"].mean()) / SHOP["price"].std(ddof=0)
    table = np.column_stack([sizes, price])
    assert_same_rows(fused, np.hstack([fitted.embedder_.transform(TEXTS), table]))


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning:sklearn")
def test_columns_go_by_scikit_learns_rules(of_shop, of_texts):
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        of_shop.predict(SHOP[SHOP.columns[::-1]])
    with pytest.raises(ValueError, match=r"yet now missing:\n- bought"):
        of_shop.predict(SHOP.drop(columns="bought"))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- more"):
        of_shop.predict(SHOP.assign(more=1))
    with pytest.raises(ValueError, match="1 features, but SentenceClassifier is expecting 5"):
        of_shop.predict(TEXTS)
    with pytest.raises(ValueError, match=r"has no column names, but .* columns of several roles"):
        of_shop.predict(SHOP.to_numpy())
    with pytest.raises(ValueError, match="5 features, but SentenceClassifier is expecting 1"):
        of_texts.predict(SHOP)
    with pytest.raises(ValueError, match="2 features, but SentenceClassifier is expecting 1"):
        of_texts.predict([["a", "b"]])
    with pytest.warns(UserWarning, match="X has feature names, but SentenceClassifier was fitted"):
        np.testing.assert_array_equal(of_texts.predict(SHOP[["review"]]), of_texts.predict(TEXTS))


@pytest.mark.parametrize("name", ["column_names", "columns", "shape", "auto", "text-x", "a__b_"])
def test_columns_may_have_any_name(name, of_shop):
    X = SHOP.rename(columns={"review": name, "price": f"{name}2"})
    fitted = classifier(**ROLES | {"text": [name], "numeric": f"{name}2"}).fit(X, LABELS)
    np.testing.assert_array_equal(fitted.decision_function(X), of_shop.decision_function(SHOP))


def test_columns_without_names_are_texts():
    rows = [[text, str(i)] for i, text in enumerate(TEXTS)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = classifier().fit(rows, LABELS)
    assert not hasattr(fitted, "feature_names_in_")
    expected = fitted.predict_proba(rows)
    # What is no text is embedded as such too, but not silently.
    for X in ([[t, i] for i, t in enumerate(TEXTS)], pd.DataFrame({0: TEXTS, 1: range(24)}).values):
        with pytest.warns(UserWarning, match=r"but column 1 \(counting from 0\) .* 'integer'"):
            again = classifier().fit(X, LABELS)
        np.testing.assert_array_equal(again.predict_proba(X), expected)


@both
def test_names_of_columns_have_to_be_strings_where_there_is_more_than_text(make, y):
    X = pd.DataFrame({0: TEXTS, 1: np.linspace(0, 1, 24)})
    for frame in (X, X.rename(columns={0: "text"}), X.set_axis([("a", 1), ("b", 2)], axis=1)):
        with pytest.raises(TypeError, match=r"not strings, such as .*; rename them"):
            make().fit(frame, y)
    with pytest.raises(TypeError, match=r"not strings, such as 0; rename them"):
        make(text=["0"]).fit(X[[0]], y)
    named = X.set_axis(X.columns.astype(str), axis=1)
    assert make().fit(named, y).transform(named).shape == (24, 33)
    # Nothing but text needs no roles.
    for frame in (X[[0]], X.assign(**{"1": TEXTS})[[0, "1"]].set_axis([0, 1], axis=1)):
        expected = outputs(make().fit(frame.to_numpy(), y), frame.to_numpy())
        np.testing.assert_array_equal(outputs(make().fit(frame, y), frame), expected)


def test_a_frame_of_one_column_with_few_words_is_texts():
    words = pd.DataFrame({"word": WORDS * 3})
    expected = classifier().fit(WORDS * 3, LABELS).decision_function(WORDS)
    np.testing.assert_array_equal(
        classifier().fit(words, LABELS).decision_function(words[:8]), expected
    )


@pytest.mark.parametrize(
    ("X", "params", "error", "message"),
    [
        (TEXTS[0], {}, ValueError, "string object received. Pass"),
        ([], {}, ValueError, "inconsistent numbers of samples"),
        (TEXTS[:-1], {}, ValueError, "inconsistent numbers of samples"),
        (SHOP[["price", "size"]], {}, ValueError, r"no text column. .* categorical \['size'\]"),
        (SHOP[["price"]], {}, ValueError, r"no text column. .* numeric \['price'\]"),
        (SHOP, {"text": []}, ValueError, r"no text column. .* other \['review'\]"),
        (SHOP, {"text": ["title"]}, ValueError, "no column 'title'; its columns are"),
        (SHOP, {"text": ["review"], "numeric": ["review"]}, ValueError, "both 'text' and"),
        (SHOP, {"text": 3}, ValueError, "'text' parameter"),
        (TEXTS, {"numeric": ["price"]}, ValueError, "requires column names, but X has none"),
        (SHOP[["review", "review", "size"]], {}, ValueError, "more than one column of the name"),
        (SHOP.set_axis([*"abcd", 5], axis=1), {}, TypeError, "not strings, such as 5"),
        ({"review": TEXTS}, {}, TypeError, "X is of type dict"),
        (sparse.eye(24), {}, TypeError, "sparse"),
        (pl.LazyFrame({"t": TEXTS}), {}, TypeError, "lazy"),
        (SHOP.assign(review=[b"x"] * 24), {"text": "review"}, TypeError, "bytes in row 0"),
        (TEXTS, {"fusion": "sum"}, ValueError, "'fusion' parameter"),
        (TEXTS, {"hidden_layer_sizes": 8}, ValueError, "'hidden_layer_sizes' parameter"),
        (TEXTS, {"hidden_layer_sizes": [8, 0]}, ValueError, "pass integers above 0"),
        (TEXTS, {"hidden_layer_sizes": [2.5]}, ValueError, "pass integers above 0"),
        (TEXTS, {"activation": "sine"}, ValueError, "'activation' parameter"),
        (TEXTS, {"dropout": 1.0}, ValueError, "'dropout' parameter"),
        (TEXTS, {"missing": "zero"}, ValueError, "'missing' parameter"),
        (TEXTS, {"model": TINY / "nowhere"}, ModelNotFoundError, "looks like a path"),
        ([*TEXTS[:-1], None], {"missing": "error"}, ValueError, "row 23, column 0 of X has no"),
        (TEXTS, {"max_length": 5, "long_text": "error"}, ValueError, "row 0 of X has more than 5"),
    ],
)
def test_bad_X_is_named(X, params, error, message):
    for made, y in ((classifier(**params), LABELS), (regressor(**params), NUMBERS)):
        with pytest.raises(error, match=message):
            made.fit(X, y)


def test_no_rows_are_predicted(of_shop, of_texts):
    for fitted, X in ((of_shop, SHOP[:0]), (of_texts, []), (of_texts, np.array([], dtype=str))):
        assert fitted.predict(X).shape == (0,)
        assert fitted.predict_proba(X).shape == (0, 2)
        assert fitted.transform(X).shape == (0, len(fitted.get_feature_names_out()))
    for fusion in FUSIONS:
        assert classifier(fusion=fusion).fit(SHOP, SEVERAL).predict(SHOP[:0]).shape == (0, 3)
    assert regressor().fit(TEXTS, NUMBERS).predict([]).shape == (0,)
    with pytest.raises(ValueError, match="0 sample"):
        classifier().fit([], [])
    with pytest.raises(ValueError, match="0 sample"):
        regressor().fit([], [])


def test_a_row_does_not_depend_on_its_neighbours(of_shop):
    alone = np.hstack([of_shop.decision_function(SHOP[i : i + 1]) for i in range(24)])
    assert_same_rows(alone, of_shop.decision_function(SHOP))
    order = np.random.default_rng(0).permutation(24)
    assert_same_rows(alone[order], of_shop.decision_function(SHOP.iloc[order]))


def test_more_rows_than_go_through_the_head_at_once(monkeypatch, of_shop):
    expected = of_shop.decision_function(SHOP)
    monkeypatch.setattr("sk_sentemb.end_to_end._base._BATCH_ROWS", 5)
    assert_same_rows(of_shop.decision_function(SHOP), expected)
    assert of_shop.predict_proba(SHOP[:20]).shape == (20, 2)


def test_X_and_y_stay_as_they_are():
    X, y = SHOP.copy(), LABELS.copy()
    X.loc[0] = None
    before = X.copy()
    classifier().fit(X, y).predict(X)
    pd.testing.assert_frame_equal(X, before)
    np.testing.assert_array_equal(y, LABELS)


# Missing and new cells


def with_holes():
    X = SHOP.astype({"price": object})
    for row, name in enumerate(SHOP.columns):
        X.loc[row, name] = None
    X.loc[5] = None
    return X


def test_what_is_new_or_missing_in_predictions_is_read_as_such(of_shop):
    X = with_holes()
    assert np.isfinite(of_shop.decision_function(X)).all()
    assert_same_rows(of_shop.decision_function(X)[6:], of_shop.decision_function(SHOP)[6:])
    # One unknown category is as another; a missing number is the median.
    one, other = SHOP.assign(size="XXL"), SHOP.assign(size="tiny")
    np.testing.assert_array_equal(of_shop.predict_proba(one), of_shop.predict_proba(other))
    none, median = SHOP.assign(price=np.nan), SHOP.assign(price=SHOP["price"].median())
    assert_same_rows(of_shop.predict_proba(none), of_shop.predict_proba(median))


@pytest.mark.parametrize("fusion", FUSIONS)
@both
def test_what_is_missing_in_fit_is_learnt_from(make, y, fusion):
    X = with_holes()
    fitted = make(fusion=fusion).fit(X, y)
    assert np.isfinite(outputs(fitted, X)).all()
    for frame in (pl.DataFrame, lambda d: pa.Table.from_pandas(pd.DataFrame(d))):
        same = frame({name: [v if v == v else None for v in X[name]] for name in X})
        np.testing.assert_array_equal(
            outputs(make(fusion=fusion).fit(same, y), X), outputs(fitted, X)
        )


def test_a_missing_text_is_the_empty_one_unless_fit_has_seen_some(of_texts):
    empty = of_texts.decision_function([""])
    np.testing.assert_array_equal(of_texts.decision_function(MISSING), empty.repeat(len(MISSING)))
    X = [None if i % 3 else text for i, text in enumerate(TEXTS)]
    told = classifier().fit(X, LABELS)
    assert told.transform(X).shape[1] == of_texts.transform(X).shape[1] + 1
    assert told.transform([None, "", "?"])[:, -1].tolist() == [1, 0, 0]
    assert told.decision_function([None])[0] != told.decision_function([""])[0]


def test_rows_with_text_alone_and_with_a_table_alone_are_told_apart():
    """The text decides where there is one, else the price."""
    has_text = np.arange(24) < 12
    X = pd.DataFrame(
        {
            "review": [t if has else None for t, has in zip(TEXTS, has_text, strict=True)],
            "price": np.where(has_text, np.nan, np.tile([1.0, 9.0], 12)),
        }
    )
    fitted = classifier(text="review", dropout=0.0, how=HEAD_ALONE).fit(X, LABELS)
    assert fitted.score(X[~has_text], LABELS[~has_text]) == 1
    assert fitted.score(X[has_text], LABELS[has_text]) > 0.7
    # No text at all, in any row: there is a table to go by.
    nothing = X.assign(review=None)
    alone = classifier(text="review", numeric="price", how=HEAD_ALONE)
    assert alone.fit(nothing[12:], LABELS[12:]).score(nothing[12:], LABELS[12:]) == 1


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("name", ["size", "price", "bought"])
def test_each_part_of_the_table_is_learnt_from(name, fusion):
    X = SHOP.assign(review="always the same text")
    y = X[name].isin(sorted(X[name])[12:])
    fitted = classifier(text="review", fusion=fusion, dropout=0.0, how=HEAD_ALONE)
    assert fitted.fit(X, y).score(X, y) > 0.9


# What y may be


@pytest.mark.parametrize(
    "y",
    [
        LABELS,
        LABELS.tolist(),
        LABELS.astype(object),
        LABELS == "sea",
        np.arange(24) % 2,
        np.arange(24) % 3 * 10.0,
        np.array([*"dcba"] * 6),
        pd.Series(LABELS, index=range(50, 74)),
        pd.Series(LABELS, dtype="category"),
        pd.Series(LABELS, dtype="string"),
        pl.Series(LABELS),
        pa.array(LABELS),
    ],
    ids=lambda y: f"{type(y).__name__}-{getattr(y, 'dtype', '')}",
)
def test_classes(y):
    fitted = classifier(how={"epochs": 1}).fit(SHOP, y)
    labels = np.asarray(y)
    assert fitted.classes_.tolist() == sorted(set(labels.tolist()))
    scores, proba = fitted.decision_function(SHOP), fitted.predict_proba(SHOP)
    assert scores.dtype == np.float32
    assert proba.dtype == np.float64
    n_classes = len(fitted.classes_)
    assert proba.shape == (24, n_classes)
    assert scores.shape == ((24,) if n_classes == 2 else (24, n_classes))
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    expected = (
        np.column_stack([1 - expit(scores), expit(scores)])
        if n_classes == 2
        else softmax(scores.astype(float), axis=1)
    )
    np.testing.assert_allclose(proba, expected, atol=1e-7)
    predicted = fitted.predict(SHOP)
    assert predicted.shape == (24,)
    assert predicted.dtype == fitted.classes_.dtype
    np.testing.assert_array_equal(predicted, fitted.classes_[proba.argmax(axis=1)])
    assert fitted.score(SHOP, labels) == accuracy_score(labels.tolist(), predicted.tolist())


def test_classes_are_learnt():
    y = np.array([text.split()[1] for text in TEXTS])
    fitted = classifier(dropout=0.0, how=LONGER).fit(TEXTS, y)
    assert fitted.score(TEXTS, y) == 1
    # The names of classes do not matter, nor does their order.
    other = {word: f"{len(WORDS) - i}{word}" for i, word in enumerate(sorted(WORDS))}
    renamed = classifier(dropout=0.0, how=LONGER).fit(TEXTS, [other[word] for word in y])
    assert renamed.score(TEXTS, [other[word] for word in y]) == 1


def test_a_column_of_y_is_a_column():
    with pytest.warns(DataConversionWarning):
        column = classifier().fit(TEXTS, LABELS[:, None])
    assert column.predict(TEXTS).shape == (24,)
    flat = regressor().fit(TEXTS, NUMBERS)
    column = regressor().fit(TEXTS, NUMBERS[:, None])
    np.testing.assert_array_equal(column.predict(TEXTS), flat.predict(TEXTS)[:, None])


def test_several_labels():
    y = np.column_stack([SHOP["size"] == "S", SHOP["price"] > 6, np.zeros(24)]).astype(int)
    fitted = classifier(dropout=0.0, how=HEAD_ALONE).fit(SHOP, y)
    assert fitted.classes_.tolist() == [0, 1, 2]
    proba, scores = fitted.predict_proba(SHOP), fitted.decision_function(SHOP)
    np.testing.assert_allclose(proba, expit(scores.astype(float)))
    np.testing.assert_array_equal(fitted.predict(SHOP), proba > 0.5)
    np.testing.assert_array_equal(fitted.predict(SHOP), scores > 0)
    assert proba[:, 2].max() < 0.2
    assert fitted.score(SHOP, y) == accuracy_score(y, fitted.predict(SHOP)) > 0.9


@pytest.mark.parametrize(
    "y",
    [
        sparse.csr_array(SEVERAL),
        sparse.csc_matrix(SEVERAL),
        SEVERAL.tolist(),
        SEVERAL.astype(bool),
        SEVERAL.astype(float),
        pd.DataFrame(SEVERAL, columns=[*"abc"]),
    ],
    ids=lambda y: type(y).__name__,
)
def test_several_labels_are_the_same_in_all_containers(y):
    expected = classifier().fit(TEXTS, SEVERAL).decision_function(TEXTS)
    validated = classifier(how={"validation_data": (TEXTS[:8], y[:8])})
    np.testing.assert_array_equal(classifier().fit(TEXTS, y).decision_function(TEXTS), expected)
    if not isinstance(y, sparse.csc_matrix):
        np.testing.assert_array_equal(validated.fit(TEXTS, y).decision_function(TEXTS), expected)


def test_numbers_are_learnt_in_their_units():
    made = regressor(dropout=0.0, how=HEAD_ALONE)
    fitted = clone(made).fit(SHOP, NUMBERS)
    predicted = fitted.predict(SHOP)
    assert predicted.dtype == np.float64
    assert fitted.score(SHOP, NUMBERS) == r2_score(NUMBERS, predicted) > 0.9
    scaled = clone(made).fit(SHOP, NUMBERS * 1e6 - 1e7)
    np.testing.assert_allclose(scaled.predict(SHOP), predicted * 1e6 - 1e7, rtol=1e-2)
    y = np.column_stack([NUMBERS, -1e3 * NUMBERS])
    two = clone(made).fit(SHOP, y)
    assert two.predict(SHOP).shape == (24, 2)
    assert two.score(SHOP, y) > 0.9


def test_a_constant_is_predicted():
    np.testing.assert_allclose(
        regressor(how=LONGER).fit(TEXTS, np.full(24, 1e3)).predict(TEXTS), 1e3, atol=1
    )


@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")
@pytest.mark.parametrize(
    ("make", "y", "message"),
    [
        (classifier, None, "requires y to be passed, but the target y is None"),
        (regressor, None, "requires y to be passed, but the target y is None"),
        (classifier, LABELS[:-1], "inconsistent numbers of samples"),
        (regressor, NUMBERS[:-1], "inconsistent numbers of samples"),
        (classifier, ["sea"] * 24, r"y contains one class \('sea'\); at least two"),
        (classifier, np.zeros(24), r"y contains one class \(0.0\)"),
        (classifier, NUMBERS, "Unknown label type: continuous"),
        (classifier, [*LABELS[:-1], None], r"y\[23\] is missing"),
        (classifier, [*range(23), np.nan], r"y\[23\] is missing"),
        (regressor, [*NUMBERS[:-1], np.nan], r"y\[23\] is missing"),
        (regressor, [*NUMBERS[:-1], np.inf], "infinity"),
        (regressor, LABELS, "could not convert string to float"),
        (classifier, SEVERAL + np.arange(24)[:, None], "several columns of more than two classes"),
        (classifier, SEVERAL * 2, r"several columns with the values \[0, 2\]\. Pass 0 or 1"),
        (classifier, SEVERAL * 2 - 1, r"several columns with the values \[-1, 1\]\. Pass 0 or 1"),
        (classifier, [["a"], ["b", "c"]] * 12, "MultiLabelBinarizer"),
        (regressor, np.zeros((24, 2, 2)), "dim 3"),
    ],
)
def test_bad_y_is_named(make, y, message):
    with pytest.raises(ValueError, match=message):
        make().fit(TEXTS, y)


# What rows and classes weigh


@pytest.mark.parametrize(
    ("make", "y", "wrong"),
    [
        (classifier, LABELS, "land"),
        (classifier, SEVERAL, 1),
        (regressor, NUMBERS, 1e6),
        (regressor, np.column_stack([NUMBERS, -NUMBERS]), 1e6),
    ],
    ids=["classes", "labels", "numbers", "several numbers"],
)
def test_rows_without_weight_teach_nothing(make, y, wrong):
    changed = y.copy()
    changed[:6] = wrong
    weight = (np.arange(24) >= 6) * 2.0
    right = make().fit(TEXTS, y, sample_weight=weight)
    np.testing.assert_array_equal(
        make().fit(TEXTS, changed, sample_weight=weight).transform(TEXTS), right.transform(TEXTS)
    )
    np.testing.assert_array_equal(
        outputs(make().fit(TEXTS, changed, sample_weight=weight), TEXTS), outputs(right, TEXTS)
    )
    # A weight of 1 everywhere is none.
    even = make().fit(TEXTS, y, sample_weight=np.full(24, 3))
    np.testing.assert_allclose(
        outputs(even, TEXTS), outputs(make().fit(TEXTS, y), TEXTS), rtol=1e-3, atol=1e-4
    )


@both
def test_a_weight_of_two_is_a_row_twice(make, y):
    """In one batch, without dropout; to the precision of sums in another order."""
    weight = np.where(np.arange(24) < 6, 2.0, 1.0)
    how = {"batch_size": 64, "epochs": 3}
    weighted = make(NO_DROPOUT, dropout=0.0, how=how).fit(TEXTS, y, sample_weight=weight)
    twice = make(NO_DROPOUT, dropout=0.0, how=how).fit(TEXTS + TEXTS[:6], np.r_[y, y[:6]])
    np.testing.assert_allclose(
        outputs(weighted, TEXTS), outputs(twice, TEXTS), rtol=1e-3, atol=1e-4
    )


def test_balanced_classes_weigh_alike():
    y = np.array(["rare"] * 6 + ["often"] * 18)
    balanced = classifier(how={"class_weight": "balanced"}).fit(TEXTS, y)
    by_hand = classifier().fit(TEXTS, y, sample_weight=np.where(y == "rare", 2.0, 2 / 3))
    by_name = classifier(how={"class_weight": {"rare": 2.0, "often": 2 / 3}}).fit(TEXTS, y)
    for other in (by_hand, by_name):
        assert_same_rows(other.predict_proba(TEXTS), balanced.predict_proba(TEXTS))
    plain = classifier().fit(TEXTS, y).predict_proba(TEXTS)
    assert (balanced.predict_proba(TEXTS)[:, 1] > plain[:, 1]).all()
    with pytest.raises(ValueError, match="requires classes in y"):
        classifier(how={"class_weight": "balanced"}).fit(TEXTS, SEVERAL)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(24), "zero"),
        (-np.ones(24), "[Nn]egative"),
        (np.ones(23), "sample_weight.shape"),
        (np.full(24, np.nan), "NaN"),
    ],
)
@both
def test_bad_weights_are_named(make, y, weight, message):
    with pytest.raises(ValueError, match=message):
        make().fit(TEXTS, y, sample_weight=weight)


# The head


class TwoLayers(torch.nn.Module):
    def __init__(self, n_inputs, n_outputs, width=8):
        super().__init__()
        self.first = torch.nn.Linear(n_inputs, width)
        self.norm = torch.nn.BatchNorm1d(width)
        self.drop = torch.nn.Dropout(0.5)
        self.last = torch.nn.Linear(width, n_outputs)

    def forward(self, fused):
        return self.last(self.drop(self.norm(self.first(fused)).relu()))


def two_layers(n_inputs, n_outputs):
    return TwoLayers(n_inputs, n_outputs)


HEADS = [
    *((fusion, sizes, "relu") for fusion in FUSIONS for sizes in ((), [8, 4])),
    *(("concat", np.array([8]), activation) for activation in ACTIVATIONS),
]


@pytest.mark.parametrize(("fusion", "sizes", "activation"), HEADS, ids=str)
def test_heads_learn_and_have_no_dropout_in_predictions(fusion, sizes, activation):
    made = classifier(
        fusion=fusion, hidden_layer_sizes=sizes, activation=activation, dropout=0.5, how=HEAD_ALONE
    )
    fitted = made.fit(SHOP, LABELS)
    losses = fitted.history_["loss"]
    assert losses[-6:].mean() < losses[:6].mean()
    assert not any(module.training for module in fitted.head_.modules())
    assert not any(p.requires_grad for p in fitted.head_.parameters())
    np.testing.assert_array_equal(fitted.decision_function(SHOP), fitted.decision_function(SHOP))
    linear = [m for m in fitted.head_.layers if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in linear] == [*sizes, 2]
    assert fitted.transform(SHOP).shape == (24, linear[0].in_features)
    assert fitted.transform(SHOP).shape[1] == (43 if fusion == "concat" else 32)


def test_the_outputs_are_what_the_follower_makes_of_the_fused():
    fitted = classifier(hidden_layer_sizes=(4,), activation="tanh").fit(SHOP, [*"abc"] * 8)
    first, last = (m for m in fitted.head_.layers if isinstance(m, torch.nn.Linear))
    W, b, V, c = (p.numpy() for m in (first, last) for p in (m.weight, m.bias))
    by_hand = np.tanh(fitted.transform(SHOP) @ W.T + b) @ V.T + c
    np.testing.assert_allclose(fitted.decision_function(SHOP), by_hand, atol=1e-5)


def linear(module, x):
    return x @ module.weight.numpy().T + module.bias.numpy()


@pytest.fixture(scope="module")
def parts():
    """The texts' vectors, and the table, of a model that has not been trained."""
    fitted = classifier(how={"trainable": "head"}).fit(SHOP, LABELS)
    return fitted.transform(SHOP)[:, :32], fitted.transform(SHOP)[:, 32:]


def test_gates_weigh_the_parts(parts):
    fused = classifier(fusion="gated", how={"trainable": "head"}).fit(SHOP, LABELS)
    gate = fused.head_.fusion
    projected = np.stack(
        [np.tanh(linear(p, x)) for p, x in zip(gate.projections, parts, strict=True)]
    )
    weights = softmax(linear(gate.gates, np.hstack(parts)).reshape(24, 2, 32), axis=1)
    by_hand = (weights.transpose(1, 0, 2) * projected).sum(axis=0)
    np.testing.assert_allclose(fused.transform(SHOP), by_hand, atol=1e-5)


def test_a_query_attends_to_the_parts(parts):
    fused = classifier(fusion="attention", how={"trainable": "head"}).fit(SHOP, LABELS)
    found = fused.head_.fusion
    tokens = np.stack([linear(p, x) for p, x in zip(found.projections, parts, strict=True)], axis=1)
    W, b = found.attention.in_proj_weight.numpy(), found.attention.in_proj_bias.numpy()
    heads = {"q": found.query[0].numpy(), "k": tokens, "v": tokens}
    for i, (name, x) in enumerate(heads.items()):
        rows = slice(32 * i, 32 * (i + 1))
        heads[name] = (x @ W[rows].T + b[rows]).reshape(*x.shape[:-1], 8, 4)
    attention = softmax(np.einsum("qhd,nkhd->nhqk", heads["q"], heads["k"]) / 2, axis=-1)
    read = np.einsum("nhqk,nkhd->nqhd", attention, heads["v"]).reshape(24, 32)
    by_hand = linear(found.attention.out_proj, read) + tokens.mean(axis=1)
    by_hand = (by_hand - by_hand.mean(1, keepdims=True)) / np.sqrt(by_hand.var(1) + 1e-5)[:, None]
    by_hand = by_hand * found.norm.weight.numpy() + found.norm.bias.numpy()
    np.testing.assert_allclose(fused.transform(SHOP), by_hand, atol=1e-4)


@pytest.mark.parametrize(
    "head", [TwoLayers, two_layers, partial(TwoLayers, width=3), torch.nn.Linear], ids=repr
)
def test_a_head_of_ones_own(head):
    fitted = classifier(head=head, fusion="gated").fit(SHOP, LABELS)
    assert isinstance(fitted.head_.layers, (TwoLayers, torch.nn.Linear))
    assert not fitted.head_.layers.training
    np.testing.assert_array_equal(fitted.predict(SHOP), fitted.predict(SHOP))
    again = pickle.loads(pickle.dumps(fitted))
    assert_same_rows(again.decision_function(SHOP), fitted.decision_function(SHOP))
    assert clone(fitted).head.__class__ is head.__class__
    alone = clone(fitted).fit(SHOP, LABELS)
    np.testing.assert_array_equal(alone.decision_function(SHOP), fitted.decision_function(SHOP))
    assert regressor(head=head).fit(SHOP, np.c_[NUMBERS, NUMBERS]).predict(SHOP).shape == (24, 2)


@pytest.mark.parametrize(
    ("head", "error", "message"),
    [
        (torch.nn.Linear(32, 2), TypeError, "head is the module Linear.*Pass a callable"),
        (lambda n_inputs, n_outputs: None, TypeError, r"head\(32, 2\) returned None"),
        (lambda n_in, n_out: torch.nn.Linear(n_in, n_out + 1), ValueError, r"shape \(8, 3\)"),
        (lambda n_in, n_out: torch.nn.Linear(n_in, 1), ValueError, r"expected \(8, 2\)"),
        (lambda n_in, n_out: torch.nn.Flatten(0), ValueError, "2 numbers for each row"),
        ("linear", ValueError, "'head' parameter"),
    ],
)
def test_a_head_that_does_not_fit_is_named(head, error, message):
    with pytest.raises(error, match=message):
        classifier(head=head).fit(TEXTS, LABELS)


def test_parameters_that_a_head_of_ones_own_ignores_are_said():
    with pytest.warns(UserWarning, match="hidden_layer_sizes and dropout have no effect") as said:
        classifier(head=TwoLayers, hidden_layer_sizes=(8,), dropout=0.2).fit(TEXTS, LABELS)
    assert said[0].filename == __file__


class Brightness(TransformerMixin, BaseEstimator):
    """Stands in for what embeds images."""

    def fit(self, X, y=None):
        self.n_features_out_ = 2
        return self

    def transform(self, X):
        names = np.asarray(X).ravel()
        return np.array([[len(name), name.startswith("b")] for name in names], dtype=np.float32)

    def get_feature_names_out(self, input_features=None):
        return np.array(["length", "bright"], dtype=object)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_images_are_parts_of_their_own(fusion):
    X = SHOP.assign(
        front=[f"{'bd'[i % 2]}{i}.png" for i in range(24)], back=[f"d{i}.png" for i in range(24)]
    )
    made = classifier(
        fusion=fusion,
        image=["back", "front"],
        image_embedder=Brightness(),
        dropout=0.0,
        how=HEAD_ALONE,
    )
    fitted = made.fit(X, LABELS)
    assert fitted.head_.feature_sizes == [11, 2, 2]
    assert fitted.score(X, LABELS) == 1
    again = pickle.loads(pickle.dumps(fitted))
    assert_same_rows(again.transform(X), fitted.transform(X))
    if fusion == "concat":
        assert fitted.transform(X)[:2, -4:].tolist() == [[6, 1, 6, 0], [6, 0, 6, 0]]


def test_real_images_are_embedded_once_and_may_be_missing():
    cache = MemoryCache()
    X = SHOP.assign(photo=[PICTURES[i % 2] for i in range(24)])
    images = ImageEmbedder(TINY_VIT, cache=cache)
    made = classifier(text="review", image="photo", image_embedder=images, how=HEAD_ALONE)
    fitted = made.fit(X, LABELS)
    fitted.predict(X)
    assert cache.statistics().misses == 2
    np.testing.assert_array_equal(
        fitted.transform(X)[:2, -32:], ImageEmbedder(TINY_VIT).fit_transform(PICTURES[:2])
    )
    with pytest.warns(MissingImageWarning):
        assert not fitted.transform(X.assign(photo=None))[:, -32:].any()
    with pytest.raises(ValueError, match="photo"):
        fitted.predict(X.drop(columns="photo"))
    again = pickle.loads(pickle.dumps(fitted))
    assert_same_rows(again.predict_proba(X), fitted.predict_proba(X))


def test_numbers_that_are_not_finite_are_named():
    X = SHOP.assign(photo=PICTURES[0])
    images = ImageEmbedder(TINY_VIT, missing="nan")
    made = classifier(text="review", image="photo", image_embedder=images, how=HEAD_ALONE)
    fitted = made.fit(X, LABELS)
    X["photo"] = [*X["photo"][:7], None, *X["photo"][8:]]
    for method in (fitted.predict, lambda X: clone(made).fit(X, LABELS)):
        with pytest.raises(ValueError, match=r"row 7 of X .* has nan in 'image-photo__"):
            method(X)
    of_shop = classifier(how=HEAD_ALONE).fit(SHOP, LABELS)
    with pytest.raises(ValueError, match=r"row 3 of X .* has inf in 'numeric.*price'"):
        of_shop.predict(SHOP.assign(price=[*SHOP["price"][:3], 1e300, *SHOP["price"][4:]]))


# As a transformer, and the embedder inside


def test_names_and_frames_of_what_is_fused(of_shop):
    names = of_shop.get_feature_names_out()
    assert names[0] == "sentenceclassifier0"
    assert len(names) == of_shop.transform(SHOP).shape[1]
    X = SHOP.set_axis(range(10, 34))
    for kind, frame in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        shown = classifier().set_output(transform=kind).fit(X, LABELS)
        rows = shown.transform(X)
        assert type(rows) is frame
        assert list(rows.columns) == list(names)
        np.testing.assert_array_equal(rows.to_numpy(), of_shop.transform(SHOP))
        assert type(shown.predict(X)) is np.ndarray
        if kind == "pandas":
            assert list(rows.index) == list(X.index)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_the_output_that_all_transformers_shall_have_changes_nothing(kind, of_shop):
    with sklearn.config_context(transform_output=kind), warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = classifier().fit(SHOP, LABELS)
        np.testing.assert_array_equal(
            fitted.decision_function(SHOP), of_shop.decision_function(SHOP)
        )
    np.testing.assert_array_equal(fitted.transform(SHOP), of_shop.transform(SHOP))


def test_in_the_middle_of_a_pipeline(of_shop):
    model = make_pipeline(classifier(), LogisticRegression()).fit(SHOP, LABELS)
    np.testing.assert_array_equal(model[0].transform(SHOP), of_shop.transform(SHOP))
    assert model.predict(SHOP).shape == (24,)
    np.testing.assert_array_equal(classifier().fit_transform(SHOP, LABELS), of_shop.transform(SHOP))


def test_the_embedder_gives_the_vectors_that_the_head_reads(of_texts, of_shop):
    for fitted, X in ((of_texts, TEXTS), (of_shop, SHOP)):
        embedder = fitted.embedder_
        assert isinstance(embedder, SentenceEmbedder)
        assert embedder.encoder_ is fitted.encoder_
        assert embedder.fingerprint_ == fitted.fingerprint_
        np.testing.assert_array_equal(embedder.transform(TEXTS), fitted.transform(X)[:, :32])
    assert np.abs(of_texts.embedder_.transform([None]) - of_texts.transform([None])).max() == 0
    assert (
        np.abs(
            of_texts.embedder_.transform(TEXTS) - SentenceEmbedder(TINY).fit_transform(TEXTS)
        ).max()
        > 0.01
    )
    model = make_pipeline(of_texts.embedder_, LogisticRegression())
    searched = GridSearchCV(model, {"logisticregression__C": [1, 10]}, cv=3).fit(TEXTS, LABELS)
    assert searched.best_estimator_[0].encoder_ is of_texts.encoder_
    again = pickle.loads(pickle.dumps(of_texts.embedder_))
    assert_same_rows(again.transform(TEXTS), of_texts.transform(TEXTS))


@pytest.mark.parametrize(
    "params",
    [{"prompt_name": "query"}, {"prompt": "the pier: "}, {"max_length": 6}, {"missing": "error"}],
    ids=str,
)
def test_the_embedder_has_the_settings_that_it_was_trained_with(params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        fitted = classifier(PROMPTED, **params).fit(TEXTS, LABELS)
        plain = classifier(PROMPTED).fit(TEXTS, LABELS)
        rows = fitted.embedder_.transform(TEXTS)
        assert_same_rows(rows, fitted.transform(TEXTS))
        assert fitted.embedder_.missing == fitted.missing
        if "missing" not in params:
            assert np.abs(rows - plain.transform(TEXTS)).max() > 1e-3


def test_texts_that_are_too_long():
    with pytest.warns(TruncationWarning, match="24 of 24 texts exceed the limit of 6 tokens"):
        fitted = classifier(max_length=6).fit(TEXTS, LABELS)
    with pytest.warns(TruncationWarning, match="1 of 2 texts exceed the limit of 6 tokens"):
        fitted.predict(["?", TEXTS[0]])
    strict = classifier(long_text="error", max_length=30).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="row 1, column 0 of X has more than 30 tokens"):
        strict.predict(["?", "ferry " * 40])


# Copies


def shop_regressor():
    return regressor(hidden_layer_sizes=(4,), fusion="attention").fit(SHOP, NUMBERS)


@pytest.mark.parametrize("make", [shop_regressor, lambda: classifier().fit(SHOP, SEVERAL)])
@pytest.mark.parametrize("way", ["pickle", "joblib", "deepcopy", "copy"])
def test_copies_predict_the_same(way, make):
    fitted = make()
    stream = io.BytesIO()
    joblib.dump(fitted, stream)
    stream.seek(0)
    copied = {
        "pickle": lambda: pickle.loads(pickle.dumps(fitted)),
        "joblib": lambda: joblib.load(stream),
        "deepcopy": lambda: copy.deepcopy(fitted),
        "copy": lambda: copy.copy(fitted),
    }[way]()
    assert_same_rows(copied.predict(SHOP), fitted.predict(SHOP))
    assert_same_rows(copied.transform(SHOP), fitted.transform(SHOP))
    pd.testing.assert_frame_equal(copied.history_, fitted.history_)
    assert copied.fingerprint_ == copied.embedder_.fingerprint_ == fitted.fingerprint_
    assert not copied.head_.training
    assert (copied.encoder_ is fitted.encoder_) == (way in ("copy", "deepcopy"))


def test_a_clone_has_learnt_nothing(of_shop):
    fresh = clone(of_shop)
    for name in ("encoder_", "head_", "classes_", "history_"):
        assert not hasattr(fresh, name)
    assert not hasattr(fresh, "embedder_")
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        with pytest.raises(NotFittedError):
            getattr(fresh, method)(SHOP)
    with pytest.raises(NotFittedError):
        fresh.get_feature_names_out()
    with pytest.raises(NotFittedError):
        fresh.save_pretrained("nowhere")
    np.testing.assert_array_equal(fresh.fit(SHOP, LABELS).predict(SHOP), of_shop.predict(SHOP))


def test_parameters_come_back_as_they_went_in(tmp_path):
    for kind in (SentenceClassifier, SentenceRegressor):
        given = kind(TINY, head=TwoLayers, text=["a"], cache=tmp_path, fine_tuner=tuner())
        params = given.get_params(deep=False)
        assert all(value is params[name] for name, value in vars(kind(**params)).items())
        assert kind().set_params(**params).get_params() == given.get_params()
        assert given.set_params(fine_tuner__epochs=9).fine_tuner.epochs == 9


def test_the_next_fit_uses_what_was_set_last(of_texts):
    fitted = classifier().fit(SHOP, SEVERAL)
    fitted.set_params(model=OTHER, fusion="gated").fit(TEXTS, LABELS)
    expected = classifier(OTHER, fusion="gated").fit(TEXTS, LABELS)
    np.testing.assert_array_equal(fitted.predict_proba(TEXTS), expected.predict_proba(TEXTS))
    assert not hasattr(fitted, "feature_names_in_")
    assert fitted.n_features_in_ == 1


def test_a_pickle_has_the_trained_weights_and_the_name_of_others(tmp_path):
    trained = classifier().fit(TEXTS, LABELS)
    frozen = classifier(how={"trainable": "head"}).fit(TEXTS, LABELS)
    embedded = classifier(how={"trainable": "head"}, store_weights_in_pickle=True).fit(
        TEXTS, LABELS
    )
    sizes = [len(pickle.dumps(fitted)) for fitted in (trained, frozen, embedded)]
    weights = sum(p.nbytes for p in load_encoder(TINY).backbone.model.parameters())
    assert min(sizes[0], sizes[2]) > weights
    assert sizes[1] < weights / 2
    again = pickle.loads(pickle.dumps(frozen))
    assert again.encoder_ is load_encoder(TINY)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), frozen.predict_proba(TEXTS))


LOADED = """
import sys, joblib, numpy as np, pandas as pd
X = pd.read_parquet(sys.argv[1])
for file in sys.argv[2:]:
    np.save(file, joblib.load(file).decision_function(X))
"""


def test_another_process_predicts_the_same(tmp_path, run_python):
    made = {
        "trained": classifier(hidden_layer_sizes=(4,), fusion="gated"),
        "frozen": classifier(how={"trainable": "head"}),
    }
    SHOP.to_parquet(tmp_path / "X")
    for name, estimator in made.items():
        joblib.dump(estimator.fit(SHOP, [*"abc"] * 8), tmp_path / name)
    run_python(LOADED, tmp_path / "X", *(tmp_path / name for name in made))
    for name, estimator in made.items():
        found = np.load(tmp_path / f"{name}.npy")
        assert_same_rows(found, estimator.decision_function(SHOP))


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.TruncationWarning")
def test_the_encoder_is_saved_for_sentence_transformers(tmp_path):
    from sentence_transformers import SentenceTransformer

    fitted = classifier(PROMPTED, prompt_name="query", max_length=20).fit(SHOP, LABELS)
    fitted.save_pretrained(tmp_path / "saved")
    expected = fitted.embedder_.transform(TEXTS)
    assert_same_rows(SentenceEmbedder(tmp_path / "saved").fit_transform(TEXTS), expected)
    reference = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert_same_rows(reference.encode(TEXTS), expected)
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(FileExistsError):
        fitted.save_pretrained(tmp_path)


@pytest.mark.gpu
def test_a_model_from_a_gpu_is_read_without_one(tmp_path, run_python):
    fitted = classifier(device="cuda").fit(SHOP, LABELS)
    joblib.dump(fitted, tmp_path / "fitted")
    SHOP.to_parquet(tmp_path / "X")
    hidden = "import os; os.environ['CUDA_VISIBLE_DEVICES'] = ''\n"
    run_python(hidden + LOADED, tmp_path / "X", tmp_path / "fitted")
    found = np.load(tmp_path / "fitted.npy")
    np.testing.assert_allclose(found, fitted.decision_function(SHOP), atol=1e-4)


# Among other estimators


def test_tags():
    assert is_classifier(classifier())
    assert is_regressor(regressor())
    assert get_tags(classifier()).classifier_tags.multi_label
    assert get_tags(regressor()).target_tags.multi_output
    for estimator in (classifier(), regressor()):
        tags = get_tags(estimator)
        assert tags.target_tags.required
        assert tags.input_tags.string
        assert tags.input_tags.allow_nan
        assert tags.transformer_tags is not None


def test_in_other_estimators():
    fast = classifier(how={"trainable": "head"})
    calibrated = CalibratedClassifierCV(fast, cv=2).fit(SHOP, LABELS)
    np.testing.assert_allclose(calibrated.predict_proba(SHOP).sum(axis=1), 1)
    stacked = StackingClassifier([("one", fast), ("other", clone(fast))], cv=2)
    assert stacked.fit(SHOP, LABELS).predict(SHOP).shape == (24,)
    rest = OneVsRestClassifier(fast).fit(np.array(TEXTS, dtype=object), [*"abc"] * 8)
    assert rest.predict_proba(TEXTS[:2]).shape == (2, 3)
    predicted = cross_val_predict(regressor(how={"trainable": "head"}), SHOP, NUMBERS, cv=2)
    assert predicted.shape == (24,)
    kinds = ["neg_log_loss", "roc_auc", "accuracy"]
    scores = cross_validate(fast, SHOP, LABELS, cv=2, scoring=kinds, error_score="raise")
    assert all(np.isfinite(scores[f"test_{kind}"]).all() for kind in kinds)


def test_weights_are_routed():
    weight = (np.arange(24) >= 6).astype(float)
    expected = classifier().fit(SHOP, LABELS, sample_weight=weight).predict_proba(SHOP)
    with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("error")
        asks = classifier().set_fit_request(sample_weight=True)
        routed = make_pipeline("passthrough", asks).fit(SHOP, LABELS, sample_weight=weight)
        np.testing.assert_array_equal(routed.predict_proba(SHOP), expected)
        asks = asks.set_score_request(sample_weight=True)
        search = GridSearchCV(asks, {"fusion": ["concat"]}, cv=2, error_score="raise")
        search.fit(SHOP, LABELS, sample_weight=weight)
        np.testing.assert_array_equal(search.predict_proba(SHOP), expected)
        last = LogisticRegression().set_fit_request(sample_weight=False)
        first = make_pipeline(asks, last)
        first.fit(SHOP, LABELS, sample_weight=weight)
        np.testing.assert_array_equal(first[0].predict_proba(SHOP), expected)
        ignores = classifier().set_fit_request(sample_weight=False)
        plain = make_pipeline("passthrough", ignores).fit(SHOP, LABELS)
        assert np.abs(plain.predict_proba(SHOP) - expected).max() > 1e-5


def test_threads_share_one_estimator(of_shop):
    jobs = [SHOP[i % 20 :] for i in range(24)]
    expected = [of_shop.decision_function(X) for X in jobs]
    with ThreadPoolExecutor(8) as pool:
        for rows, right in zip(pool.map(of_shop.decision_function, jobs), expected, strict=True):
            np.testing.assert_array_equal(rows, right)


def test_fits_in_threads_do_not_disturb_each_other():
    run = joblib.Parallel(n_jobs=3, backend="threading")
    how = [{"random_state": seed, "validation_fraction": 0.25} for seed in (0, 1, 0, 1)]
    found = run(joblib.delayed(lambda h: classifier(how=h).fit(SHOP, LABELS))(h) for h in how)
    scores = [fitted.decision_function(SHOP) for fitted in found]
    np.testing.assert_array_equal(scores[:2], scores[2:])
    assert np.abs(scores[0] - scores[1]).max() > 1e-4


def test_nothing_is_printed_and_nothing_global_changes():
    def state():
        return {
            "environment": dict(os.environ),
            "warnings": list(warnings.filters),
            "numpy": str(np.random.get_state(legacy=False)),  # noqa: NPY002
            "torch": torch.get_rng_state().tolist(),
            "threads": torch.get_num_threads(),
            "grad": torch.is_grad_enabled(),
        }

    out, err = io.StringIO(), io.StringIO()
    before = state()
    with redirect_stdout(out), redirect_stderr(err):
        fitted = classifier(how={"validation_fraction": 0.25, "early_stopping": True})
        fitted.fit(SHOP, LABELS).predict(SHOP)
        regressor(fusion="attention").fit(TEXTS, NUMBERS).predict(TEXTS)
    assert state() == before
    assert out.getvalue() + err.getvalue() == ""


def test_a_loaded_model_and_prompts_are_taken(of_texts):
    encoder = load_encoder(TINY)
    fitted = classifier(encoder).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(fitted.predict_proba(TEXTS), of_texts.predict_proba(TEXTS))
    with pytest.raises(ValueError, match="has no effect on a loaded model"):
        classifier(encoder, dtype="bfloat16").fit(TEXTS, LABELS)
    named, given = (
        classifier(PROMPTED, **prompt).fit(TEXTS, LABELS)
        for prompt in ({"prompt_name": "query"}, {"prompt": PROMPTS["query"]})
    )
    np.testing.assert_array_equal(named.predict_proba(TEXTS), given.predict_proba(TEXTS))


def test_the_default_learns():
    """A real model, and no parameter but the seed."""
    good = ["I love it.", "Fits very well.", "My favourite dress.", "So soft and warm!"]
    bad = ["It fell apart.", "Too tight!", "I sent it back.", "Ugly, and far too short."]
    release_models()
    fitted = SentenceClassifier(fine_tuner=FineTuner(epochs=3, batch_size=4, random_state=0))
    fitted.fit(good + bad, [1] * 4 + [0] * 4)
    assert fitted.predict(["I love this warm dress.", "It is ugly and too tight."]).tolist() == [
        1,
        0,
    ]
