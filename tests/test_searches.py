import itertools
import logging
import os
import threading
import warnings
from collections import defaultdict
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer

from sk_sentemb import SentenceEmbedder, load_encoder
from sk_sentemb.cache import DiskCache, MemoryCache, open_cache
from sk_sentemb.exceptions import TruncationWarning
from tests.helpers.checkpoints import MAX_TOKENS, make_checkpoint
from tests.helpers.processes import ends_within, models_read, witnesses

TEXTS = [f"the {['ferry', 'market'][i % 2]} passed the pier {i} times" for i in range(40)]
# Half of the texts twice, so that most folds have the same text on both sides.
X = TEXTS + TEXTS[::2]
y = np.array(["market" in text for text in X])
C = {"classifier__C": [0.1, 10.0]}
# Weights that no other test has, so that no other test's copy of the model is met.
_seeds = itertools.count(5_000)


@pytest.fixture(autouse=True)
def a_time_limit(one_thread):
    with ends_within(120):
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("searches") / "model", seed=next(_seeds))


@pytest.fixture
def fresh_model(tmp_path):
    """Weights that no process has read yet."""
    return make_checkpoint(tmp_path / "fresh", seed=next(_seeds))


@pytest.fixture
def n_read(caplog):
    caplog.set_level(logging.INFO, "sk_sentemb")
    return lambda: sum("loading the model" in record.message for record in caplog.records)


def pipeline(model, *, memory=None, **params):
    embedder, classifier = SentenceEmbedder(model, **params), LogisticRegression()
    return Pipeline([("embedder", embedder), ("classifier", classifier)], memory=memory)


def shuffled(n_splits=3):
    return StratifiedKFold(n_splits, shuffle=True, random_state=0)


# One process

SEARCHES = {
    "grid search": lambda p: GridSearchCV(p, C, cv=3).fit(X, y),
    "random search": lambda p: RandomizedSearchCV(
        p,
        {"classifier__C": loguniform(0.01, 10), "embedder__truncate_dim": [4, 8, None]},
        n_iter=6,
        cv=shuffled(),
        random_state=0,
    ).fit(X, y),
    "halving grid search": lambda p: HalvingGridSearchCV(
        p, C, factor=2, min_resources=24, cv=shuffled(2), random_state=0
    ).fit(X, y),
    "halving random search": lambda p: HalvingRandomSearchCV(
        p, C, factor=2, min_resources=24, cv=shuffled(2), random_state=0
    ).fit(X, y),
    "scores": lambda p: cross_val_score(p, X, y, cv=shuffled(5)),
    "scores of repeated folds": lambda p: cross_validate(
        p,
        X,
        y,
        cv=RepeatedStratifiedKFold(n_splits=3, n_repeats=3, random_state=0),
        return_train_score=True,
    ),
    "predictions": lambda p: cross_val_predict(p, X, y, cv=shuffled()),
    "learning curve": lambda p: learning_curve(p, X, y, cv=shuffled(), train_sizes=[0.5, 1.0]),
    "permutation test": lambda p: permutation_test_score(
        p, X, y, cv=shuffled(), n_permutations=3, random_state=0
    ),
    "nested": lambda p: cross_val_score(GridSearchCV(p, C, cv=2), X, y, cv=shuffled()),
    "stacking": lambda p: StackingClassifier(
        [("a", p), ("b", clone(p).set_params(classifier__C=10, embedder__truncate_dim=8))], cv=3
    ).fit(X, y),
    "voting": lambda p: VotingClassifier([("a", p), ("b", clone(p))]).fit(X, y),
    "calibration": lambda p: CalibratedClassifierCV(p, cv=3).fit(X, y),
    "one against the rest": lambda p: OneVsRestClassifier(p).fit(X, np.arange(len(X)) % 3),
}


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_each_text_is_embedded_once_by_one_model(search, fresh_model, n_read):
    cache = MemoryCache()
    search(pipeline(fresh_model, cache=cache))
    assert cache.statistics().misses == len(TEXTS)
    assert n_read() == 1


@pytest.mark.parametrize("search", ["grid search", "nested", "stacking"])
def test_each_text_is_embedded_once_with_a_cache_on_disk(search, model, tmp_path):
    SEARCHES[search](pipeline(model, cache=tmp_path))
    assert DiskCache(tmp_path).statistics().n_embedded == len(TEXTS)


@pytest.fixture
def n_tokens_run(model):
    """Count the tokens that go into the model, whatever the caches say."""
    n_tokens = []
    embeddings = load_encoder(model).backbone.model.embeddings.word_embeddings
    hook = embeddings.register_forward_hook(lambda _, ids, __: n_tokens.append(ids[0].numel()))
    yield lambda: sum(n_tokens)
    hook.remove()


