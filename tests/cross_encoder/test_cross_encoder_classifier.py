"""Predictions of CrossEncoderClassifier."""

import warnings

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sentence_transformers import CrossEncoder
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
    cross_validate,
)
from sklearn.utils import get_tags

from sk_sentemb import CrossEncoderClassifier, load_encoder
from tests.checks.data import PAIRS
from tests.cross_encoder.data import CLASSES, GRID, TWO_STEPS, Containers
from tests.helpers.checkpoints import make_cross_encoder
from tests.helpers.tiny_models import NLI, TINY_NLI, TINY_SCORER

pytestmark = pytest.mark.usefixtures("one_thread")


def test_classes_are_sorted_labels_of_checkpoint(classifier):
    reference = CrossEncoder(str(TINY_NLI), device="cpu", local_files_only=True)
    logits = reference.predict(GRID, activation_fn=torch.nn.Identity())
    assert classifier.classes_.tolist() == ["contradiction", "entailment", "neutral"]
    named = [NLI[i] for i in logits.argmax(axis=1)]
    assert classifier.predict(GRID).tolist() == named
    assert len(set(named)) > 1
    in_order = logits[:, [NLI.index(name) for name in classifier.classes_]]
    np.testing.assert_allclose(classifier.decision_function(GRID), in_order, atol=1e-5)
    np.testing.assert_allclose(classifier.predict_proba(GRID), softmax(in_order, 1), atol=1e-6)


def test_integer_y_stands_for_sorted_labels(classifier, tmp_path):
    codes = [0, 2, 1, 0, 0, 1, 2, 2]
    ordered = make_cross_encoder(tmp_path / "ordered", labels=sorted(NLI))
    named = CrossEncoderClassifier(ordered).fit(GRID).predict(GRID)
    numbered = CrossEncoderClassifier(ordered).fit(PAIRS, codes)
    assert numbered.classes_.tolist() == [0, 1, 2]
    assert [sorted(NLI)[i] for i in numbered.predict(GRID)] == named.tolist()
    # What scikit-learn numbers by name inside comes out under the right name.
    voting = VotingClassifier([("one", CrossEncoderClassifier(ordered))])
    voting.fit(GRID, np.resize(sorted(NLI), len(GRID)))
    assert voting.predict(GRID).tolist() == named.tolist()
    with pytest.raises(
        ValueError, match=r"'neutral' \(its first class\) or 'contradiction' \(the fir"
    ):
        CrossEncoderClassifier(TINY_NLI).fit(PAIRS, codes)
    # What the message advises.
    voting = VotingClassifier([("one", FrozenEstimator(classifier))], voting="soft")
    voting.fit(GRID, np.resize(sorted(NLI), len(GRID)))
    assert voting.predict(GRID).tolist() == classifier.predict(GRID).tolist()
    some = CrossEncoderClassifier(TINY_NLI).fit(PAIRS, ["neutral"] * 8)
    assert some.classes_.tolist() == sorted(NLI)


def test_numeric_labels_are_parsed(tmp_path):
    """Stars from 1 to 5, or grades; 2 is not the place of the third logit."""
    folder = make_cross_encoder(tmp_path / "stars", labels=("3", "1", "2"))
    reference = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    best = reference.predict(GRID, activation_fn=torch.nn.Identity()).argmax(axis=1)
    for y in (None, [1, 2] * 10, [1.0, 3.0] * 10):
        fitted = CrossEncoderClassifier(folder).fit(GRID, y)
        assert fitted.classes_.tolist() == [1, 2, 3]
        assert fitted.predict(GRID).tolist() == [(3, 1, 2)[i] for i in best]
    named = CrossEncoderClassifier(folder).fit(GRID, ["1", "2"] * 10)
    assert named.classes_.tolist() == ["1", "2", "3"]
    assert named.predict(GRID).tolist() == [("3", "1", "2")[i] for i in best]
    with pytest.raises(
        ValueError, match=r"classes \[0\], which the model does not know. Its classes are \["
    ):
        CrossEncoderClassifier(folder).fit(GRID, [0, 1] * 10)


def test_default_labels_become_integers(tmp_path):
    folder = make_cross_encoder(tmp_path, n_labels=4)
    assert CrossEncoderClassifier(folder).fit(PAIRS).classes_.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("y", [None, [0, 1] * 4, [False, True] * 4, [0.0, 1.0] * 4])
