"""The negatives that `mine_hard_negatives` finds."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import FunctionTransformer

from sk_sentemb import FineTuner, SentenceEmbedder, mine_hard_negatives
from tests.hard_negatives.data import COUNTS, POSITIVES, QUERIES, TEXTS, SharedWords, mine
from tests.helpers.tiny_models import TINY

pytestmark = pytest.mark.usefixtures("one_thread")


TRIPLET = ["query", "positive", "negative"]


class Places(TransformerMixin, BaseEstimator):
    """Knows the vectors of texts, and needs no fit."""

    def __init__(self, vectors):
        self.vectors = vectors

    def fit(self, X, y=None):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def transform(self, X):
        return np.array([self.vectors[text] for text in X], dtype=np.float32)


def exact_vectors(rng, texts, n_vectors):
    """Make vectors of length 2, whose cosines have no rounding and are often equal; some are 0."""
    vectors = np.zeros((n_vectors, 8))
    for vector in vectors[1:]:
        vector[rng.choice(8, 4, replace=False)] = rng.choice([-1, 1], 4)
    return {text: vectors[rng.integers(n_vectors)] for text in texts}


def naive(
    embedder,
    queries,
    positives,
    corpus=None,
    *,
    scorer=None,
    n_negatives=3,
    range_min=0,
    range_max=100,
    max_score=None,
    min_score=None,
    absolute_margin=None,
    relative_margin=None,
    **_,
):
    """Do what `mine_hard_negatives` does, one pair after the other."""
    corpus = list(dict.fromkeys(positives if corpus is None else corpus))
    every = [*queries, *positives, *corpus]
    found = np.asarray(embedder.transform(every), dtype=np.float64)
    vectors = dict(zip(every, found, strict=True))

    def cosine(a, b):
        a, b = vectors[a], vectors[b]
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / lengths) if lengths else 0.0

    def score(a, b):
        return cosine(a, b) if scorer is None else scorer.predict(np.array([[a, b]]))[0]

    mined = []
    for row, (query, positive) in enumerate(zip(queries, positives, strict=True)):
        never = {p for q, p in zip(queries, positives, strict=True) if q == query} | {query}
        ranked = [text for text in corpus if text not in never]
        # Rounded, so that what is equal is equal here, too; sort keeps the order of the corpus then.
        ranked.sort(key=lambda text: -round(cosine(query, text), 6))
        of_row = []
        best = score(query, positive)
        for rank in range(range_min, min(range_max, len(ranked))):
            worse = score(query, ranked[rank])
            kept = (
                (max_score is None or worse <= max_score)
                and (min_score is None or worse >= min_score)
                and (absolute_margin is None or worse <= best - absolute_margin)
                and (relative_margin is None or worse <= best - relative_margin * abs(best))
            )
            if kept:
                of_row.append((query, positive, ranked[rank], row, rank, best, worse))
        mined += of_row[:n_negatives]
    names = [*TRIPLET, "query_row", "rank", "positive_score", "negative_score"]
    return pd.DataFrame(mined, columns=names)


def assert_same(found, expected):
    assert list(found.columns) == list(expected.columns)
    for name in [*TRIPLET, "query_row", "rank"]:
        assert found[name].tolist() == expected[name].tolist(), name
    for name in ["positive_score", "negative_score"]:
        np.testing.assert_allclose(
            found[name].to_numpy(float), expected[name].to_numpy(float), rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("corpus", [None, TEXTS, [*TEXTS, *POSITIVES, *QUERIES]])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"n_negatives": 1},
        {"range_min": 2, "range_max": 9, "n_negatives": 7},
        # Not where texts have their scores: rounding would decide.
        {"max_score": 0.82345},
        {"min_score": 0.81234, "n_negatives": 20},
        {"max_score": 0.86234, "min_score": 0.80123, "range_min": 1},
        {"absolute_margin": 0.042345},
        {"absolute_margin": -0.05345, "range_max": 30},
        {"relative_margin": 0.05123},
        {"relative_margin": -0.3, "absolute_margin": 0.012345, "n_negatives": 5},
        {"scorer": SharedWords(), "max_score": 2, "absolute_margin": 0},
    ],
    ids=str,
)
def test_negatives_equal_reference(corpus, params):
    embedder = SentenceEmbedder(TINY).fit(TEXTS)
    expected = naive(embedder, QUERIES, POSITIVES, corpus, **params)
    assert len(expected) > 0
    assert_same(mine(embedder, QUERIES, POSITIVES, corpus, **params), expected)


NUMBERS = st.sampled_from([None, None, -0.25, 0, 0.25, 0.5])


@settings(max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_vectors=st.integers(1, 12),
    with_corpus=st.booleans(),
    n_negatives=st.integers(1, 5),
    range_min=st.integers(0, 4),
    range_size=st.integers(5, 20),
    max_score=NUMBERS,
    min_score=NUMBERS,
    absolute_margin=NUMBERS,
    relative_margin=NUMBERS,
    scorer=st.sampled_from([None, SharedWords()]),
    block_size=st.integers(1, 9),
)
def test_any_parameters_equal_reference(
    seed, n_vectors, with_corpus, range_min, range_size, max_score, min_score, **params
):
    rng = np.random.default_rng(seed)
    texts = TEXTS[: rng.integers(3, 25)]
    embedder = Places(exact_vectors(rng, texts, n_vectors))
    n_rows = rng.integers(1, 12)
    queries, positives = rng.choice(texts, n_rows).tolist(), rng.choice(texts, n_rows).tolist()
    corpus = rng.choice(texts, rng.integers(1, 40)).tolist() if with_corpus else None
    if None not in (max_score, min_score):
        min_score, max_score = sorted([min_score, max_score])
    limits = {"max_score": max_score, "min_score": min_score}
    params |= {"range_min": range_min, "range_max": range_min + range_size, **limits}
    pool = set(corpus or positives)
    pairs = [*zip(queries, positives, strict=True), *zip(queries, queries, strict=True)]
    if all(pool <= {p for q, p in pairs if q == query} for query in queries):
        with pytest.raises(ValueError, match="corpus has no possible negatives"):
            mine(embedder, queries, positives, corpus, **params)
        return
    found = mine(embedder, queries, positives, corpus, **params)
    assert_same(found, naive(embedder, queries, positives, corpus, **params))


def test_negatives_equal_sentence_transformers():
    Dataset = pytest.importorskip("datasets").Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives as peers

    dataset = Dataset.from_dict({"query": QUERIES, "positive": POSITIVES})
    model = SentenceTransformer(str(TINY), device="cpu")
    corpus = [*TEXTS, *POSITIVES]  # there, positives are added to the corpus
    for params in [{}, {"range_min": 3}, {"max_score": 0.82345}, {"relative_margin": 0.05}]:
        params |= {"range_max": 64, "n_negatives": 4}
        found = mine(SentenceEmbedder(TINY), QUERIES, POSITIVES, corpus, **params)
        params |= {"num_negatives": params.pop("n_negatives")}
        others = peers(
            dataset, model, corpus=corpus, verbose=False, output_scores=True, **params
        ).to_pandas()
        assert found[TRIPLET].values.tolist() == others[TRIPLET].values.tolist()
        scores = found[["positive_score", "negative_score"]].to_numpy()
        np.testing.assert_allclose(scores, np.array(others["scores"].tolist()), atol=1e-5)


def test_embedder_trains_on_mined_triplets():
    embedder = SentenceEmbedder(TINY)
    mined = mine(embedder, QUERIES, POSITIVES, TEXTS)
    assert list(mined.columns) == [
        *[*TRIPLET, "query_row", "rank"],
        *["positive_score", "negative_score"],
    ]
    assert mined.index.tolist() == list(range(15))
    assert mined["query_row"].tolist() == np.repeat(np.arange(5), 3).tolist()
    assert mined["rank"].tolist() == [0, 1, 2] * 5
    tuned = SentenceEmbedder(TINY, fine_tuner=FineTuner(max_steps=2, random_state=0))
    tuned.fit(mined[TRIPLET])
    assert len(tuned.history_) == 2
    assert mine(tuned, QUERIES, POSITIVES, TEXTS)["negative_score"].tolist() != (
        mined["negative_score"].tolist()
    )


def test_margins_of_scores_train_embedder():
    mined = mine(COUNTS, QUERIES, POSITIVES, TEXTS, scorer=SharedWords())
    margins = mined["positive_score"] - mined["negative_score"]
    tuner = FineTuner("margin_mse", max_steps=2, random_state=0)
    tuned = SentenceEmbedder(TINY, fine_tuner=tuner).fit(mined[TRIPLET], margins)
    assert len(tuned.history_) == 2


def test_ties_keep_order_of_corpus():
    vectors = {name: [1.0, 0.0] for name in "qpedcba"} | {"x": [1.0, 0.1]}
    mined = mine(Places(vectors), ["q"], ["p"], list("xedpcba"), n_negatives=6)
    assert mined["negative"].tolist() == list("edcbax")
    mined = mine(
        Places(vectors), ["q"], ["p"], list("xedpcba"), range_min=1, range_max=3, n_negatives=2
    )
    assert mined["negative"].tolist() == list("dc")


def test_duplicates_in_corpus_count_once():
    mined = mine(COUNTS, ["ferry pier"], ["pier ferry"], ["ferry", "ferry", "ice", "ferry"])
    assert mined["negative"].tolist() == ["ferry", "ice"]


def test_positives_of_query_are_never_negatives():
    queries = ["ferry", "storm", "ferry", "ferry"]
    positives = ["the ferry", "a storm", "a ferry", "ferry storm"]
    mined = mine(COUNTS, queries, positives, n_negatives=5)
    assert mined[["query_row", "negative"]].values.tolist() == [
        [0, "a storm"],
        [1, "ferry storm"],
        [1, "the ferry"],
        [1, "a ferry"],
        [2, "a storm"],
        [3, "a storm"],
    ]
    assert mined["positive"].tolist() == [positives[i] for i in mined["query_row"]]


def test_query_is_not_its_own_negative():
    mined = mine(COUNTS, ["ferry", "ice"], ["pier", "net"], ["ferry", "ice", "gull"])
    assert mined["negative"].tolist() == ["ice", "gull", "ferry", "gull"]


def test_absolute_margin_is_from_positive_of_row():
    vectors = {"q": [1, 0], "p": [1, 0], "far": [0.6, 0.8], "a": [0.8, 0.6], "b": [0, 1]}
    found = mine(Places(vectors), ["q", "q"], ["p", "far"], ["a", "b"], absolute_margin=0.1)
    assert found[["query_row", "negative"]].values.tolist() == [[0, "a"], [0, "b"], [1, "b"]]
    np.testing.assert_allclose(found["positive_score"], [1, 1, 0.6], atol=1e-6)
    np.testing.assert_allclose(found["negative_score"], [0.8, 0, 0], atol=1e-6)


def test_relative_margin_is_fraction_of_score():
    vectors = {"q": [1, 0], "p": [-0.6, 0.8], "a": [-0.8, 0.6], "b": [-1, 0]}
    for margin, negatives in [(0.2, ["a", "b"]), (0.5, ["b"]), (0.7, [])]:
        found = mine(Places(vectors), ["q"], ["p"], ["a", "b"], relative_margin=margin)
        assert found["negative"].tolist() == negatives


@pytest.mark.parametrize("sampling", ["top", "random"])
def test_block_size_has_no_effect(sampling):
    rng = np.random.default_rng(0)
    # Around a few points, so close that a matrix product in float32 cannot tell the order.
    places = rng.standard_normal((8, 384))
    names = [f"text {i}" for i in range(600)]
    vectors = places[rng.integers(8, size=600)] + 1e-6 * rng.standard_normal((600, 384))
    embedder = Places(dict(zip(names, vectors, strict=True)))
    pairs = rng.permutation(names)[:120].reshape(2, 60)
    params = {"n_negatives": 30, "range_max": 40, "sampling": sampling, "random_state": 0}
    expected = mine(embedder, *pairs, names, block_size=60, **params)
    for block_size in (1, 2, 7, 59, 1000):
        found = mine(embedder, *pairs, names, block_size=block_size, **params)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_memory_is_bounded_by_block_size():
    n_queries, n_corpus, dim = 2_000, 20_000, 16
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n_queries + n_corpus, dim)).astype(np.float32)
    embedder = FunctionTransformer(lambda texts: vectors[[int(text) for text in texts]])
    texts = [str(i) for i in range(n_queries + n_corpus)]
    queries, corpus = texts[:n_queries], texts[n_queries:]
    tracemalloc.start()
    try:
        mined = mine_hard_negatives(embedder, queries, corpus[:n_queries], corpus, block_size=32)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(mined) == 3 * n_queries
    assert peak < n_queries * n_corpus * 4 / 5


def test_random_sampling_respects_limits_and_random_state():
    params = {"range_min": 2, "range_max": 20, "n_negatives": 4, "max_score": 0.93}
    embedder = SentenceEmbedder(TINY).fit(TEXTS)

    def draw(seed):
        found = mine(
            embedder, QUERIES, POSITIVES, TEXTS, sampling="random", random_state=seed, **params
        )
        return found[["query_row", "rank"]].values.tolist()

    every = mine(embedder, QUERIES, POSITIVES, TEXTS, **params | {"n_negatives": 18})
    possible = every[["query_row", "rank"]].values.tolist()
    draws = [draw(seed) for seed in range(5)]
    assert draws == [draw(seed) for seed in range(5)]
    assert all(a != b for a in draws for b in draws if a is not b)
    assert draw(np.random.RandomState(3)) == draw(np.random.RandomState(3))
    assert draw(None) != draw(None)
    for drawn in draws:
        assert drawn == sorted(drawn)
        assert all(pair in possible for pair in drawn)
        assert len(set(map(tuple, drawn))) == len(drawn)
    # Those of few are all of them, and of many each may be drawn.
    assert {tuple(pair) for seed in range(60) for pair in draw(seed)} == set(map(tuple, possible))


@pytest.mark.parametrize("seed", [None, 0])
def test_global_generators_are_unchanged(seed):
    state = np.random.mtrand._rand.get_state()[1].tolist()
    mine(COUNTS, QUERIES, POSITIVES, TEXTS, sampling="random", random_state=seed)
    assert np.random.mtrand._rand.get_state()[1].tolist() == state
