"""Interruption, resumption, warm start and callbacks of training."""

import signal
import subprocess

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sk_sentemb import ImageEmbedder
from sk_sentemb.end_to_end.fusion import FUSIONS
from sk_sentemb.exceptions import FineTuningWarning
from tests.end_to_end.data import (
    LABELS,
    NUMBERS,
    SEVERAL,
    SHOP,
    TEXTS,
    TwoLayers,
    assert_equal_weights,
    classifier,
    outputs,
    regressor,
)
from tests.helpers.tiny_models import TINY
from tests.test_embedder_progress import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("how", [{}, {"trainable": "head"}, {"freeze_epochs": 1}], ids=str)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_random_state_makes_training_reproducible(fusion, how):
    how = how | {"validation_fraction": 0.25}
    made = classifier(fusion=fusion, hidden_layer_sizes=(8,), dropout=0.3, how=how)
    one = clone(made).fit(SHOP, LABELS)
    torch.manual_seed(4)
    assert_equal_weights(one, clone(made).fit(SHOP, LABELS))
    other = clone(made).set_params(fine_tuner__random_state=1).fit(SHOP, LABELS)
    assert np.abs(other.decision_function(SHOP) - one.decision_function(SHOP)).max() > 1e-4


class StopError(Exception):
    pass


class Breaks:
    """A metric that raises in its n-th call."""

    def __init__(self, n):
        self.n = n

    def __call__(self, columns, y):
        self.n -= 1
        if self.n == 0:
            raise StopError
        return float(columns[0].mean())


