"""Interruption, resumption, warm start and callbacks of the fine-tuning of cross-encoders."""

import warnings

import numpy as np
import pytest

from sk_sentemb import CrossEncoderClassifier, CrossEncoderScorer, FineTuner
from sk_sentemb.exceptions import FineTuningWarning, NewHeadWarning
from tests.cross_encoder.training_data import BINARY, CLASSES, PAIRS, SCORES, N, classified, tuned
from tests.helpers.tiny_models import TINY, TINY_NLI, TINY_SCORER, assert_same_rows

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.NewHeadWarning"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.FineTuningWarning"),
    # Trained on frames, called on lists, or the other way around.
    pytest.mark.filterwarnings(
        "ignore:X (has|does not have valid) feature names:UserWarning:sklearn"
    ),
]


class StopError(Exception):
    pass


def failing_after(n_calls):
    calls = iter([1.0] * n_calls)

    def metric(columns, y):
        if (score := next(calls, None)) is None:
            raise StopError
        return score

    return metric


@pytest.mark.parametrize("model", [TINY_SCORER, TINY])
@pytest.mark.parametrize("kind", [CrossEncoderScorer, CrossEncoderClassifier])
def test_checkpoint_dir_resumes_interrupted_training(kind, model, tmp_path):
    how = {
        "y": BINARY,
        "kind": kind,
        "model": model,
        "epochs": 4,
        "validation_fraction": 0.25,
    }
    whole = tuned(metric=failing_after(9), **how)
    kept = {"checkpoint_dir": tmp_path, "checkpoint_steps": 1}
    with pytest.raises(StopError):
        tuned(metric=failing_after(2), **how, **kept)
    assert list(tmp_path.rglob("training.pt"))
    # Names instead of 0 and 1 are learnt by a new head with two logits: another training.
    names = how | {
        "y": np.where(BINARY, "yes", "no"),
        "kind": CrossEncoderClassifier,
        "model": TINY,
    }
    other = tuned(metric=failing_after(9), **names, **kept)
    assert other.fingerprint_ == tuned(metric=failing_after(9), **names).fingerprint_
    again = tuned(metric=failing_after(2), **how, **kept)  # it validates twice more
    assert again.fingerprint_ == whole.fingerprint_
    assert_same_rows(again.decision_function(PAIRS), whole.decision_function(PAIRS))
    assert not list(tmp_path.rglob("training.pt"))


@pytest.mark.parametrize("kind", [CrossEncoderScorer, CrossEncoderClassifier])
def test_interruption_leaves_fitted_estimator(kind):
    calls = iter([None, None, KeyboardInterrupt])

    def metric(columns, y):
        if (error := next(calls)) is not None:
            raise error
        return 1.0

    y = SCORES * 5 if kind is CrossEncoderScorer else CLASSES
    with pytest.warns(FineTuningWarning, match="interrupted after 6 of 18 steps"):
        fitted = tuned(
            y=y,
            kind=kind,
            epochs=9,
            batch_size=9,
            metric=metric,
            validation_fraction=0.25,
            score_range=(0, 5),
        )
    assert fitted.predict(PAIRS).shape == (N,)
    if kind is CrossEncoderScorer:
        assert fitted.score_range_ == (0.0, 5.0)


def test_warm_start_continues_training():
    once = tuned()
    warm = tuned(params={"warm_start": True})
    assert warm.fingerprint_ == once.fingerprint_
    first = warm.history_["loss"].iloc[0]
    assert warm.fit(PAIRS, SCORES).fingerprint_ != once.fingerprint_
    assert warm.history_["loss"].iloc[0] < first
    from_folder = tuned(params={"warm_start": True}, model=TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NewHeadWarning)  # the head is there by now
        from_folder.fit(PAIRS, SCORES)
    assert once.fit(PAIRS, SCORES).fingerprint_ == tuned().fingerprint_


def test_warm_start_requires_same_classes():
    for y, model in ((CLASSES, TINY_NLI), (CLASSES, TINY), (np.where(BINARY, "yes", "no"), TINY)):
        warm = classified(y=y, model=model, params={"warm_start": True}, learning_rate=1e-9)
        before = warm.decision_function(PAIRS)
        classes = warm.classes_.tolist()
        warm.fit(PAIRS[::-1], y[::-1])
        assert warm.classes_.tolist() == classes
        np.testing.assert_allclose(warm.decision_function(PAIRS), before, atol=1e-4)
    with pytest.raises(
        ValueError, match=r"y has the classes \['a', 'b'\], but with warm_start they"
    ):
        warm.fit(PAIRS, [*"ab"] * 12)


def test_failed_fit_keeps_classes_of_last_fit():
    fitted = classified(params={"long_text": "error", "max_length": 64})
    before = fitted.predict(PAIRS)
    with pytest.raises(ValueError, match="more than 64 tokens"):
        fitted.fit(PAIRS.assign(b="market " * 300), ["x", "y", "z"] * 8)
    assert fitted.predict(PAIRS).tolist() == before.tolist()


def test_interruption_before_training_keeps_classes_of_last_fit(monkeypatch):
    fitted = classified()
    before = fitted.predict(PAIRS)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sk_sentemb._training.training.prepare_data", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(PAIRS, ["x", "y", "z"] * 8)
    assert fitted.predict(PAIRS).tolist() == before.tolist()


@pytest.fixture
def callback():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")


@pytest.mark.parametrize("kind", [CrossEncoderScorer, CrossEncoderClassifier])
def test_scoring_monitor_scores_after_each_epoch(callback, kind):
    seen = []

    def score(fitted, X, y):
        seen.append((fitted.fingerprint_, fitted.predict(X)))
        return fitted.score(X, y)

    monitor = callback.ScoringMonitor(scoring={"own": score})
    tuner = FineTuner(epochs=3, batch_size=10, score_range=(0, 5), random_state=0)
    y = SCORES * 5 if kind is CrossEncoderScorer else CLASSES
    made = kind(TINY, fine_tuner=tuner).set_callbacks(monitor)
    fitted = made.fit(PAIRS, y)
    scores = monitor.get_logs().data_as_pandas
    assert (scores["task_name"] == "epoch").sum() == 3
    assert len({fingerprint for fingerprint, _ in seen}) == 3
    assert seen[-1][0] == fitted.fingerprint_
    np.testing.assert_array_equal(seen[-1][1], fitted.predict(PAIRS))


def test_training_progress_bar_shows_steps_and_loss(capfd):
    tuned(verbose=1)
    out, err = capfd.readouterr()
    assert out == ""
    assert "fine-tuning: 100%" in err
    assert "6/6" in err
    assert "loss=" in err
