"""The weights of rows count relative to each other, and a row of weight 0 is as if it were not there."""

import numpy as np
import pytest

from sk_sentemb import (
    CrossEncoderScorer,
    FineTuner,
    SentenceClassifier,
    SentenceEmbedder,
    SentenceRegressor,
)
from tests.end_to_end.data import LABELS, NUMBERS, SEVERAL, TEXTS
from tests.helpers.tiny_models import TINY, TINY_SCORER

pytestmark = pytest.mark.usefixtures("one_thread")

WEIGHT = np.linspace(0.5, 2, 24)


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
@pytest.mark.parametrize(
    ("make", "y"),
    [(SentenceClassifier, LABELS), (SentenceClassifier, SEVERAL), (SentenceRegressor, NUMBERS)],
    ids=["classes", "labels", "numbers"],
)
def test_a_solved_head_does_not_depend_on_the_sum_of_weights(make, y, factor):
    tuner = FineTuner(trainable="head")
    plain = make(TINY, fine_tuner=tuner).fit(TEXTS, y, sample_weight=WEIGHT)
    scaled = make(TINY, fine_tuner=tuner).fit(TEXTS, y, sample_weight=WEIGHT * factor)
    predict = "predict" if make is SentenceRegressor else "predict_proba"
    expected = getattr(plain, predict)(TEXTS)
    np.testing.assert_allclose(getattr(scaled, predict)(TEXTS), expected, rtol=1e-5)


@pytest.mark.parametrize("trained", ["all", "head"])
def test_rows_of_weight_zero_are_not_validated_on(trained):
    """Their loss is 0 whatever the model is, and no epoch would be better than the first."""
    weight = np.r_[np.ones(6), np.zeros(18)]
    tuner = FineTuner(
        trainable=trained, epochs=3, early_stopping=True, random_state=0, learning_rate=1e-3
    )
    fitted = SentenceClassifier(TINY, fine_tuner=tuner).fit(TEXTS, LABELS, sample_weight=weight)
    scores = fitted.history_["validation_loss"].dropna()
    assert (scores > 0).all()
    alone = SentenceClassifier(TINY, fine_tuner=tuner).fit(TEXTS[:6], LABELS[:6])
    np.testing.assert_array_equal(alone.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.IgnoredParameterWarning")
@pytest.mark.parametrize("early_stopping", [False, True])
def test_few_rows_with_a_weight_leave_enough_to_learn_from(early_stopping):
    weight = np.zeros(24)
    weight[[0, 1]] = 1
    tuner = FineTuner(trainable="head", early_stopping=early_stopping, random_state=0)
    fitted = SentenceRegressor(TINY, fine_tuner=tuner).fit(TEXTS, NUMBERS, sample_weight=weight)
    assert np.isfinite(fitted.predict(TEXTS)).all()


def test_weights_of_classes_that_leave_no_row_are_refused():
    tuner = FineTuner(class_weight={"sea": 0.0, "land": 0.0}, max_steps=1)
    labels = np.array(["sea", "land"] * 12)
    with pytest.raises(ValueError, match="sample_weight and class_weight leave no row of X"):
        SentenceClassifier(TINY, fine_tuner=tuner).fit(TEXTS, labels)


def test_rows_of_weight_zero_are_no_negatives():
    pairs = np.array(list(zip(TEXTS, TEXTS[::-1], strict=True)), dtype=object)
    weight = np.r_[np.ones(12), np.zeros(12)]
    tuner = FineTuner(max_steps=2, random_state=0, learning_rate=1e-3)
    for make, model in ((SentenceEmbedder, TINY), (CrossEncoderScorer, TINY_SCORER)):
        given = make(model, fine_tuner=tuner).fit(pairs, sample_weight=weight)
        without = make(model, fine_tuner=tuner).fit(pairs[:12])
        np.testing.assert_array_equal(given.transform(pairs), without.transform(pairs))
