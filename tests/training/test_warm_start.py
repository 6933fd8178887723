"""A warm start keeps what the outputs of a model mean: units, scales, classes and their order."""

import pickle

import numpy as np
import pytest

from sk_sentemb import (
    CrossEncoderClassifier,
    CrossEncoderScorer,
    FineTuner,
    SentenceClassifier,
    SentenceEmbedder,
    SentenceRegressor,
)
from sk_sentemb.encoder import load_encoder
from tests.helpers.checkpoints import make_cross_encoder
from tests.helpers.tiny_models import OTHER, TINY, TINY_SCORER

pytestmark = [
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.SentenceEmbeddingWarning"),
    pytest.mark.usefixtures("one_thread"),
]

WORDS = ("harbour", "ferry", "pier", "storm", "gulls", "ice", "tourists", "nets", "tide", "fog")
PAIRS = [(f"{a} in the {b}", f"{b} and {a}") for a, b in zip(WORDS[:8], WORDS[2:], strict=True)]
SCORES = np.array([5.0, 0.0, 4.0, 0.1, 4.6, 0.4, 4.7, 0.3])
# One step that changes next to nothing: what predictions say afterwards is what they said before.
STILL = FineTuner(max_steps=1, learning_rate=1e-9, random_state=0)


def scorer(y=SCORES, **how):
    tuner = FineTuner(**({"epochs": 3, "batch_size": 8, "random_state": 0} | how))
    return CrossEncoderScorer(TINY_SCORER, warm_start=True, fine_tuner=tuner).fit(PAIRS, y)


def still(estimator, **how):
    return estimator.set_params(fine_tuner=FineTuner(**(STILL.get_params() | how)))


@pytest.mark.parametrize(
    ("y", "how"),
    [
        ([3.0, 2.0, 2.5, 2.2, 3.0, 2.0, 2.5, 2.2], {}),
        ([0, 1, 0, 1, 0, 1, 0, 1], {}),  # of 5, not "yes" and "no"
        ([0.5] * 8, {}),
        (SCORES, {"score_range": (0, 5)}),
        (None, {}),
        ([3, 2, 1, 0] * 2, {"loss": "lambda"}),
    ],
    ids=["narrower", "zeros and ones", "one score", "said", "no y", "ranking"],
)
def test_a_scorer_keeps_its_units(y, how):
    warm = scorer()
    before = warm.predict(PAIRS)
    assert np.ptp(before) > 0
    fit = {"query_id": [0] * 4 + [1] * 4} if "loss" in how else {}
    still(warm, **how).fit(PAIRS, y, **fit)
    assert warm.score_range_ == (0.0, 5.0)
    np.testing.assert_allclose(warm.predict(PAIRS), before, atol=1e-3)
    # And once more, after what has no units itself.
    still(warm).fit(PAIRS[:2], SCORES[:2] / 2)
    np.testing.assert_allclose(warm.predict(PAIRS), before, atol=1e-3)


@pytest.mark.parametrize(
    ("first", "y", "how", "message"),
    [
        (
            SCORES,
            [7.0, *SCORES[1:]],
            {},
            r"y\[0\] is 7, outside of score_range=\(0, 5\).*warm start",
        ),
        (SCORES / 5, SCORES, {}, r"outside of score_range=\(0, 1\)"),
        (SCORES > 2, SCORES, {}, r"outside of score_range=\(0, 1\)"),
        (SCORES, SCORES, {"score_range": (0, 10)}, r"score_range=\(0, 10\), but with warm_start"),
        (
            SCORES,
            SCORES,
            {"loss": "mse"},
            "with Identity, but with warm_start .* Sigmoid",
        ),
    ],
    ids=["beyond", "beyond one", "beyond yes and no", "another range", "another activation"],
)
def test_other_units_are_refused_in_a_warm_start(first, y, how, message):
    warm = scorer(first)
    before = warm.predict(PAIRS)
    with pytest.raises(ValueError, match=message):
        still(warm, **how).fit(PAIRS, y)
    np.testing.assert_array_equal(warm.predict(PAIRS), before)
    warm.set_params(warm_start=False).fit(PAIRS, y)


def test_the_first_scores_say_what_the_units_are():
    """Ranking leaves none, so that graded pairs may follow, by another activation as well."""
    grades, lists = [3, 2, 1, 0] * 2, [0] * 4 + [1] * 4
    tuner = FineTuner("lambda", epochs=1, random_state=0)
    warm = CrossEncoderScorer(TINY_SCORER, warm_start=True, fine_tuner=tuner)
    warm.fit(PAIRS, grades, query_id=lists)
    still(warm).fit(PAIRS, SCORES)
    assert warm.score_range_ == (0.0, 5.0)
    still(warm).fit(PAIRS, SCORES / 2)
    assert warm.score_range_ == (0.0, 5.0)


def test_a_training_from_the_start_has_units_of_its_own():
    warm = scorer().set_params(warm_start=False)
    warm.fit(PAIRS, SCORES / 5)
    assert warm.score_range_ == (0.0, 1.0)