CASES = {
    "frame": (lambda **how: classifier(dropout=0.3, how=how), SHOP, LABELS),
    "texts": (lambda **how: classifier(how=how), TEXTS, SEVERAL),
    "numbers": (lambda **how: regressor(fusion="attention", how=how), SHOP, NUMBERS),
    "head alone": (lambda **how: classifier(how=how | {"trainable": "head"}), SHOP, LABELS),
    "thawed": (lambda **how: classifier(how=how | {"freeze_epochs": 2}), SHOP, LABELS),
    "head with counts": (lambda **how: classifier(head=TwoLayers, how=how), SHOP, LABELS),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_interrupted_training_resumes_to_same_model(case, tmp_path):
    make, X, y = case
    how = {"epochs": 4, "validation_fraction": 0.25, "checkpoint_steps": 2}
    whole = make(**how, metric=Breaks(0)).fit(X, y)
    kept = {**how, "checkpoint_dir": tmp_path}
    with pytest.raises(StopError):
        make(**kept, metric=Breaks(3)).fit(X, y)
    assert list(tmp_path.rglob("training.pt"))
    metric = Breaks(0)
    resumed = make(**kept, metric=metric).fit(X, y)
    assert metric.n == -2  # of four epochs, two were left
    assert_equal_weights(resumed, whole)
    assert len(resumed.history_) == len(whole.history_)
    assert not list(tmp_path.rglob("*.pt"))


def test_checkpoint_of_other_head_is_not_resumed(tmp_path):
    """None of them goes on with what another one left behind."""
    how = {"validation_fraction": 0.25, "checkpoint_dir": tmp_path, "trainable": "head"}
    with pytest.raises(StopError):
        classifier(how={**how, "metric": Breaks(2)}).fit(SHOP, LABELS)
    others = [
        (classifier, {"dropout": 0.2}, SHOP, LABELS),
        (classifier, {"fusion": "gated"}, SHOP, LABELS),
        (classifier, {"head": torch.nn.Linear}, SHOP, LABELS),
        (classifier, {}, SHOP.assign(price=SHOP["price"] ** 2), LABELS),
        (classifier, {}, SHOP, (LABELS == "sea").astype(int)[:, None] * [1, 1]),
        (regressor, {}, SHOP, LABELS == "sea"),
    ]
    for make, params, X, y in others:
        kept = make(**params, how={**how, "metric": Breaks(0)}).fit(X, y)
        plain = make(**params, how={**how, "checkpoint_dir": None, "metric": Breaks(0)}).fit(X, y)
        assert_equal_weights(kept, plain)
    assert len(list(tmp_path.rglob("training.pt"))) == 1


def test_checkpoint_of_warm_start_is_not_resumed_by_first_fit(tmp_path):
    how = {"validation_fraction": 0.25, "checkpoint_dir": tmp_path, "trainable": "head"}
    made = classifier(warm_start=True, how={**how, "metric": Breaks(0)})
    first = clone(made).fit(SHOP, LABELS)
    again = clone(made).fit(SHOP, LABELS)
    again.fine_tuner.metric.n = 2
    with pytest.raises(StopError):
        again.fit(SHOP, LABELS)
    assert_equal_weights(clone(made).fit(SHOP, LABELS), first)


KILLED = """
import os, signal, sys
import numpy as np, pandas as pd, torch
from sk_sentemb import FineTuner, SentenceClassifier
torch.set_num_threads(1)
model, folder, kill_after = sys.argv[1], sys.argv[2], int(sys.argv[3])
X = pd.DataFrame({"text": [f"ferry {i} of day {i % 5}" for i in range(24)], "n": range(24)})
X.loc[3] = None
calls = 0
def metric(columns, y):
    global calls
    calls += 1
    if calls == kill_after:
        os.kill(os.getpid(), signal.SIGKILL)
    return float(np.mean(columns[0]))
def head(n_inputs, n_outputs):
    return torch.nn.Sequential(torch.nn.BatchNorm1d(n_inputs), torch.nn.Linear(n_inputs, n_outputs))
tuner = FineTuner(
    epochs=4, batch_size=8, random_state=0, metric=metric, validation_fraction=0.25, freeze_epochs=1,
    checkpoint_dir=None if folder == "none" else folder, checkpoint_steps=2,
)
fitted = SentenceClassifier(model, text="text", numeric="n", head=head, fine_tuner=tuner)
fitted.fit(X, [i % 3 for i in range(24)])
print(fitted.fingerprint_, fitted.decision_function(X).tobytes().hex())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_training_resumes_to_same_model(tmp_path, run_python):
    whole = run_python(KILLED, TINY, "none", 0).stdout
    with pytest.raises(subprocess.CalledProcessError):
        run_python(KILLED, TINY, tmp_path, 3)
    assert list(tmp_path.rglob("training.pt"))
    assert run_python(KILLED, TINY, tmp_path, 0).stdout == whole
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("how", [{}, {"trainable": "head"}], ids=str)
def test_warm_start_continues_training(how):
    how = how | {"epochs": 6, "schedule": "constant_with_warmup", "warmup_ratio": 0.0}
    warm = classifier(dropout=0.0, warm_start=True, how=how).fit(SHOP, LABELS)
    before = warm.history_["loss"].iloc[-3:].mean()
    head, n_names = warm.head_, len(warm.feature_names_in_)
    warm.fit(SHOP, LABELS)
    assert warm.history_["loss"].iloc[-3:].mean() < before
    assert warm.head_ is not head
    assert len(warm.feature_names_in_) == n_names
    assert not warm.head_.training


def test_warm_start_keeps_dropout():
    """A head that learns nothing has the same mean loss in any order, but for its dropout."""

    def mean_loss(dropout, seed):
        how = {"trainable": "head", "epochs": 1}
        warm = classifier(dropout=dropout, warm_start=True, how=how).fit(SHOP, LABELS)
        warm.set_params(fine_tuner__head_learning_rate=1e-12, fine_tuner__random_state=seed)
        return warm.fit(SHOP, LABELS).history_["loss"].mean()

    assert mean_loss(0.0, 1) == pytest.approx(mean_loss(0.0, 2), rel=1e-5)
    assert abs(mean_loss(0.5, 1) - mean_loss(0.5, 2)) > 1e-3


def test_warm_start_keeps_units_and_table_reader():
    warm = regressor(warm_start=True, how={"trainable": "head", "epochs": 20}).fit(SHOP, NUMBERS)
    before = warm.predict(SHOP)
    warm.set_params(fine_tuner__head_learning_rate=1e-12).fit(SHOP[:12], NUMBERS[:12] + 100)
    np.testing.assert_allclose(warm.predict(SHOP), before, rtol=1e-5)


@pytest.mark.parametrize(
    ("X", "y", "params", "message"),
    [
        (TEXTS, LABELS, {}, "1 features, but SentenceClassifier is expecting 5"),
        (SHOP.drop(columns="size"), LABELS, {}, "feature names should match"),
        (SHOP, [*"abc"] * 8, {}, r"classes \['a', 'b', 'c'\], but with warm_start"),
        (SHOP, SEVERAL, {}, r"labels \[0, 1, 2\], but with warm_start they must be those of"),
        (
            SHOP,
            LABELS,
            {"hidden_layer_sizes": (8,)},
            "With warm_start, training continues with the head",
        ),
        (SHOP, LABELS, {"fusion": "gated"}, "With warm_start, training continues with the head"),
        (SHOP[:0], [], {}, "with warm_start"),
        (SHOP, LABELS, {"categorical": []}, "where categorical was auto, but now it is"),
        (SHOP, LABELS, {"image_embedder": ImageEmbedder()}, "image_embedder was None"),
    ],
)
def test_warm_start_with_other_parameters_raises(X, y, params, message):
    warm = classifier(warm_start=True, how={"trainable": "head"}).fit(SHOP, LABELS)
    with pytest.raises(ValueError, match=message):
        warm.set_params(**params).fit(X, y)


def test_warm_start_with_other_outputs_raises():
    warm = regressor(warm_start=True, how={"trainable": "head"}).fit(SHOP, NUMBERS)
    with pytest.raises(ValueError, match="y has 2 columns, but the head has 1 outputs"):
        warm.fit(SHOP, np.c_[NUMBERS, NUMBERS])
    labels = classifier(warm_start=True, how={"trainable": "head"}).fit(SHOP, SEVERAL)
    with pytest.raises(ValueError, match="those of the last fit"):
        labels.fit(SHOP, SEVERAL[:, :2])


def test_interruption_leaves_fitted_classifier():
    calls = iter([None, None, KeyboardInterrupt])

    def metric(columns, y):
        if (error := next(calls)) is not None:
            raise error
        return 1.0

    how = {"epochs": 9, "metric": metric, "validation_fraction": 0.25}
    with pytest.warns(FineTuningWarning, match="interrupted after 9 of 27 steps"):
        fitted = classifier(how=how).fit(SHOP, LABELS)
    assert fitted.predict(SHOP).shape == (24,)
    # The weights are those of the best epoch, the first one, of encoder and head.
    assert_equal_weights(fitted, best_of_first_epoch(how))


def best_of_first_epoch(how):
    scores = iter([1.0, *[0.0] * 9])
    stopped = how | {"metric": lambda columns, y: next(scores), "early_stopping": True}
    return classifier(how=stopped).fit(SHOP, LABELS)


@pytest.fixture
def callback():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")


def test_callbacks_get_epochs_and_steps_as_tasks(callback):
    recorder = Recorder()
    classifier().set_callbacks(recorder).fit(SHOP, LABELS)
    name = "SentenceClassifier"
    assert recorder.n_tasks() == {(name, "fit"): 1, (name, "epoch"): 2, (name, "step"): 6}


@pytest.mark.parametrize(
    ("made", "y"),
    [
        (lambda: classifier(dropout=0.5), LABELS),
        (lambda: classifier(how={"trainable": "head"}), SEVERAL),
        (lambda: regressor(), NUMBERS),
    ],
    ids=["classes", "frozen", "numbers"],
)
def test_scoring_monitor_scores_after_each_epoch(callback, made, y):
    seen = []

    def score(fitted, X, y):
        seen.append((fitted.fingerprint_, outputs(fitted, X), fitted.transform(X)))
        return fitted.score(X, y)

    monitor = callback.ScoringMonitor(scoring={"score": score})
    fitted = made().set_callbacks(monitor).fit(SHOP, y)
    scores = monitor.get_logs().data_as_pandas
    assert (scores["task_name"] == "epoch").sum() == 2
    (_, first, _), (fingerprint, last, fused) = seen
    assert np.abs(first - last).max() > 1e-4
    np.testing.assert_array_equal(last, outputs(fitted, SHOP))
    np.testing.assert_array_equal(fused, fitted.transform(SHOP))
    assert fingerprint == fitted.fingerprint_
    # Looking on changes nothing.
    assert_equal_weights(fitted, made().fit(SHOP, y))


def test_callback_can_stop_training(callback):
    class Stops(Recorder):
        def on_fit_task_end(self, estimator, context):
            super().on_fit_task_end(estimator, context)
            return context.task_name == "epoch"

    fitted = classifier().set_callbacks(Stops()).fit(SHOP, LABELS)
    assert len(fitted.history_) == 3
    assert fitted.predict(SHOP).shape == (24,)


def test_progress_bars(capfd):
    made = classifier(verbose=1, how={"trainable": "head", "verbose": 1})
    made.fit(TEXTS, LABELS).predict(TEXTS)
    out, err = capfd.readouterr()
    assert out == ""
    assert "fine-tuning: 100%" in err
    assert "embedding: 100%" in err
    assert "24/24" in err
