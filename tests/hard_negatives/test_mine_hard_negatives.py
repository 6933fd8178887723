import tracemalloc
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils._param_validation import InvalidParameterError

from sk_sentemb import FineTuner, SentenceEmbedder, mine_hard_negatives
from sk_sentemb.cache import MemoryCache
from sk_sentemb.exceptions import FewNegativesWarning
from tests.helpers.tiny_models import OTHER, PROMPTED, TINY

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ["ferry", "pier", "storm", "net", "ice", "market", "winter", "gull"]
TEXTS = [f"the {a} and the {b}" for a in WORDS for b in WORDS]
QUERIES = [f"where is the {word}?" for word in WORDS[:5]]
POSITIVES = [f"the {word} is here" for word in WORDS[:5]]
TRIPLET = ["query", "positive", "negative"]


class SharedWords(BaseEstimator):
    """Scores a pair by how many words its texts share."""

    n_pairs = 0

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        assert X.shape[1] == 2
        self.n_pairs += len(X)
        return np.array([len(set(a.split()) & set(b.split())) for a, b in X])


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


def words_of(texts):
    """Count words, in vectors of which many are equal."""
    counts = [[text.split().count(word) for word in WORDS] for text in texts]
    return np.array(counts, dtype=np.float32)


COUNTS = FunctionTransformer(words_of)


def exact_vectors(rng, texts, n_vectors):
    """Make vectors of length 2, whose cosines have no rounding and are often equal; some are 0."""
    vectors = np.zeros((n_vectors, 8))
    for vector in vectors[1:]:
        vector[rng.choice(8, 4, replace=False)] = rng.choice([-1, 1], 4)
    return {text: vectors[rng.integers(n_vectors)] for text in texts}