@pytest.mark.parametrize("cache", ["memory object", "disk"])
def test_the_model_itself_sees_each_text_once(cache, model, n_tokens_run, tmp_path):
    load_encoder(model).encode(TEXTS)
    once = n_tokens_run()
    cache = MemoryCache() if cache == "memory object" else DiskCache(tmp_path)
    cross_validate(
        pipeline(model, cache=cache), X, y, cv=RepeatedStratifiedKFold(n_splits=3, n_repeats=2)
    )
    assert n_tokens_run() == 2 * once
    GridSearchCV(pipeline(model, cache=None), C, cv=2).fit(X, y)
    assert n_tokens_run() > 6 * once


@pytest.mark.parametrize("kind", ["memory object", "memory", "disk", "none"])
def test_a_pipeline_with_a_memory_of_its_own_embeds_each_text_once(kind, model, tmp_path):
    cache = {
        "memory object": MemoryCache(),
        "memory": "memory",
        "disk": DiskCache(tmp_path / "cache"),
        "none": None,
    }[kind]
    memory = joblib.Memory(tmp_path / "memory", verbose=0)
    search = GridSearchCV(pipeline(model, memory=memory, cache=cache), C, cv=2)
    search.fit(X, y)
    if kind in ("memory object", "disk"):
        assert cache.statistics().misses == len(TEXTS)
    # Two folds and the final fit: candidates that differ in what follows share an embedder.
    assert len(memory.store_backend.get_items()) == 3
    search.fit(X, y)
    assert len(memory.store_backend.get_items()) == 3


