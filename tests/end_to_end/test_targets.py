"""Classes, labels, numbers and weights of SentenceClassifier and SentenceRegressor."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import accuracy_score, r2_score

from tests.end_to_end.data import (
    HEAD_ALONE,
    LABELS,
    NUMBERS,
    SEVERAL,
    SHOP,
    TEXTS,
    WORDS,
    both,
    classifier,
    outputs,
    regressor,
)
from tests.helpers.tiny_models import NO_DROPOUT, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


LONGER = {**HEAD_ALONE, "epochs": 100}


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
def test_classifier_classes(y):
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


def test_classifier_trains():
    y = np.array([text.split()[1] for text in TEXTS])
    fitted = classifier(dropout=0.0, how=LONGER).fit(TEXTS, y)
    assert fitted.score(TEXTS, y) == 1
    # The names of classes do not matter, nor does their order.
    other = {word: f"{len(WORDS) - i}{word}" for i, word in enumerate(sorted(WORDS))}
    renamed = classifier(dropout=0.0, how=LONGER).fit(TEXTS, [other[word] for word in y])
    assert renamed.score(TEXTS, [other[word] for word in y]) == 1


def test_column_y_is_raveled():
    with pytest.warns(DataConversionWarning):
        column = classifier().fit(TEXTS, LABELS[:, None])
    assert column.predict(TEXTS).shape == (24,)
    flat = regressor().fit(TEXTS, NUMBERS)
    column = regressor().fit(TEXTS, NUMBERS[:, None])
    np.testing.assert_array_equal(column.predict(TEXTS), flat.predict(TEXTS)[:, None])


def test_multilabel_outputs():
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
def test_multilabel_containers_give_equal_outputs(y):
    expected = classifier().fit(TEXTS, SEVERAL).decision_function(TEXTS)
    validated = classifier(how={"validation_data": (TEXTS[:8], y[:8])})
    np.testing.assert_array_equal(classifier().fit(TEXTS, y).decision_function(TEXTS), expected)
    if not isinstance(y, sparse.csc_matrix):
        np.testing.assert_array_equal(validated.fit(TEXTS, y).decision_function(TEXTS), expected)


def test_regressor_keeps_units_of_y():
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


def test_regressor_predicts_constant():
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
def test_bad_y_raises(make, y, message):
    with pytest.raises(ValueError, match=message):
        make().fit(TEXTS, y)


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
def test_sample_weight_zero_excludes_rows(make, y, wrong):
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
def test_sample_weight_two_equals_repeated_row(make, y):
    """In one batch, without dropout; to the precision of sums in another order."""
    weight = np.where(np.arange(24) < 6, 2.0, 1.0)
    how = {"batch_size": 64, "epochs": 3}
    weighted = make(NO_DROPOUT, dropout=0.0, how=how).fit(TEXTS, y, sample_weight=weight)
    twice = make(NO_DROPOUT, dropout=0.0, how=how).fit(TEXTS + TEXTS[:6], np.r_[y, y[:6]])
    np.testing.assert_allclose(
        outputs(weighted, TEXTS), outputs(twice, TEXTS), rtol=1e-3, atol=1e-4
    )


def test_class_weight_balanced():
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
def test_bad_sample_weight_raises(make, y, weight, message):
    with pytest.raises(ValueError, match=message):
        make().fit(TEXTS, y, sample_weight=weight)
