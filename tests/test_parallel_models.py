"""Workers that cannot load a model by its name, because it was moved, changed, or cannot be loaded."""

import itertools
import shutil

import joblib
import pytest

from sk_sentemb import CrossEncoderScorer, SentenceEmbedder
from tests.helpers.checkpoints import make_checkpoint, make_cross_encoder
from tests.helpers.processes import ends_within
from tests.helpers.tiny_models import assert_same_rows

TEXTS = [f"the ferry passed the pier {i} times" for i in range(30)]
PAIRS = [(text, TEXTS[0]) for text in TEXTS]
# Weights that no worker has met yet.
_seeds = itertools.count(8_000)


@pytest.fixture(autouse=True)
def a_time_limit(one_thread):
    with ends_within(240):
        yield


def remove(folder):
    folder.rename(folder.with_name("moved"))


def change(folder):
    shutil.rmtree(folder)
    make_checkpoint(folder, seed=next(_seeds))


@pytest.mark.parametrize(
    ("backend", "spoil"),
    [
        ("loky", remove),
        ("loky", change),
        pytest.param("multiprocessing", remove, marks=pytest.mark.slow),
    ],
)
def test_workers_get_the_model_that_is_loaded(backend, spoil, tmp_path):
    folder = make_checkpoint(tmp_path / "model", seed=next(_seeds))
    embedder = SentenceEmbedder(folder, cache=None, n_jobs=2).fit(TEXTS)
    expected = SentenceEmbedder(folder, cache=None).fit_transform(TEXTS)
    spoil(folder)
    with joblib.parallel_config(backend=backend):
        assert_same_rows(embedder.transform(TEXTS), expected)
        assert_same_rows(embedder.transform(TEXTS[::-1]), expected[::-1])


def test_workers_get_the_scorer_that_is_loaded(tmp_path):
    folder = make_cross_encoder(tmp_path / "model", seed=next(_seeds))
    scorer = CrossEncoderScorer(folder, cache=None, n_jobs=2).fit(PAIRS)
    expected = CrossEncoderScorer(folder, cache=None).fit(PAIRS).predict(PAIRS)
    remove(folder)
    assert_same_rows(scorer.predict(PAIRS), expected)


def test_the_error_says_why_a_worker_cannot_load_a_model(tmp_path, monkeypatch):
    folder = make_checkpoint(tmp_path / "model", seed=next(_seeds))
    embedder = SentenceEmbedder(folder, cache=None, n_jobs=2).fit(TEXTS)
    expected = embedder.transform(TEXTS)
    remove(folder)
    with monkeypatch.context() as patch:
        # As if workers could not read what is written for them.
        patch.setattr(
            "sk_sentemb._parallel.encoder_to_state", lambda encoder, embed: {"device": "cpu"}
        )
        with pytest.raises(RuntimeError, match="a worker cannot load the model: KeyError"):
            embedder.transform(TEXTS)
    assert_same_rows(embedder.transform(TEXTS), expected)