@pytest.mark.parametrize("further", ["fit", "partial_fit"])
def test_an_embedder_keeps_the_scale_of_similarities(further):
    how = {"epochs": 1, "random_state": 0, "loss": "cosine_similarity"}
    said = SentenceEmbedder(TINY, warm_start=True, fine_tuner=FineTuner(**how, score_range=(0, 5)))
    found = SentenceEmbedder(TINY, warm_start=True, fine_tuner=FineTuner(**how))
    narrow = np.linspace(2, 3, 8)
    for embedder in (said, found):
        getattr(embedder.fit(PAIRS, SCORES), further)(PAIRS, narrow)
    assert found.fingerprint_ == said.fingerprint_
    with pytest.raises(ValueError, match=r"outside of score_range=\(0, 5\)"):
        getattr(found, further)(PAIRS, SCORES * 2)
    # Predictions have no units here, so that another range may be said.
    getattr(found.set_params(fine_tuner__score_range=(0, 10)), further)(PAIRS, SCORES * 2)
    getattr(found.set_params(fine_tuner__loss="auto"), further)([a for a, _ in PAIRS], [*"ab"] * 4)


def test_a_classifier_of_pairs_keeps_the_order_of_its_logits(tmp_path):
    """Classes of another dtype have other names than the head, and are the same classes."""
    model = make_cross_encoder(tmp_path / "model", labels=["2", "0", "1"], seed=24)
    tuner = FineTuner(epochs=1, random_state=0)
    y = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    warm = CrossEncoderClassifier(model, warm_start=True, fine_tuner=tuner).fit(PAIRS, y)
    before = warm.decision_function(PAIRS)
    still(warm).fit(PAIRS, y.astype(float))
    np.testing.assert_allclose(warm.decision_function(PAIRS), before, atol=1e-3)
    assert warm.classes_.dtype.kind == "i"


def test_a_classifier_of_rows_keeps_its_classes():
    X = [a for a, _ in PAIRS]
    tuner = FineTuner(epochs=1, random_state=0)
    warm = SentenceClassifier(TINY, warm_start=True, fine_tuner=tuner).fit(X, [0, 1] * 4)
    still(warm).fit(X, np.array([1.0, 0.0] * 4))
    assert warm.classes_.dtype.kind == "i"
    assert warm.predict(X).dtype.kind == "i"


@pytest.mark.parametrize(
    ("loss", "y"), [("softmax", [0, 1] * 4), ("online_contrastive", [0, 1] * 4), ("simcse", None)]
)
def test_the_scale_of_scores_is_nothing_to_other_losses(loss, y):
    embedder = SentenceEmbedder(TINY, fine_tuner=STILL).partial_fit(PAIRS, SCORES)
    X = PARTS if y is None else PAIRS
    still(embedder, loss=loss).partial_fit(X, y)
    # It is still that of the first scores.
    with pytest.raises(ValueError, match=r"y\[0\] is 9, outside of score_range=\(0, 5\)"):
        still(embedder).partial_fit(PAIRS, [9.0, *SCORES[1:]])


def test_a_loss_that_is_none_is_refused_in_a_warm_start():
    embedder = SentenceEmbedder(TINY, fine_tuner=STILL).partial_fit(PAIRS, SCORES)
    with pytest.raises(ValueError, match="'loss' parameter of FineTuner"):
        still(embedder, loss=3).partial_fit(PAIRS, SCORES)


PARTS = [a for a, _ in PAIRS]
CLASSES = [*"abababab"]


def trained(kind, **how):
    model, X, y = {
        SentenceEmbedder: (TINY, PARTS, CLASSES),
        SentenceClassifier: (TINY, PARTS, CLASSES),
        SentenceRegressor: (TINY, PARTS, SCORES),
        CrossEncoderScorer: (TINY_SCORER, PAIRS, SCORES),
        CrossEncoderClassifier: (TINY_SCORER, PAIRS, CLASSES),
    }[kind]
    return kind(model, fine_tuner=STILL, warm_start=True, **how).fit(X, y), X, y


TRAINABLE = [
    SentenceEmbedder,
    SentenceClassifier,
    SentenceRegressor,
    CrossEncoderScorer,
    CrossEncoderClassifier,
]


@pytest.mark.parametrize("kind", TRAINABLE)
@pytest.mark.parametrize(
    ("name", "value"),
    [("model", OTHER), ("revision", "v2"), ("dtype", "bfloat16"), ("device", "meta")],
)
def test_a_warm_start_is_of_the_model_that_was_loaded(kind, name, value):
    warm, X, y = trained(kind)
    before = warm.transform(X) if hasattr(warm, "transform") else warm.predict_proba(X)
    warm.set_params(**{name: value})
    with pytest.raises(ValueError, match=f"continues from the model .* loaded with {name}="):
        warm.fit(X, y)
    defaults = kind(TINY_SCORER if X is PAIRS else TINY).get_params()
    warm.set_params(**{name: defaults[name]})
    after = warm.transform(X) if hasattr(warm, "transform") else warm.predict_proba(X)
    np.testing.assert_array_equal(after, before)
    warm.fit(X, y)


def test_partial_fit_is_of_the_model_that_was_loaded():
    embedder = SentenceEmbedder(load_encoder(TINY), fine_tuner=STILL)
    embedder.partial_fit(PARTS, CLASSES).partial_fit(PARTS, CLASSES)
    embedder.set_params(model=load_encoder(OTHER))
    with pytest.raises(ValueError, match="loaded with model='an Encoder with the fingerprint"):
        embedder.partial_fit(PARTS, CLASSES)


@pytest.mark.parametrize("kind", TRAINABLE)
def test_a_warm_start_goes_on_after_a_pickle_and_with_a_device_that_it_has(kind):
    warm, X, y = trained(kind)
    warm = pickle.loads(pickle.dumps(warm))
    warm.fit(X, y)
    warm.set_params(model=str(warm.model), device=str(warm.encoder_.device)).fit(X, y)
