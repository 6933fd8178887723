"""Fine-tuning of CrossEncoderClassifier: heads, labels and class weights."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sentence_transformers import CrossEncoder

from sk_sentemb import CrossEncoderClassifier, load_encoder
from sk_sentemb.exceptions import FineTuningWarning, NewHeadWarning
from sk_sentemb.losses.cross_encoder import CrossEntropyLoss
from tests.cross_encoder.training_data import (
    BINARY,
    CLASSES,
    GRADES,
    PAIRS,
    QUERY,
    N,
    classified,
    tuned,
)
from tests.helpers.checkpoints import make_cross_encoder
from tests.helpers.tiny_models import NLI, TINY, TINY_NLI, TINY_SCORER, assert_same_rows

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.NewHeadWarning"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.FineTuningWarning"),
    # Trained on frames, called on lists, or the other way around.
    pytest.mark.filterwarnings(
        "ignore:X (has|does not have valid) feature names:UserWarning:sklearn"
    ),
]


def test_new_head_gives_warning():
    with pytest.warns(
        NewHeadWarning, match=r"has no classification head. A new head is initialized with random"
    ):
        scorer = tuned(model=TINY)
    assert scorer.encoder_.head.out_dim == 1
    with pytest.warns(NewHeadWarning, match="has a head for another task. A new head"):
        assert tuned(model=TINY_NLI).encoder_.head.out_dim == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", NewHeadWarning)
        tuned()
        classified()
    with pytest.warns(NewHeadWarning, match="The model that was passed has no class"):
        tuned(model=load_encoder(TINY).replace(source=None))
    for seed in (0, 1):
        alike = [tuned(model=TINY, random_state=seed).fingerprint_ for _ in range(2)]
        assert alike[0] == alike[1]
        assert (alike[0] == scorer.fingerprint_) == (seed == 0)


YES = np.where(BINARY, "yes", "no")
THREE = np.arange(N) % 3
ANY_CLASSES = [
    *((TINY, y) for y in (YES, BINARY, BINARY.astype(bool), BINARY + 1, BINARY * 2.0 - 1)),
    *((TINY, y) for y in (CLASSES, THREE + 5, pd.Series(YES, dtype="category"))),
    (TINY, pd.Series(YES).astype(object)),
    *((TINY_SCORER, y) for y in (YES, BINARY, CLASSES)),
    *((TINY_NLI, y) for y in (CLASSES, THREE, THREE + 5, YES)),
]


@pytest.mark.parametrize(
    ("model", "y"),
    ANY_CLASSES,
    ids=[f"{m.name}-{np.unique(np.asarray(y))}" for m, y in ANY_CLASSES],
)
def test_classifier_trains_on_any_classes(y, model, tmp_path):
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    X = PAIRS.assign(b=[["? ? ?", "ferry ferry ferry", "nets nets nets"][code] for code in codes])
    fitted = classified(X, y=y, model=model, epochs=16, learning_rate=2e-3)
    assert fitted.classes_.tolist() == classes.tolist()
    assert fitted.score(X, y) >= 0.75
    predicted = fitted.predict(X)
    assert predicted.dtype == fitted.classes_.dtype
    proba = fitted.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_array_equal(fitted.classes_[proba.argmax(axis=1)], predicted)
    decision = fitted.decision_function(X)
    if len(fitted.classes_) == 2:
        np.testing.assert_allclose(proba[:, 1], expit(decision), atol=1e-6)
        np.testing.assert_array_equal(predicted == fitted.classes_[1], decision > 0)
    else:
        np.testing.assert_array_equal(predicted, fitted.classes_[decision.argmax(axis=1)])

    fitted.save_pretrained(tmp_path / "saved")
    again = CrossEncoderClassifier(tmp_path / "saved").fit(X)
    assert_same_rows(again.decision_function(X), decision)
    if fitted.encoder_.head.out_dim > 1:
        assert again.classes_.tolist() == fitted.classes_.tolist()
        np.testing.assert_array_equal(again.predict(X), predicted)
    else:
        np.testing.assert_array_equal(again.predict(X), predicted == fitted.classes_[1])
    if fitted.encoder_.head.out_dim > 1 or fitted.classes_.tolist() == [0, 1]:
        known = CrossEncoderClassifier(tmp_path / "saved").fit(X, y)
        np.testing.assert_array_equal(known.predict(X), predicted)

    reference = CrossEncoder(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    found = reference.predict(X.to_numpy().tolist())
    if fitted.encoder_.head.out_dim == 1:
        np.testing.assert_allclose(found, proba[:, 1], atol=1e-5)
    else:
        names = [reference.config.id2label[i] for i in found.argmax(axis=1)]
        assert names == [str(label) for label in predicted]


def test_head_with_same_labels_is_kept():
    """Learnt from by a step that changes nothing, it predicts what it did before."""
    as_it_is = CrossEncoderClassifier(TINY_NLI).fit(PAIRS)
    for y, of_place in ((CLASSES, NLI), (np.arange(N) % 3, range(3))):
        fitted = classified(y=y, learning_rate=1e-9, max_steps=1)
        named = dict(zip(of_place, NLI, strict=True))
        assert [named[label] for label in fitted.predict(PAIRS)] == as_it_is.predict(PAIRS).tolist()
    assert len(set(as_it_is.predict(PAIRS))) > 1
    with pytest.warns(NewHeadWarning, match="a head for another task"):
        other = classified(y=np.array([*"abc"] * 8), max_steps=1)
    assert other.encoder_.head.labels == [*"abc"]
    with pytest.warns(NewHeadWarning):
        assert classified(y=CLASSES[CLASSES != "neutral"], X=PAIRS[CLASSES != "neutral"]).encoder_


def test_numeric_labels_keep_their_logits(tmp_path):
    folder = make_cross_encoder(tmp_path, labels=("3", "1", "2"), seed=24)
    as_it_is = CrossEncoderClassifier(folder).fit(PAIRS)
    fitted = classified(y=np.arange(N) % 3 + 1, model=folder, learning_rate=1e-9, max_steps=1)
    assert fitted.classes_.tolist() == as_it_is.classes_.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(fitted.predict(PAIRS), as_it_is.predict(PAIRS))


def test_class_weight_balanced():
    y = np.array(["a"] * 18 + ["b"] * 6)
    how = {"model": TINY_SCORER, "epochs": 1}
    balanced = classified(y=y, class_weight="balanced", **how)
    plain_ = classified(y=y, **how)
    assert balanced.fingerprint_ != plain_.fingerprint_
    by_class = classified(y=y, class_weight={"a": 24 / 36, "b": 24 / 12}, **how)
    by_row = classified(y=y, fit={"sample_weight": np.where(y == "a", 24 / 36, 24 / 12)}, **how)
    assert by_class.fingerprint_ == balanced.fingerprint_ == by_row.fingerprint_


def test_class_weight_balanced_ignores_validation_rows(plain_nli):
    others = (PAIRS[:9], np.repeat(NLI, [7, 1, 1]))
    how = {"model": plain_nli, "class_weight": "balanced", "max_steps": 1}
    y = np.repeat(NLI, [12, 6, 6])
    alone, watched = classified(y=y, **how), classified(y=y, validation_data=others, **how)
    assert watched.history_["loss"][0] == pytest.approx(alone.history_["loss"][0], rel=1e-6)


def test_lists_with_one_grade_give_warning():
    with pytest.warns(FineTuningWarning, match="2 of 7 lists have a single grade"):
        tuned(y=np.where(QUERY == 2, 0, GRADES), fit={"query_id": QUERY})


def test_class_weight_balanced_follows_order_of_logits():
    y = np.array(["neutral"] * 12 + ["entailment"] * 8 + ["contradiction"] * 4)
    weight = {"neutral": 24 / 36, "entailment": 1.0, "contradiction": 2.0}
    balanced = classified(y=y, class_weight="balanced")
    assert balanced.fingerprint_ == classified(y=y, class_weight=weight).fingerprint_
    by_row = classified(y=y, fit={"sample_weight": [weight[label] for label in y]})
    assert by_row.fingerprint_ == balanced.fingerprint_


@pytest.mark.parametrize("how", [{"sampling": "balanced"}, {"loss": CrossEntropyLoss(0.1)}])
def test_balanced_sampling_and_label_smoothing_train(how):
    fitted = classified(**how)
    assert fitted.fingerprint_ != classified().fingerprint_
    assert fitted.classes_.tolist() == sorted(NLI)