def mine(embedder, queries, positives, corpus=None, **params):
    """Mine, whatever the warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewNegativesWarning)
        return mine_hard_negatives(embedder, queries, positives, corpus, **params)


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


# What is found


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
def test_negatives_are_those_of_the_reference(corpus, params):
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
def test_any_parameters_give_what_the_reference_gives(
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


def test_sentence_transformers_finds_the_same():
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


def test_a_frame_of_triplets_fits_an_embedder():
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


def test_margins_of_scores_are_what_an_embedder_learns_from_a_teacher():
    mined = mine(COUNTS, QUERIES, POSITIVES, TEXTS, scorer=SharedWords())
    margins = mined["positive_score"] - mined["negative_score"]
    tuner = FineTuner("margin_mse", max_steps=2, random_state=0)
    tuned = SentenceEmbedder(TINY, fine_tuner=tuner).fit(mined[TRIPLET], margins)
    assert len(tuned.history_) == 2


# Texts that are the same, vectors that are the same


def test_equal_vectors_stand_in_the_order_of_the_corpus():
    vectors = {name: [1.0, 0.0] for name in "qpedcba"} | {"x": [1.0, 0.1]}
    mined = mine(Places(vectors), ["q"], ["p"], list("xedpcba"), n_negatives=6)
    assert mined["negative"].tolist() == list("edcbax")
    mined = mine(
        Places(vectors), ["q"], ["p"], list("xedpcba"), range_min=1, range_max=3, n_negatives=2
    )
    assert mined["negative"].tolist() == list("dc")


def test_a_text_counts_once():
    mined = mine(COUNTS, ["ferry pier"], ["pier ferry"], ["ferry", "ferry", "ice", "ferry"])
    assert mined["negative"].tolist() == ["ferry", "ice"]


def test_no_positive_of_a_query_is_its_negative_in_any_row():
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


def test_a_query_is_not_its_own_negative():
    mined = mine(COUNTS, ["ferry", "ice"], ["pier", "net"], ["ferry", "ice", "gull"])
    assert mined["negative"].tolist() == ["ice", "gull", "ferry", "gull"]


def test_margins_are_from_the_positive_of_each_row():
    vectors = {"q": [1, 0], "p": [1, 0], "far": [0.6, 0.8], "a": [0.8, 0.6], "b": [0, 1]}
    found = mine(Places(vectors), ["q", "q"], ["p", "far"], ["a", "b"], absolute_margin=0.1)
    assert found[["query_row", "negative"]].values.tolist() == [[0, "a"], [0, "b"], [1, "b"]]
    np.testing.assert_allclose(found["positive_score"], [1, 1, 0.6], atol=1e-6)
    np.testing.assert_allclose(found["negative_score"], [0.8, 0, 0], atol=1e-6)


def test_a_relative_margin_is_a_share_of_the_size_of_the_score():
    vectors = {"q": [1, 0], "p": [-0.6, 0.8], "a": [-0.8, 0.6], "b": [-1, 0]}
    for margin, negatives in [(0.2, ["a", "b"]), (0.5, ["b"]), (0.7, [])]:
        found = mine(Places(vectors), ["q"], ["p"], ["a", "b"], relative_margin=margin)
        assert found["negative"].tolist() == negatives


# Blocks


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


def test_memory_is_far_below_all_cosines_at_once():
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


# scorer


def test_limits_are_for_the_scores_of_a_scorer():
    corpus = ["ferry storm", "the ferry", "the ferry is near", "the ice", "the ferry is gone"]
    query, positive = "the ferry is where", "the ferry is here"
    params = {"scorer": SharedWords(), "absolute_margin": 1}
    mined = mine(COUNTS, [query], [positive], corpus, **params)
    # The nearest come first still, though others score higher.
    assert mined["negative"].tolist() == ["the ferry", "ferry storm", "the ice"]
    assert mined["positive_score"].tolist() == [3, 3, 3]
    assert mined["negative_score"].tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("params", "n_pairs"), [({}, 5 + 5 * 2), ({"max_score": 9}, 5 + 5 * 7)], ids=str
)
def test_a_scorer_sees_no_more_pairs_than_it_must(params, n_pairs):
    scorer = SharedWords()
    shape = {"range_min": 1, "range_max": 8, "n_negatives": 2}
    mine(COUNTS, QUERIES, POSITIVES, TEXTS, scorer=scorer, **shape, **params)
    assert scorer.n_pairs == n_pairs


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (lambda X: np.zeros((len(X), 3)), r"shape \(1, 3\) and dtype float64 for 1 pairs"),
        (lambda X: np.array(["yes"] * len(X)), r"shape \(1,\) and dtype <U3 for 1 pairs"),
        (lambda X: np.zeros(len(X) + 1), r"shape \(2,\)"),
        (lambda X: np.full(len(X), np.nan), r"scorer predicted nan for \['ferry', 'pier'\]"),
    ],
)
def test_a_scorer_that_gives_no_number_for_each_pair_is_an_error(scores, message):
    scorer = SharedWords()
    scorer.predict = scores
    with pytest.raises(ValueError, match=message):
        mine(COUNTS, ["ferry"], ["pier"], ["ice"], scorer=scorer)


# sampling


def test_random_negatives_are_within_the_limits_and_repeat_with_their_seed():
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
def test_global_generators_are_not_touched(seed):
    state = np.random.mtrand._rand.get_state()[1].tolist()
    mine(COUNTS, QUERIES, POSITIVES, TEXTS, sampling="random", random_state=seed)
    assert np.random.mtrand._rand.get_state()[1].tolist() == state


# embedder, query_embedder


def test_an_embedder_that_is_not_fitted_stays_so():
    embedder = SentenceEmbedder(TINY)
    found = mine(embedder, QUERIES, POSITIVES, TEXTS)
    assert not hasattr(embedder, "encoder_")
    fitted = SentenceEmbedder(TINY).fit(["?"])
    pd.testing.assert_frame_equal(found, mine(fitted, QUERIES, POSITIVES, TEXTS))


def test_another_model_finds_others():
    found, others = (
        mine(SentenceEmbedder(model), QUERIES, POSITIVES, TEXTS) for model in (TINY, OTHER)
    )
    assert found["negative"].tolist() != others["negative"].tolist()


def test_queries_may_have_another_prompt():
    embedder = SentenceEmbedder(PROMPTED)
    query_embedder = SentenceEmbedder(PROMPTED, prompt_name="query")
    found = mine(embedder, QUERIES, POSITIVES, TEXTS, query_embedder=query_embedder)
    a = query_embedder.fit_transform(found["query"])
    for name in ("positive", "negative"):
        b = embedder.fit_transform(found[name])
        cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        np.testing.assert_allclose(found[f"{name}_score"], cosines, atol=1e-5)
    assert (
        found["negative"].tolist() != mine(embedder, QUERIES, POSITIVES, TEXTS)["negative"].tolist()
    )


@pytest.mark.parametrize(
    "embedder",
    [
        TfidfVectorizer(),
        CountVectorizer(binary=True),
        make_pipeline(TfidfVectorizer(), TruncatedSVD(5, random_state=0)),
        make_pipeline(SentenceEmbedder(TINY), TruncatedSVD(5, random_state=0)),
        SentenceEmbedder(TINY).set_output(transform="pandas"),
        SentenceEmbedder(TINY, cache=None, truncate_dim=8),
    ],
    ids=str,
)
def test_any_transformer_of_texts_will_do(embedder):
    found = mine(embedder, QUERIES, POSITIVES, TEXTS)
    fitted = embedder.fit([*TEXTS, *POSITIVES])
    vectors = fitted.transform([*found["query"], *found["negative"]])
    vectors = vectors.toarray() if hasattr(vectors, "toarray") else np.asarray(vectors)
    a, b = np.split(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 2)
    np.testing.assert_allclose(found["negative_score"], (a * b).sum(axis=1), atol=1e-5)
    for block_size in (1, 100):
        again = mine(fitted, QUERIES, POSITIVES, TEXTS, block_size=block_size)
        pd.testing.assert_frame_equal(again, found, check_exact=True)


def test_a_transformer_need_not_be_an_estimator():
    class Counts:
        def transform(self, X):
            return words_of(X)

    found = mine(Counts(), QUERIES, POSITIVES, TEXTS)
    pd.testing.assert_frame_equal(found, mine(COUNTS, QUERIES, POSITIVES, TEXTS))


def test_each_text_is_embedded_once():
    cache = MemoryCache()
    mine(
        SentenceEmbedder(TINY, cache=cache),
        QUERIES * 2,
        POSITIVES * 2,
        [*TEXTS, *POSITIVES, *TEXTS],
    )
    statistics = cache.statistics()
    assert statistics.n_texts == len(TEXTS) + 5 + 5
    assert statistics.n_embedded == statistics.n_texts


def test_an_embedder_that_would_be_fine_tuned_first_is_an_error():
    embedder = SentenceEmbedder(TINY, fine_tuner=FineTuner())
    for embedder_ in (embedder, make_pipeline(embedder)):
        with pytest.raises(ValueError, match=r"embedder is not fitted and has a fine_tuner"):
            mine(embedder_, QUERIES, POSITIVES)
    with pytest.raises(ValueError, match=r"query_embedder is not fitted and has a fine_tuner"):
        mine(SentenceEmbedder(TINY), QUERIES, POSITIVES, query_embedder=embedder)


def test_embedders_of_different_dimensions_are_an_error():
    shorter = SentenceEmbedder(TINY, truncate_dim=8)
    with pytest.raises(
        ValueError, match="query_embedder returns embeddings of 8 dimensions, but embedder of 32"
    ):
        mine(SentenceEmbedder(TINY), QUERIES, POSITIVES, query_embedder=shorter)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (lambda texts: np.ones((1, 3)), "embedder returned 1 embeddings for 5 texts"),
        (lambda texts: np.full((len(texts), 3), np.nan), "the output of embedder contains NaN"),
    ],
)
def test_an_embedder_without_vectors_for_the_texts_is_an_error(vectors, message):
    with pytest.raises(ValueError, match=message):
        mine(FunctionTransformer(vectors), QUERIES, POSITIVES)


def test_an_error_of_the_embedder_is_its_own():
    with pytest.raises(InvalidParameterError, match="'missing' parameter of SentenceEmbedder"):
        mine(SentenceEmbedder(TINY, missing="never"), QUERIES, POSITIVES)


# What is read


@pytest.mark.parametrize(
    "column",
    [
        tuple,
        np.array,
        pd.Series,
        pl.Series,
        lambda texts: pd.Series(texts, index=range(7, 7 + len(texts)), name="text"),
        lambda texts: pd.DataFrame({"text": texts}),
    ],
)
def test_texts_are_any_column(column):
    found = mine(COUNTS, column(QUERIES), column(POSITIVES), column(TEXTS))
    pd.testing.assert_frame_equal(found, mine(COUNTS, QUERIES, POSITIVES, TEXTS))


@pytest.mark.parametrize(
    ("queries", "positives", "corpus", "message"),
    [
        (["ferry"] * 3, ["pier"] * 2, None, "queries has 3 rows, but positives has 2"),
        (["ferry", None], ["ice", "net"], None, r"row 1 of queries has no text \(1 of 2 rows"),
        (["ferry", "gull"], ["ice", np.nan], None, r"row 1 of positives has no text"),
        (["ferry"], ["ice"], [pd.NA, "ice", None], r"row 0 of corpus has no text \(2 of 3 rows"),
        ([], [], None, "queries has no rows"),
        (["ferry"], ["ice"], [], "corpus has no rows"),
        (["ferry"], ["ice"], [["ice", "net"]], "corpus has 2 columns"),
        (["ferry"], "ice", None, r"string object received\. Pass \[positives\]"),
        (["ferry"], ["ice"], {"ice"}, "corpus is of type set"),
        (
            ["ferry"],
            ["ice"],
            None,
            "corpus has no possible negatives: each of its 1 distinct texts",
        ),
        (
            ["ferry"] * 2,
            ["ice", "net"],
            ["net", "ferry", "ice"],
            "corpus has no possible negatives",
        ),
        (["ferry", "gull"], ["gull", "ferry"], None, "corpus has no possible negatives"),
    ],
)
def test_texts_that_cannot_be_used_are_an_error(queries, positives, corpus, message):
    with pytest.raises((ValueError, TypeError), match=message):
        mine(COUNTS, queries, positives, corpus)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_negatives": 0}, "'n_negatives' parameter of mine_hard_negatives .* Got 0"),
        ({"range_min": -1}, "'range_min' parameter of mine_hard_negatives .* Got -1"),
        ({"range_max": 1.5}, "'range_max' parameter"),
        ({"range_min": 9, "range_max": 3}, "range_min=9 and range_max=3 leave 0 texts, but n_neg"),
        ({"range_max": 2}, "range_min=0 and range_max=2 leave 2 texts, but n_negatives=3"),
        ({"min_score": 0.5, "max_score": 0.4}, "min_score=0.5 is greater than max_score=0.4"),
        ({"max_score": "high"}, "'max_score' parameter"),
        ({"absolute_margin": np.nan}, "'absolute_margin' parameter"),
        ({"sampling": "best"}, "'sampling' parameter"),
        ({"block_size": 0}, "'block_size' parameter"),
        ({"scorer": SentenceEmbedder(TINY)}, "'scorer' parameter .* implementing 'predict'"),
        ({"query_embedder": TINY}, "'query_embedder' parameter .* implementing 'transform'"),
        ({"random_state": "a"}, "'random_state' parameter"),
    ],
    ids=str,
)
def test_parameters_out_of_range_are_an_error(params, message):
    with pytest.raises(ValueError, match=message):
        mine(COUNTS, QUERIES, POSITIVES, **params)


# What is said


def test_rows_with_too_few_negatives_are_counted():
    queries, positives = ["ferry", "gull", "gull"], ["ferry pier", "a gull", "ice"]
    corpus = ["ferry", "gull", "a gull", "ice", "net", "storm"]
    with pytest.warns(
        UserWarning,
        match=r"2 of 3 rows have fewer than n_negatives=4 negatives; 1 of them have none and are",
    ) as caught:
        mine_hard_negatives(COUNTS, queries, positives, corpus, absolute_margin=0.1, n_negatives=4)
    assert [warning.filename for warning in caught] == [__file__]


def test_no_negatives_at_all_are_an_empty_frame_of_the_same_columns():
    some = mine(COUNTS, QUERIES, POSITIVES, TEXTS)
    with pytest.warns(UserWarning, match="5 of 5 rows .*; 5 of them have none and are left out"):
        none = mine_hard_negatives(COUNTS, QUERIES, POSITIVES, TEXTS, max_score=-2)
    with pytest.warns(UserWarning, match="5 of 5 rows .*; 5 of them have none and are left out"):
        beyond = mine_hard_negatives(
            *[COUNTS, QUERIES, POSITIVES, TEXTS], range_min=99, range_max=200, scorer=SharedWords()
        )
    for empty in (none, beyond):
        assert len(empty) == 0
        pd.testing.assert_frame_equal(empty, some[:0])


def test_enough_negatives_need_no_words(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mine_hard_negatives(COUNTS, QUERIES, POSITIVES, TEXTS)
    assert capsys.readouterr() == ("", "")


def test_verbose_shows_a_bar(capsys):
    mine_hard_negatives(COUNTS, QUERIES, POSITIVES, TEXTS, block_size=2, verbose=1)
    assert "mining: 100%" in (shown := capsys.readouterr().err)
    assert "3/3" in shown
