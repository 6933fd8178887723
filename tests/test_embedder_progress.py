from collections import Counter

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_sentemb import FineTuner, SentenceEmbedder
from sk_sentemb._progress import N_TASKS
from tests.helpers.tiny_models import TINY

TEXTS = [f"the ferry passed the pier {i} times" for i in range(30)]
TARGET = np.arange(len(TEXTS)) % 2


class Recorder:
    """Counts what begins and ends, at every depth."""

    max_propagation_depth = None

    def __init__(self):
        self.begun = []
        self.ended = []
        self.n_open = 0

    def setup(self, estimator, context):
        self.n_open += 1

    def teardown(self, estimator, context):
        self.n_open -= 1

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.estimator_name, context.task_name))

    def on_fit_task_end(self, estimator, context):
        self.ended.append((context.estimator_name, context.task_name))

    def n_tasks(self):
        """Return how many of each task began, of which all have ended."""
        assert Counter(self.begun) == Counter(self.ended)
        assert self.n_open == 0
        return Counter(self.begun)


@pytest.fixture
def callback():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")


def pipeline():
    classifier = LogisticRegression()
    return Pipeline([("embedder", SentenceEmbedder(TINY)), ("classifier", classifier)])


def test_the_bar_counts_distinct_texts_on_standard_error(capfd):
    X = pd.DataFrame({"a": ["?", "!", "?", None], "b": ["?", "?", ".", "!"]})
    SentenceEmbedder(TINY, missing="nan", verbose=1).fit_transform(X)
    out, err = capfd.readouterr()
    assert out == ""
    assert "embedding: 100%" in err
    assert "3/3" in err


def test_the_bar_counts_the_text_of_missing_cells_where_they_have_one(capfd):
    SentenceEmbedder(TINY, missing="empty", verbose=1).fit_transform(["?", None, None])
    assert "2/2" in capfd.readouterr().err


def test_transform_has_a_bar_and_fit_has_none(capfd):
    embedder = SentenceEmbedder(TINY, verbose=1).fit(TEXTS)
    assert capfd.readouterr().err == ""
    embedder.transform(TEXTS)
    assert "30/30" in capfd.readouterr().err


def test_the_encoder_reports_how_many_texts_are_done():
    embedder = SentenceEmbedder(TINY).fit(TEXTS)
    done = []
    embedder.encoder_.encode(TEXTS, batch_tokens=64, on_progress=done.append)
    assert done == sorted(done)
    assert len(done) > 3
    assert done[-1] == len(TEXTS)


def test_a_row_that_fails_closes_the_bar(capfd):
    embedder = SentenceEmbedder(TINY, long_text="error", max_length=5, verbose=1).fit(["?"])
    with pytest.raises(ValueError, match="row 0"):
        embedder.transform(TEXTS)
    assert "0/30" in capfd.readouterr().err


@pytest.mark.parametrize("n_texts", [1, 7, N_TASKS, 30])
def test_fit_transform_begins_and_ends_all_its_tasks(callback, n_texts):
    recorder = Recorder()
    assert isinstance(recorder, callback.FitCallback)
    SentenceEmbedder(TINY).set_callbacks(recorder).fit_transform(TEXTS[:n_texts])
    assert recorder.n_tasks() == {
        ("SentenceEmbedder", "fit-transform"): 1,
        ("SentenceEmbedder", "embed"): N_TASKS,
    }


def test_fit_is_one_task(callback):
    recorder = Recorder()
    SentenceEmbedder(TINY).set_callbacks(recorder).fit(TEXTS)
    assert recorder.n_tasks() == {("SentenceEmbedder", "fit"): 1}


def test_tasks_end_while_texts_are_embedded_not_after(callback, capfd):
    class Interrupts(Recorder):
        def on_fit_task_end(self, estimator, context):
            super().on_fit_task_end(estimator, context)
            if len(self.ended) == N_TASKS // 2:
                raise KeyboardInterrupt

    interrupts = Interrupts()
    embedder = SentenceEmbedder(TINY, batch_tokens=64, verbose=1).set_callbacks(interrupts)
    with pytest.raises(KeyboardInterrupt):
        embedder.fit_transform(TEXTS)
    assert interrupts.n_open == 0
    assert "30/30" not in capfd.readouterr().err


