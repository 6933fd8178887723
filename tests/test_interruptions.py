"""Ctrl-C ends a single fit with what was learnt so far, and a search or cross-validation at once."""

import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.pipeline import make_pipeline

from sk_sentemb import CrossEncoderScorer, FineTuner, SentenceClassifier, SentenceEmbedder
from sk_sentemb.exceptions import FineTuningWarning
from tests.helpers.tiny_models import TINY, TINY_SCORER

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ("harbour", "ferry", "pier", "storm", "gulls", "ice", "tourists", "nets", "tide", "fog")
TEXTS = [f"{a} and {b}" for a in WORDS[:4] for b in WORDS[4:]]
LABELS = np.array(["sea", "land"] * 12)
PAIRS = [(text, text[::-1]) for text in TEXTS]


class InterruptsOnce:
    """Validates each epoch; in the nth one, the user presses Ctrl-C."""

    def __init__(self, after):
        self.after, self.n = after, 0

    def __deepcopy__(self, memo):
        return self  # so that the clones of a search count together

    def __call__(self, columns, y):
        self.n += 1
        if self.n == self.after:
            signal.raise_signal(signal.SIGINT)
        return float(self.n)


def tuner(after=2, **how):
    metric = InterruptsOnce(after)
    how = {"epochs": 3, "batch_size": 8, "validation_fraction": 0.25, "random_state": 0} | how
    return FineTuner(metric=metric, **how)


def classifier(**how):
    return SentenceClassifier(TINY, fine_tuner=tuner(**how))


GRID = {"fine_tuner__learning_rate": [1e-5, 1e-4], "dropout": [0.0, 0.1]}
SEARCHES = {
    "cross_val_score": lambda made: cross_val_score(made, TEXTS, LABELS, cv=2),
    "cross_validate": lambda made: cross_validate(made, TEXTS, LABELS, cv=2, error_score=np.nan),
    "cross_val_predict": lambda made: cross_val_predict(made, TEXTS, LABELS, cv=2),
    "learning_curve": lambda made: learning_curve(made, TEXTS, LABELS, cv=2, train_sizes=[1.0]),
    "validation_curve": lambda made: validation_curve(
        made, TEXTS, LABELS, cv=2, param_name="dropout", param_range=[0.0, 0.1]
    ),
    "grid": lambda made: GridSearchCV(made, GRID, cv=2).fit(TEXTS, LABELS),
    "randomized": lambda made: RandomizedSearchCV(made, GRID, cv=2, n_iter=2).fit(TEXTS, LABELS),
    "halving": lambda made: HalvingGridSearchCV(made, GRID, cv=2, min_resources=12).fit(
        TEXTS, LABELS
    ),
    "voting": lambda made: VotingClassifier([("a", made), ("b", clone(made))]).fit(TEXTS, LABELS),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_ends_where_it_is_interrupted(name):
    made = classifier()
    with pytest.raises(KeyboardInterrupt):
        SEARCHES[name](made)
    assert made.fine_tuner.metric.n == 2


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.FineTuningWarning")
def test_a_search_over_a_pipeline_ends_where_it_is_interrupted():
    embedder = SentenceEmbedder(TINY, fine_tuner=tuner())
    pipeline = make_pipeline(embedder, LogisticRegression())
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(pipeline, TEXTS, LABELS, cv=2)
    assert embedder.fine_tuner.metric.n == 2


def test_the_refit_of_a_search_can_be_interrupted():
    made = classifier(after=2 * 3 + 2)
    search = GridSearchCV(made, {"dropout": [0.0]}, cv=2)
    with pytest.raises(KeyboardInterrupt):
        search.fit(TEXTS, LABELS)
    assert made.fine_tuner.metric.n == 2 * 3 + 2


@pytest.mark.parametrize(
    "fit",
    [
        lambda: classifier().fit(TEXTS, LABELS),
        lambda: SentenceEmbedder(TINY, fine_tuner=tuner()).fit(TEXTS, LABELS),
        lambda: SentenceEmbedder(TINY, fine_tuner=tuner()).partial_fit(TEXTS, LABELS),
        lambda: CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner()).fit(PAIRS, np.arange(24) % 2),
        lambda: make_pipeline(SentenceEmbedder(TINY, fine_tuner=tuner()), LogisticRegression()).fit(
            TEXTS, LABELS
        )[0],
    ],
    ids=["classifier", "embedder", "partial_fit", "scorer", "pipeline"],
)
def test_a_single_fit_keeps_the_best_weights(fit):
    with pytest.warns(FineTuningWarning, match="interrupted after .* of .* steps"):
        fitted = fit()
    assert fitted.history_["epoch"].max() == 2


def test_a_model_that_was_saved_keeps_the_best_weights_of_a_further_fit():
    search = GridSearchCV(classifier(after=99), {"dropout": [0.0]}, cv=2).fit(TEXTS, LABELS)
    loaded = pickle.loads(pickle.dumps(search.best_estimator_))
    loaded.set_params(fine_tuner__metric=InterruptsOnce(2))
    with pytest.warns(FineTuningWarning, match="interrupted after"):
        loaded.fit(TEXTS, LABELS)


def test_before_the_first_step_there_is_nothing_to_keep():
    def head(n_inputs, n_outputs):
        signal.raise_signal(signal.SIGINT)

    made = classifier(after=99).fit(TEXTS, LABELS)
    before = made.predict(TEXTS).tolist()
    with pytest.raises(KeyboardInterrupt):
        made.set_params(head=head).fit(TEXTS, LABELS[::-1])
    assert made.predict(TEXTS).tolist() == before


def test_an_interrupted_search_goes_on_from_its_checkpoint(tmp_path):
    made = classifier(checkpoint_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(made, TEXTS, LABELS, cv=2)
    assert len(list(tmp_path.rglob("*.pt"))) == 1
    cross_val_score(made, TEXTS, LABELS, cv=2)
    assert made.fine_tuner.metric.n == 2 + 2 + 3  # two epochs of the first fold were not done again


IN_PROCESSES = """
import sys, time, warnings
import numpy as np
from sklearn.model_selection import GridSearchCV
from sk_sentemb import FineTuner, SentenceClassifier
from sk_sentemb.exceptions import FineTuningWarning
warnings.simplefilter("ignore", FineTuningWarning)
def metric(columns, y):
    print("epoch", flush=True)
    time.sleep(0.3)
    return 1.0
if __name__ == "__main__":
    tuner = FineTuner(epochs=200, batch_size=8, validation_fraction=0.25, metric=metric)
    made = SentenceClassifier(sys.argv[1], fine_tuner=tuner)
    X, y = [f"{a} and {b}" for a in range(4) for b in range(6)], ["sea", "land"] * 12
    try:
        GridSearchCV(made, {"dropout": [0.0, 0.1, 0.2]}, cv=2, n_jobs=int(sys.argv[2])).fit(X, y)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_on_a_terminal_ends_a_search(n_jobs, tmp_path):
    script = tmp_path / "search.py"
    script.write_text(IN_PROCESSES)
    command = [sys.executable, script, TINY, str(n_jobs)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    ) as process:
        assert process.stdout.readline() == "epoch\n"
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers hear of it, too
        out, _ = process.communicate(timeout=60)
    assert out.splitlines()[-1] == "interrupted"
    assert time.monotonic() - begun < 30
