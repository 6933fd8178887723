"""Cells, columns, targets and weights of odd types are read as what they are, or refused by name."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sk_sentemb import (
    CrossEncoderScorer,
    FineTuner,
    ImageEmbedder,
    SentenceClassifier,
    SentenceEmbedder,
    SentenceRegressor,
)
from sk_sentemb._inputs.text import read_text_columns
from tests.helpers.images import TINY_VIT
from tests.helpers.tiny_models import NO_DROPOUT, TINY, TINY_SCORER

TEXTS = ["The ferry passed.", "Gulls cried over the pier.", "Rain.", "The market was closed today."]
PAIRS = [(text, "a pier") for text in TEXTS]
RECORDS = np.array([(text, 1) for text in TEXTS], dtype=[("text", "U40"), ("n", "i4")])

TUNER = FineTuner(epochs=1, max_steps=1, batch_size=4, random_state=0)

LEARNERS = {
    "embedder": (SentenceEmbedder(NO_DROPOUT, fine_tuner=TUNER), TEXTS),
    "classifier": (SentenceClassifier(NO_DROPOUT, fine_tuner=TUNER), TEXTS),
    "regressor": (SentenceRegressor(NO_DROPOUT, fine_tuner=TUNER), TEXTS),
    "scorer": (CrossEncoderScorer(TINY_SCORER, fine_tuner=TUNER), PAIRS),
}


def test_a_structured_array_is_refused_with_its_fields():
    message = (
        r"structured array with the fields \['text', 'n'\]\. Pass one of them, such as X\['text"
    )
    with pytest.raises(TypeError, match=message):
        SentenceEmbedder(TINY).fit(RECORDS)
    assert read_text_columns(RECORDS["text"]).texts == [TEXTS]
    assert read_text_columns(pd.DataFrame(RECORDS)).names == ["text", "n"]


def test_records_are_refused():
    with pytest.raises(TypeError, match=r"a cell of type void in row 0 .*must hold one text"):
        SentenceEmbedder(TINY).fit(list(RECORDS))


@pytest.mark.parametrize("cell", [len, int, lambda text: text, TEXTS[0].upper], ids=repr)
def test_functions_and_classes_are_refused(cell):
    with pytest.raises(TypeError, match=r"in row 1 \(counting from 0\), which is not text"):
        SentenceEmbedder(TINY).fit(["a", cell])


def test_a_signaling_nan_is_a_missing_image():
    expected = ImageEmbedder(TINY_VIT, missing="nan").fit_transform([None, None])
    found = ImageEmbedder(TINY_VIT, missing="nan").fit_transform([Decimal("sNaN"), Decimal("NaN")])
    np.testing.assert_array_equal(found, expected)


class ArrayLike:
    """Has no rows of its own, but says what array it stands for."""

    def __array__(self, dtype=None, copy=None):
        return np.array(TEXTS, dtype=object)


@pytest.mark.parametrize(
    "X",
    [
        ArrayLike(),
        pa.record_batch({"text": TEXTS}),
        pa.array(TEXTS),
        pl.Series(TEXTS),
        pd.Series(TEXTS, index=[0, 0, 0, 0]),
        np.ma.array(TEXTS, mask=[0, 1, 0, 0]),
        ["\ud83d", "a\udc00", "Rain.", "\0"],
        [Decimal("sNaN"), "a", "b", None],
    ],
    ids=lambda X: type(X).__name__,
)
def test_a_classifier_is_trained_on_what_an_embedder_reads(X):
    fitted = SentenceClassifier(NO_DROPOUT, fine_tuner=TUNER).fit(X, [0, 1, 0, 1])
    assert fitted.predict_proba(X).shape == (4, 2)
    columns = read_text_columns(X)
    expected = fitted.embedder_.set_params(missing="empty").transform(columns.texts[0])
    np.testing.assert_allclose(fitted.embedder_.transform(X), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("cells", "kind"), [([3, 4, None, 5], "integer"), ([0.5, np.nan, 1.5, 2.5], "floating")]
)
def test_numbers_beside_texts_without_names_are_a_warning(cells, kind):
    rows = list(zip(TEXTS, cells, strict=True))
    with pytest.warns(UserWarning, match=rf"column 1 \(counting from 0\) has cells .*'{kind}'"):
        SentenceClassifier(NO_DROPOUT, fine_tuner=TUNER).fit(rows, [0, 1, 0, 1])


# y, sample_weight and query_id: masked values are not data


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize(
    "y",
    [
        np.ma.array([0, 1, 0, 1], mask=[0, 0, 1, 0]),
        [0, 1, np.ma.masked, 1],
        [0, 1, None, 1],
        pd.Series([0, 1, pd.NA, 1], dtype="Int64"),
    ],
    ids=["masked array", "masked entry", "None", "NA"],
)
def test_a_missing_target_is_refused(learner, y):
    estimator, X = LEARNERS[learner]
    with pytest.raises(ValueError, match=r"y\[2\] is missing \(NaN, None or masked\)"):
        estimator.fit(X, y)


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("y", [np.array(None, dtype=object), float("nan"), np.array(1)], ids=repr)
def test_a_single_target_is_refused(learner, y):
    estimator, X = LEARNERS[learner]
    # The first two are scikit-learn's own words.
    message = (
        r"got scalar|array-like, got <class 'float'>|y is the single value .* one for each row"
    )
    with pytest.raises((TypeError, ValueError), match=message):
        estimator.fit(X, y)


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize(
    ("weight", "row"),
    [
        (float("nan"), 0),
        (np.ma.array([1.0, 1, 1, 1], mask=[0, 0, 1, 0]), 2),
        ([1, 1, None, 1], 2),
        ([1, 1, np.nan, 1], 2),
    ],
    ids=["scalar", "masked", "None", "NaN"],
)
def test_a_missing_weight_is_refused(learner, weight, row):
    estimator, X = LEARNERS[learner]
    with pytest.raises(ValueError, match=rf"sample_weight\[{row}\] is missing"):
        estimator.fit(X, [0, 1, 0, 1], sample_weight=weight)


def test_a_masked_query_id_is_refused():
    scorer = CrossEncoderScorer(TINY_SCORER, fine_tuner=TUNER)
    query_id = np.ma.array([0, 0, 1, 1], mask=[0, 0, 0, 1])
    with pytest.raises(ValueError, match=r"query_id\[3\] is missing"):
        scorer.fit(PAIRS, [0, 1, 0, 1], query_id=query_id)