def test_one_logit_is_binary_classifier(y, scorer):
    fitted = CrossEncoderClassifier(TINY_SCORER).fit(PAIRS, y)
    logits = scorer.decision_function(GRID)
    assert fitted.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(fitted.decision_function(GRID), logits)
    np.testing.assert_array_equal(fitted.predict(GRID), logits > 0)
    np.testing.assert_allclose(fitted.predict_proba(GRID)[:, 1], scorer.predict(GRID), atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(GRID).sum(axis=1), 1)


def test_two_logits_give_one_decision(tmp_path):
    folder = make_cross_encoder(tmp_path, labels=("yes", "no"))
    logits = load_encoder(folder, pairs=True).encode(GRID).vectors
    fitted = CrossEncoderClassifier(folder).fit(GRID)
    assert fitted.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(
        fitted.decision_function(GRID), logits[:, 0] - logits[:, 1], atol=1e-6
    )
    np.testing.assert_allclose(fitted.predict_proba(GRID), softmax(logits, 1)[:, ::-1], atol=1e-6)
    named = np.where(logits[:, 0] > logits[:, 1], "yes", "no")
    assert fitted.predict(GRID).tolist() == named.tolist()


def test_predict_proba_agrees_with_predict(classifier):
    proba = classifier.predict_proba(GRID)
    assert proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert (proba > 0).all()
    np.testing.assert_array_equal(
        classifier.classes_[proba.argmax(axis=1)], classifier.predict(GRID)
    )


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            ["entailment", "?"] * 4,
            r"y has the classes \['\?'\], which the model does not know. Its classes are",
        ),
        ([0, 3] * 4, r"y has numbers, but the model names its classes \['neutral', "),
        ([0.5, 1.5] * 4, "Unknown label type: continuous"),
        ([[0, 1]] * 8, "y should be a 1d array, got an array of shape"),
        ([True, False] * 3 + [True], "inconsistent numbers of samples"),
    ],
)
def test_unknown_classes_raise(y, message):
    with pytest.raises(ValueError, match=message):
        CrossEncoderClassifier(TINY_NLI).fit(PAIRS, y)


def test_classifier_tags():
    assert is_classifier(CrossEncoderClassifier())
    assert not get_tags(CrossEncoderClassifier()).target_tags.required
    assert get_tags(CrossEncoderClassifier(fine_tuner=TWO_STEPS)).target_tags.required
    assert get_tags(CrossEncoderClassifier()).classifier_tags.poor_score
    assert get_tags(CrossEncoderClassifier()).classifier_tags.multi_class


@pytest.mark.parametrize("response", ["decision_function", "predict_proba"])
def test_threshold_classifiers(response, scorer):
    y = np.arange(len(GRID)) % 2
    yes_or_no = CrossEncoderClassifier(TINY_SCORER)
    values = yes_or_no.fit(GRID).decision_function(GRID)
    values = values if response == "decision_function" else expit(values)
    threshold = float(np.median(values))
    fixed = FixedThresholdClassifier(yes_or_no, threshold=threshold, response_method=response)
    np.testing.assert_array_equal(fixed.fit(GRID, y).predict(GRID), values >= threshold)
    tuned = TunedThresholdClassifierCV(
        yes_or_no, scoring="balanced_accuracy", response_method=response, cv=2
    ).fit(GRID, y)
    np.testing.assert_array_equal(tuned.predict(GRID), values >= tuned.best_threshold_)


@pytest.mark.parametrize("X", ["frame", "array", "tuples"])
def test_calibrated_classifier(X, classifier):
    X = getattr(Containers, X)
    for method in ("sigmoid", "isotonic"):
        frozen = CalibratedClassifierCV(FrozenEstimator(classifier), method=method)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X has feature names")
            frozen.fit(X, CLASSES)
            np.testing.assert_allclose(frozen.predict_proba(X).sum(axis=1), 1)
        folds = CalibratedClassifierCV(clone(classifier), method=method, cv=3).fit(X, CLASSES)
        assert folds.classes_.tolist() == sorted(NLI)
        assert folds.predict_proba(X).shape == (len(GRID), 3)


def test_classifier_metrics_in_cross_validation():
    kinds = {"neg_log_loss": None, "accuracy": None, "roc_auc_ovr": None}
    found = cross_validate(
        CrossEncoderClassifier(TINY_NLI),
        GRID,
        CLASSES,
        cv=3,
        scoring=list(kinds),
        error_score="raise",
    )
    for name in kinds:
        assert np.isfinite(found[f"test_{name}"]).all()
