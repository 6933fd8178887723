"""What a value of ``cache`` may be, what a disk cache keeps, where, and for how long."""

import pickle
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_sentemb import (
    CrossEncoderScorer,
    FineTuner,
    ImageEmbedder,
    SentenceClassifier,
    SentenceEmbedder,
)
from sk_sentemb.cache import DiskCache, open_cache
from sk_sentemb.cache.namespace import add_checksum
from sk_sentemb.cache.resilient_store import resilient_store_for
from sk_sentemb.exceptions import CacheWarning
from tests.helpers.tiny_models import NO_DROPOUT, TINY, TINY_SCORER, assert_same_rows

TEXTS = [f"the ferry passed pier {i}" for i in range(8)]
CLASSES = [0, 1] * 4
TUNER = FineTuner(max_steps=1, random_state=0)


@pytest.mark.parametrize("value", ["disk", "None", "true", "Memory", "~", "."])
@pytest.mark.parametrize(
    "estimator",
    [
        SentenceEmbedder(TINY),
        CrossEncoderScorer(TINY_SCORER),
        SentenceClassifier(TINY),
        ImageEmbedder(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_bare_word_is_refused(estimator, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=rf"cache='{value}' is neither 'memory' nor a path"
    ) as error:
        estimator.set_params(cache=value).fit(TEXTS, CLASSES)
    advised = "~/" if value == "~" else f"./{value}"
    assert f"Pass {advised!r} or pathlib.Path({value!r})" in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["./disk", Path("disk"), "disk/"])
def test_a_path_is_a_folder(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SentenceEmbedder(TINY, cache=value).fit_transform(TEXTS)
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]
    assert open_cache(value).path.parent == tmp_path / "disk"


@pytest.mark.parametrize("variable", [False, True], ids=["parameter", "environment"])
def test_an_unknown_home_folder_is_a_warning(variable, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = f"~nobody-{variable}/x"
    monkeypatch.setenv("SK_SENTEMB_CACHE", folder)
    embedder = SentenceEmbedder(TINY, cache=True if variable else folder)
    with pytest.warns(CacheWarning, match="there is no home folder ~nobody"):
        found = embedder.fit_transform(TEXTS)
    assert_same_rows(found, SentenceEmbedder(TINY, cache=None).fit_transform(TEXTS))
    cache = open_cache(embedder.cache)
    assert (cache.statistics().n_texts, cache.clear()) == (0, 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n_bytes", [-1, 1, -100])
def test_a_record_of_another_length_is_damaged(n_bytes, tmp_path):
    embedder = SentenceEmbedder(TINY, cache=tmp_path)
    expected = embedder.fit_transform(TEXTS)
    with sqlite3.connect(open_cache(tmp_path).path) as db:
        for key, blob in db.execute("SELECT key, record FROM embedding").fetchall():
            record = blob[:-8] + b"x" if n_bytes > 0 else blob[: -8 + n_bytes]
            db.execute(
                "UPDATE embedding SET record = ? WHERE key = ?", (add_checksum(key, record), key)
            )
    open_cache("memory").clear()
    with pytest.warns(CacheWarning, match="8 records of .* are damaged"):
        assert_same_rows(embedder.transform(TEXTS), expected)
    open_cache("memory").clear()
    assert_same_rows(embedder.transform(TEXTS), expected)
    assert open_cache(tmp_path).statistics().n_embedded == 2 * len(TEXTS)


@pytest.fixture
def memory():
    """The cache that all embedders share, with its bound as it was."""
    cache = open_cache("memory")
    before = cache.max_bytes
    yield cache
    cache.max_bytes = before


def front_of(cache):
    return resilient_store_for(cache.path).memory


def test_what_a_disk_cache_keeps_in_memory_is_bounded(memory, tmp_path):
    texts = [f"{text} {i}" for i in range(20) for text in TEXTS]
    cache = DiskCache(tmp_path, max_bytes=30_000)
    with pytest.warns(CacheWarning, match="do not fit"):
        expected = SentenceEmbedder(TINY, cache=cache).fit_transform(texts)
    assert 0 < front_of(cache).statistics().n_bytes <= 30_000
    large = DiskCache(tmp_path / "large")
    SentenceEmbedder(TINY, cache=large).fit_transform(texts)
    assert front_of(large).statistics().n_texts == len(texts)
    memory.max_bytes = 10_000
    assert front_of(large).statistics().n_bytes <= 10_000
    misses = large.statistics().misses
    assert_same_rows(SentenceEmbedder(TINY, cache=large).fit_transform(texts), expected)
    assert large.statistics().misses == misses  # the others are on disk
    memory.max_bytes = 10**9
    SentenceEmbedder(TINY, cache=large).fit_transform(texts)
    assert front_of(large).statistics().n_texts == len(texts)


def test_clearing_reaches_what_a_disk_cache_keeps_in_memory(memory, tmp_path):
    cache = DiskCache(tmp_path)
    embedder = SentenceEmbedder(TINY, cache=cache).fit(TEXTS)
    for clear in (memory.clear, cache.clear):
        embedder.transform(TEXTS)
        assert front_of(cache).statistics().n_texts == len(TEXTS)
        clear()
        assert front_of(cache).statistics().n_texts == 0
    SentenceEmbedder(TINY).fit_transform(TEXTS)
    cache.clear()
    assert memory.statistics().n_texts == len(TEXTS)


def test_embeddings_of_fine_tuned_models_stay_in_memory(memory, tmp_path):
    pipeline = make_pipeline(
        SentenceEmbedder(TINY, cache=tmp_path, fine_tuner=TUNER), LogisticRegression()
    )
    rates = {"sentenceembedder__fine_tuner__learning_rate": [1e-4, 1e-3]}
    search = GridSearchCV(pipeline, rates, cv=2).fit(TEXTS, CLASSES)
    assert open_cache(tmp_path).statistics().n_texts == 0
    n_embedded = memory.statistics().misses
    search.predict(TEXTS)
    assert memory.statistics().misses == n_embedded


def test_embeddings_of_a_fine_tuned_model_that_was_saved_are_kept(tmp_path):
    cache = open_cache(tmp_path / "cache")
    tuned = SentenceEmbedder(TINY, cache=tmp_path / "cache", fine_tuner=TUNER).fit(TEXTS, CLASSES)
    expected = tuned.transform(TEXTS)
    assert cache.statistics().n_texts == 0
    pickled = pickle.dumps(tuned)
    assert_same_rows(pickle.loads(pickled).transform(TEXTS), expected)
    assert cache.statistics().n_texts == len(TEXTS)
    open_cache("memory").clear()
    # Another process, or a later one, finds them.
    misses = cache.statistics().misses
    assert_same_rows(pickle.loads(pickled).transform(TEXTS), expected)
    assert cache.statistics().misses == misses
    tuned.save_pretrained(tmp_path / "saved")
    again = SentenceEmbedder(tmp_path / "saved", cache=tmp_path / "cache").fit(TEXTS)
    assert_same_rows(again.transform(TEXTS), expected)
    assert cache.statistics().n_texts == 2 * len(TEXTS)


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.IgnoredParameterWarning")
def test_scores_of_a_new_head_stay_in_memory_and_frozen_embeddings_on_disk(tmp_path):
    pairs = np.array([TEXTS, TEXTS[::-1]]).T
    scorer = CrossEncoderScorer(TINY_SCORER, cache=tmp_path, fine_tuner=TUNER)
    scorer.fit(pairs, np.array(CLASSES) / 2).predict(pairs)
    assert open_cache(tmp_path).statistics().n_texts == 0
    head = FineTuner(trainable="head", max_steps=1, random_state=0)
    classifier = SentenceClassifier(NO_DROPOUT, cache=tmp_path, fine_tuner=head)
    classifier.fit(TEXTS, CLASSES).predict(TEXTS)
    assert open_cache(tmp_path).statistics().n_texts == len(TEXTS)