def test_a_failing_fit_tears_callbacks_down(callback):
    recorder = Recorder()
    embedder = SentenceEmbedder(TINY, missing="error").set_callbacks(recorder)
    with pytest.raises(ValueError, match="has no text"):
        embedder.fit_transform([None])
    assert recorder.n_open == 0


def test_callbacks_reach_an_embedder_in_a_pipeline(callback):
    recorder = Recorder()
    pipeline().set_callbacks(recorder).fit(TEXTS, TARGET)
    tasks = recorder.n_tasks()
    assert tasks["SentenceEmbedder", "fit-transform"] == 1
    assert tasks["SentenceEmbedder", "embed"] == N_TASKS


def test_callbacks_and_a_progress_bar_reach_an_embedder_in_a_grid_search(callback, capsys):
    pytest.importorskip("rich")
    recorder = Recorder()
    search = GridSearchCV(pipeline(), {"embedder__pooling": ["mean", "cls"]}, cv=2)
    search.set_callbacks(recorder, callback.ProgressBar(max_propagation_depth=3))
    search.fit(TEXTS, TARGET)
    tasks = recorder.n_tasks()
    assert tasks["SentenceEmbedder", "fit-transform"] == 2 * 2 + 1
    assert tasks["SentenceEmbedder", "embed"] == N_TASKS * (2 * 2 + 1)
    assert "SentenceEmbedder" in capsys.readouterr().out


TUNER = FineTuner(epochs=3, batch_size=10, random_state=0)


def test_epochs_and_their_steps_are_tasks(callback):
    recorder = Recorder()
    SentenceEmbedder(TINY, fine_tuner=TUNER).set_callbacks(recorder).fit(TEXTS, TARGET)
    assert recorder.n_tasks() == {
        ("SentenceEmbedder", "fit"): 1,
        ("SentenceEmbedder", "epoch"): 3,
        ("SentenceEmbedder", "step"): 9,
    }


def test_a_callback_can_stop_after_an_epoch(callback):
    class Stops(Recorder):
        def on_fit_task_end(self, estimator, context):
            super().on_fit_task_end(estimator, context)
            return context.task_name == "epoch"

    stops = Stops()
    embedder = SentenceEmbedder(TINY, fine_tuner=TUNER).set_callbacks(stops).fit(TEXTS, TARGET)
    assert stops.n_tasks()["SentenceEmbedder", "epoch"] == 1
    assert len(embedder.history_) == 3


def test_a_scoring_monitor_sees_the_model_after_each_epoch(callback):
    seen = []

    def score(embedder, X, y):
        vectors = embedder.transform(X)
        seen.append((embedder.fingerprint_, vectors))
        return float(np.abs(vectors).mean())

    monitor = callback.ScoringMonitor(scoring={"mean": score})
    embedder = SentenceEmbedder(TINY, fine_tuner=TUNER).set_callbacks(monitor)
    embedder.fit(TEXTS, TARGET)
    scores = monitor.get_logs().data_as_pandas
    assert (scores["task_name"] == "epoch").sum() == 3
    fingerprints = [fingerprint for fingerprint, _ in seen]
    assert len(set(fingerprints)) == 3
    assert fingerprints[-1] == embedder.fingerprint_
    np.testing.assert_array_equal(seen[-1][1], embedder.transform(TEXTS))


def test_the_bar_of_a_fine_tuning_shows_steps_and_loss(capfd):
    tuner = FineTuner(epochs=2, batch_size=10, verbose=1)
    SentenceEmbedder(TINY, fine_tuner=tuner).fit(TEXTS, TARGET)
    out, err = capfd.readouterr()
    assert out == ""
    assert "fine-tuning: 100%" in err
    assert "6/6" in err
    assert "loss=" in err