@pytest.mark.parametrize("cache", ["memory", None, MemoryCache(), DiskCache("somewhere")], ids=repr)
def test_joblib_knows_an_embedder_again(cache, model):
    encoder = load_encoder(model)
    for given in (model, encoder, encoder.replace(source=None)):
        embedder = SentenceEmbedder(given, cache=cache)
        assert joblib.hash(clone(embedder)) == joblib.hash(embedder)
        assert joblib.hash(clone(embedder).set_params(prompt="?")) != joblib.hash(embedder)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("truncate_dim", [2, 32, None]),
        ("batch_tokens", [1, 64, "auto"]),
        ("missing", ["zero", "nan", "empty", "error"]),
        ("n_jobs", [None, 1]),
        ("store_weights_in_pickle", [False, True]),
        ("verbose", [0, 1]),
        ("device", [None, "cpu"]),
        # Other words for the same thing.
        ("pooling", ["auto", ["mean"], ("mean",)]),
        ("normalize", ["auto", True]),
        ("prompt", [None, ""]),
        ("max_length", [None, MAX_TOKENS, np.int64(MAX_TOKENS)]),
    ],
)
def test_what_does_not_change_the_vectors_costs_nothing(name, values, fresh_model, n_read):
    if name == "device" and load_encoder(fresh_model).device.type != "cpu":
        pytest.skip("None is another device here")
    cache = MemoryCache()
    grid = C | {f"embedder__{name}": values}
    GridSearchCV(pipeline(fresh_model, cache=cache), grid, cv=shuffled(2)).fit(X, y)
    assert cache.statistics().misses == len(TEXTS)
    assert n_read() == 1


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pooling", ["mean", "cls", "max", ["mean", "cls"]]),
        ("normalize", [True, False]),
        ("prompt", [None, "the pier: ", "the ferry: "]),
        ("max_length", [None, 5, 7]),
        ("long_text", ["truncate", "chunk"]),
    ],
)
def test_another_encoder_embeds_each_text_once_more(name, values, fresh_model, n_read):
    cache = MemoryCache()
    grid = C | {f"embedder__{name}": values}
    search = GridSearchCV(pipeline(fresh_model, cache=cache), grid, cv=shuffled(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        search.fit(X, y)
    assert cache.statistics().misses == len(values) * len(TEXTS)
    assert n_read() == 1


def test_another_number_format_embeds_each_text_once_more(model):
    cache = MemoryCache()
    grid = C | {"embedder__dtype": ["float32", "bfloat16"]}
    GridSearchCV(pipeline(model, cache=cache), grid, cv=shuffled(2)).fit(X, y)
    assert cache.statistics().misses == 2 * len(TEXTS)


def test_another_model_embeds_each_text_once_more(tmp_path, n_read):
    cache = MemoryCache()
    folders = [make_checkpoint(tmp_path / str(i), seed=next(_seeds)) for i in range(2)]
    grid = C | {"embedder__model": [*folders, str(folders[0]), load_encoder(folders[1])]}
    GridSearchCV(pipeline(folders[0], cache=cache), grid, cv=shuffled(2)).fit(X, y)
    assert cache.statistics().misses == 2 * len(TEXTS)
    assert len(cache.statistics().namespaces) == 2
    assert n_read() == 2


def columns(cache, model):
    frame = pd.DataFrame({"a": X, "b": X[::-1], "n": np.arange(len(X))})
    return frame, SentenceEmbedder(model, cache=cache)


def test_columns_share_their_texts(fresh_model, n_read):
    cache = MemoryCache()
    frame, embedder = columns(cache, fresh_model)
    split = ColumnTransformer(
        [("a", embedder, "a"), ("b", clone(embedder), ["b"]), ("both", clone(embedder), ["a", "b"])]
    )
    search = GridSearchCV(Pipeline([("columns", split), ("classifier", LogisticRegression())]), C)
    search.fit(frame, y)
    assert cache.statistics().misses == len(TEXTS)
    assert n_read() == 1


def test_a_union_embeds_each_text_once_for_each_encoder(fresh_model, n_read):
    cache = MemoryCache()
    frame, embedder = columns(cache, fresh_model)
    union = FeatureUnion(
        [
            ("all", embedder),
            ("few", clone(embedder).set_params(truncate_dim=4)),
            ("prompted", clone(embedder).set_params(prompt="the pier: ")),
        ]
    )
    search = GridSearchCV(Pipeline([("union", union), ("classifier", LogisticRegression())]), C)
    search.fit(frame[["a", "b"]], y)
    assert cache.statistics().misses == 2 * len(TEXTS)
    assert n_read() == 1


def test_a_cache_that_is_too_small_for_the_texts_changes_no_score(model):
    tiny = MemoryCache(max_bytes=2_000)
    scores = [
        cross_val_score(pipeline(model, cache=cache), X, y, cv=shuffled(), scoring="neg_log_loss")
        for cache in (MemoryCache(), None)
    ]
    with pytest.warns(UserWarning, match="do not fit into"):
        scores.append(
            cross_val_score(
                pipeline(model, cache=tiny), X, y, cv=shuffled(), scoring="neg_log_loss"
            )
        )
    np.testing.assert_allclose(scores[1:], [scores[0]] * 2, rtol=1e-4)


def test_a_real_model_embeds_each_text_once_and_scores_as_on_its_vectors():
    places = ["the harbour", "a station", "our kitchen", "the office", "a small village"]
    good = ["I loved", "They praised", "We enjoyed", "Nobody forgot", "She admired"]
    bad = ["I hated", "They blamed", "We left", "Nobody liked", "He avoided"]
    ends = ["in spring", "at night"]
    reviews = [f"{verb} {place} {end}." for verb in good + bad for place in places for end in ends]
    sentiment = np.repeat([1, 0], len(reviews) // 2)
    cache = MemoryCache()
    p = pipeline("all-MiniLM-L6-v2", cache=cache)
    search = GridSearchCV(p, C, cv=shuffled(5), scoring="neg_log_loss").fit(reviews, sentiment)
    assert cache.statistics().misses == len(reviews) == 100
    vectors = SentenceEmbedder("all-MiniLM-L6-v2", cache=None).fit_transform(reviews)
    by_hand = GridSearchCV(
        LogisticRegression(), {"C": C["classifier__C"]}, cv=shuffled(5), scoring="neg_log_loss"
    ).fit(vectors, sentiment)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], by_hand.cv_results_["mean_test_score"], rtol=1e-4
    )
    assert search.score(reviews, sentiment) > -0.5


# Several threads and processes


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    with witnesses(folder):
        yield folder


def noted(model, cache, folder):
    """Make a pipeline that writes down, in each process, what its cache has counted."""

    def note(X):
        line = f"{open_cache(cache).statistics().misses} {torch.get_num_threads()}\n"
        with Path(folder, str(os.getpid())).open("a") as notes:
            notes.write(line)
        return X

    embedder, classifier = SentenceEmbedder(model, cache=cache), LogisticRegression()
    before, after = FunctionTransformer(note), FunctionTransformer(note)
    steps = [("before", before), ("embedder", embedder), ("after", after)]
    return Pipeline([*steps, ("classifier", classifier)])


def notes_of(folder):
    """Return for each process how many texts it embedded, and its numbers of torch threads."""
    misses, threads = {}, defaultdict(set)
    for notes in folder.iterdir():
        counted = np.loadtxt(notes, dtype=int, ndmin=2)
        # Step by step, so that a worker whose cache was begun anew cannot hide it.
        misses[int(notes.name)] = (counted[1::2, 0] - counted[::2, 0]).sum()
        threads[int(notes.name)].update(counted[:, 1])
    return misses, threads


def search_in_two_jobs(p, backend, *, n_jobs=2, grid=C):
    search = GridSearchCV(p, grid, cv=shuffled(), scoring="neg_log_loss", n_jobs=n_jobs)
    with joblib.parallel_config(backend=backend):
        return search.fit(X, y)


def assert_same_scores(search, p):
    alone = GridSearchCV(p, search.param_grid, cv=search.cv, scoring=search.scoring).fit(X, y)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], rtol=1e-4
    )


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_jobs_share_a_cache_on_disk(backend, fresh_model, tmp_path, logs):
    cache = DiskCache(tmp_path / "cache")
    search = search_in_two_jobs(pipeline(fresh_model, cache=cache), backend)
    assert cache.statistics().n_embedded == len(TEXTS)
    assert_same_scores(search, pipeline(fresh_model, cache=None))
    n_read = models_read(logs, load_encoder(fresh_model).fingerprint)
    assert set(n_read.values()) <= {1}
    assert len(n_read) <= 2
    assert n_read or backend != "loky"


