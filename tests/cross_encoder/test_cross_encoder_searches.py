"""Pretrained cross-encoders in searches, with caches and workers."""

import joblib
import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RepeatedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)

from sk_sentemb import CrossEncoderScorer
from sk_sentemb.cache import DiskCache, MemoryCache
from tests.checks.data import PAIRS
from tests.cross_encoder.data import CLASSES, GRID, TWO_STEPS, Containers, both
from tests.helpers.tiny_models import OTHER_SCORER, TINY_SCORER, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


GRADES = np.arange(len(GRID)) % 4


@pytest.mark.parametrize(
    ("X", "n_jobs"),
    [
        *((kind, 1) for kind in ("frame", "array", "tuples", "polars")),
        pytest.param("frame", 2, marks=pytest.mark.slow),
    ],
)
def test_searches_score_what_predict_returns(X, n_jobs):
    X = getattr(Containers, X)
    scorer = CrossEncoderScorer(TINY_SCORER)
    predicted = scorer.fit(GRID).predict(GRID)
    folds = KFold(4)
    expected = [r2_score(GRADES[test], predicted[test]) for _, test in folds.split(GRADES)]
    scores = cross_val_score(scorer, X, GRADES, cv=folds, error_score="raise", n_jobs=n_jobs)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    np.testing.assert_allclose(cross_val_predict(scorer, X, GRADES), predicted, atol=1e-6)
    grid = {"symmetric": [False, True], "model": [TINY_SCORER, OTHER_SCORER]}
    search = GridSearchCV(scorer, grid, cv=folds, error_score="raise", n_jobs=n_jobs)
    search.fit(X, GRADES)
    for params, mean in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        rows = clone(scorer).set_params(**params).fit(GRID).predict(GRID)
        alone = [r2_score(GRADES[test], rows[test]) for _, test in folds.split(GRADES)]
        assert mean == pytest.approx(np.mean(alone), rel=1e-4)
    assert search.best_estimator_.get_params()["model"] == search.best_params_["model"]


SEARCHES = {
    "folds": lambda e, y: cross_val_score(e, GRID, y, cv=4),
    "repeated folds": lambda e, y: cross_validate(
        e, GRID, y, cv=RepeatedKFold(n_splits=3, n_repeats=3, random_state=0)
    ),
    "predictions": lambda e, y: cross_val_predict(e, GRID, y, cv=3),
    "what changes nothing": lambda e, y: GridSearchCV(
        e, {"batch_tokens": [1, 64, "auto"], "missing": ["error", "empty"]}, cv=3
    ).fit(GRID, y),
}


@both
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_searches_encode_each_pair_once(search, estimator):
    cache = MemoryCache()
    y = CLASSES if is_classifier(estimator) else GRADES
    search(clone(estimator).set_params(cache=cache), y)
    assert cache.statistics().misses == len(GRID)


def test_searches_encode_once_per_encoding_parameter():
    cache = MemoryCache()
    scorer = CrossEncoderScorer(TINY_SCORER, cache=cache)
    for grid, n in (
        ({"symmetric": [False, True]}, 2),
        ({"prompt": [None, "", "ferry: "]}, 1),
        ({"max_length": [None, 50, 60]}, 2),
        ({"model": [TINY_SCORER, OTHER_SCORER]}, 1),
    ):
        before = cache.statistics().misses
        GridSearchCV(scorer, grid, cv=2, error_score="raise").fit(GRID, GRADES)
        assert cache.statistics().misses - before == n * len(GRID)


@both
def test_equal_pairs_are_encoded_once_without_cache(estimator):
    fitted = clone(estimator).set_params(cache=None).fit(PAIRS)
    seen = []
    table = fitted.encoder_.backbone.model.embeddings.word_embeddings
    hook = table.register_forward_hook(lambda _, ids, __: seen.append(ids[0].numel()))
    fitted.predict(PAIRS)
    once = sum(seen)
    seen.clear()
    fitted.predict(PAIRS * 7)
    assert sum(seen) == once
    hook.remove()


BACKENDS = ["threading", pytest.param("loky", marks=pytest.mark.slow)]  # which starts for long


@both
@pytest.mark.parametrize("backend", BACKENDS)
def test_disk_cache_is_shared_by_workers(backend, estimator, tmp_path):
    y = CLASSES if is_classifier(estimator) else GRADES
    expected = clone(estimator).set_params(cache=None).fit(GRID).decision_function(GRID)
    on_disk = clone(estimator).set_params(cache=tmp_path)
    with joblib.parallel_config(backend=backend):
        cross_val_score(on_disk, GRID, y, cv=4, n_jobs=2, error_score="raise")
    assert DiskCache(tmp_path).statistics().n_embedded == len(GRID)
    found = clone(on_disk).fit(GRID).decision_function(GRID)
    assert DiskCache(tmp_path).statistics().n_embedded == len(GRID)
    assert_same_rows(found, expected)


def test_cache_separates_pairs_and_texts():
    """A pair is found neither by its texts nor the other way round, nor by another head."""
    cache = MemoryCache()
    one = CrossEncoderScorer(TINY_SCORER, cache=cache).fit(PAIRS).decision_function(PAIRS)
    other = CrossEncoderScorer(OTHER_SCORER, cache=cache).fit(PAIRS).decision_function(PAIRS)
    np.testing.assert_array_equal(
        other, CrossEncoderScorer(OTHER_SCORER, cache=None).fit(PAIRS).decision_function(PAIRS)
    )
    assert np.abs(one - other).max() > 1e-3
    assert len(cache.statistics().namespaces) == 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fine_tuner", [None, TWO_STEPS], ids=["as-it-is", "tuned"])
def test_n_jobs_gives_same_scores(fine_tuner, backend):
    scorer = CrossEncoderScorer(TINY_SCORER, cache=None, fine_tuner=fine_tuner)
    scorer.fit(GRID, np.arange(len(GRID)) % 2)
    one = scorer.predict(GRID)
    with joblib.parallel_config(backend=backend):
        assert_same_rows(scorer.set_params(n_jobs=2).predict(GRID), one)


@both
def test_progress_bar_counts_distinct_pairs(estimator, capfd):
    fitted = clone(estimator).set_params(verbose=1).fit(PAIRS)
    assert capfd.readouterr().err == ""
    fitted.predict([*PAIRS, *PAIRS])
    out, err = capfd.readouterr()
    assert out == ""
    assert "scoring: 100%" in err
    assert "8/8" in err