@pytest.mark.parametrize("repetition", range(5))
def test_jobs_that_race_for_the_same_texts_embed_each_once(repetition, model, tmp_path, logs):
    cache = DiskCache(tmp_path / "cache")
    grid = {"embedder__batch_tokens": [1, 16], "embedder__truncate_dim": [4, 8]}
    search_in_two_jobs(pipeline(model, cache=cache), "loky", grid=grid)
    assert cache.statistics().n_embedded == len(TEXTS)


@pytest.mark.parametrize("kind", ["memory object", "memory"])
def test_threads_share_a_cache_in_memory(kind, fresh_model, n_read):
    cache = MemoryCache() if kind == "memory object" else kind
    before = open_cache(cache).statistics().misses
    search = search_in_two_jobs(pipeline(fresh_model, cache=cache), "threading", n_jobs=4)
    assert open_cache(cache).statistics().misses - before == len(TEXTS)
    assert n_read() == 1
    assert_same_scores(search, pipeline(fresh_model, cache=None))


@pytest.mark.parametrize("kind", ["memory object", "memory"])
def test_a_worker_embeds_no_text_twice_with_a_cache_in_memory(kind, fresh_model, tmp_path, logs):
    notes = tmp_path / "notes"
    notes.mkdir()
    cache = MemoryCache() if kind == "memory object" else kind
    p = noted(fresh_model, cache, notes)
    search = search_in_two_jobs(p, "loky")
    search_in_two_jobs(p, "loky")
    misses, _ = notes_of(notes)
    assert 2 <= len(misses) <= 3  # one or two workers, and this process for the final fit
    assert max(misses.values()) == len(TEXTS)
    assert_same_scores(search, pipeline(fresh_model, cache=None))
    n_read = models_read(logs, load_encoder(fresh_model).fingerprint)
    assert set(n_read.values()) == {1}


def test_workers_share_the_cores_and_the_caller_keeps_its_threads(model, tmp_path, logs):
    torch.set_num_threads(5)
    notes = tmp_path / "notes"
    notes.mkdir()
    search_in_two_jobs(noted(model, DiskCache(tmp_path / "cache"), notes), "loky")
    _, threads = notes_of(notes)
    assert threads.pop(os.getpid()) == {5}
    assert threads
    for counted in threads.values():
        assert counted == {max(1, joblib.cpu_count() // 2)}
    assert torch.get_num_threads() == 5


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_jobs_in_jobs_embed_each_text_once(backend, model, tmp_path, logs):
    cache = DiskCache(tmp_path / "cache")
    search = search_in_two_jobs(pipeline(model, cache=cache, n_jobs=2), backend)
    assert cache.statistics().n_embedded == len(TEXTS)
    assert_same_scores(search, pipeline(model, cache=None))


def test_searches_in_threads_share_what_they_embed(model):
    cache = MemoryCache()
    searches = [GridSearchCV(pipeline(model, cache=cache), C, cv=shuffled()) for _ in range(4)]
    threads = [threading.Thread(target=search.fit, args=(X, y)) for search in searches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.statistics().misses == len(TEXTS)
    for search in searches[1:]:
        assert search.best_score_ == searches[0].best_score_
