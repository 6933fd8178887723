"""`rank` and `rerank` of CrossEncoderScorer."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from sk_sentemb import CrossEncoderScorer
from sk_sentemb.cache import MemoryCache
from tests.checks.data import PAIRS
from tests.cross_encoder.data import DOCUMENTS, GRID, QUERIES
from tests.helpers.tiny_models import TINY_SCORER, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def naive(scorer, queries, candidates, top_k=None):
    rows = []
    for i, (query, documents) in enumerate(zip(queries, candidates, strict=True)):
        scores = [float(scorer.predict([(query, document)])[0]) for document in documents]
        order = sorted(range(len(documents)), key=lambda j, scores=scores: -scores[j])
        rows += [(i, j, scores[j], documents[j]) for j in order[:top_k]]
    return pd.DataFrame(rows, columns=["query", "index", "score", "document"])


CANDIDATES = [DOCUMENTS, DOCUMENTS[:1], [], [*DOCUMENTS, *DOCUMENTS], DOCUMENTS[::-1]]


@pytest.mark.parametrize("top_k", [None, 1, 3, 100])
@pytest.mark.parametrize("symmetric", [False, True])
def test_rerank_equals_loop_over_queries(top_k, symmetric):
    scorer = CrossEncoderScorer(TINY_SCORER, symmetric=symmetric).fit(PAIRS)
    expected = naive(scorer, QUERIES, CANDIDATES, top_k)
    found = scorer.rerank(QUERIES, CANDIDATES, top_k=top_k, return_documents=True)
    pd.testing.assert_frame_equal(
        found, expected, check_dtype=False, check_exact=False, rtol=0, atol=1e-6
    )
    without = scorer.rerank(QUERIES, CANDIDATES, top_k=top_k)
    assert list(without.columns) == ["query", "index", "score"]
    assert without["score"].dtype == np.float32
    assert without.index.tolist() == list(range(len(without)))


def test_rank_equals_rerank_of_one_query(scorer):
    ranking = scorer.rank(QUERIES[0], DOCUMENTS, return_documents=True)
    expected = naive(scorer, QUERIES[:1], [DOCUMENTS]).drop(columns="query")
    pd.testing.assert_frame_equal(
        ranking, expected, check_dtype=False, check_exact=False, rtol=0, atol=1e-6
    )
    assert ranking["score"].is_monotonic_decreasing
    best = scorer.rank(QUERIES[0], DOCUMENTS, top_k=2)
    pd.testing.assert_frame_equal(best, ranking.drop(columns="document")[:2])


def test_rank_keeps_order_of_equal_scores(scorer):
    ranking = scorer.rank("the ferry", ["the pier", "?", "the pier", "?", "the pier"])
    of_text = [ranking["index"][ranking["index"] % 2 == parity].tolist() for parity in (0, 1)]
    assert of_text == [[0, 2, 4], [1, 3]]
    assert ranking["score"].nunique() == 2


@pytest.mark.parametrize(
    "make",
    [tuple, np.array, pd.Series, pl.Series, lambda texts: pd.DataFrame({"text": texts})],
)
def test_rerank_accepts_any_container(scorer, make):
    expected = scorer.rerank(QUERIES, [DOCUMENTS] * 5)
    found = scorer.rerank(make(QUERIES), [make(DOCUMENTS)] * 5)
    pd.testing.assert_frame_equal(found, expected)
    pd.testing.assert_frame_equal(scorer.rerank(QUERIES, np.array([DOCUMENTS] * 5)), expected)


def test_rerank_without_candidates_returns_no_rows(scorer):
    for return_documents in (False, True):
        for queries, candidates in ((QUERIES[:2], [[], []]), ([], [])):
            ranking = scorer.rerank(queries, candidates, return_documents=return_documents)
            assert len(ranking) == 0
            assert list(ranking.columns)[:3] == ["query", "index", "score"]
        assert len(scorer.rank("the ferry", [], return_documents=return_documents)) == 0


def test_rerank_missing_documents_follow_policy():
    documents = ["the pier", None, "?", np.nan]
    last = CrossEncoderScorer(TINY_SCORER, missing="nan").fit(PAIRS)
    ranking = last.rank("the ferry", documents, return_documents=True)
    assert ranking["index"].tolist()[2:] == [1, 3]
    assert np.isnan(ranking["score"]).tolist() == [False, False, True, True]
    assert ranking["document"].isna().tolist() == [False, False, True, True]
    assert np.isnan(last.rerank([None], [["a", "b"]])["score"]).all()
    empty = clone(last).set_params(missing="empty").fit(PAIRS)
    found = empty.rank("the ferry", documents).sort_values("index")["score"]
    assert_same_rows(found, empty.predict([("the ferry", d) for d in ("the pier", "", "?", "")]))
    error = clone(last).set_params(missing="error").fit(PAIRS)
    with pytest.raises(ValueError, match=r"documents\[1\] has no text\. Leave it out, or pass"):
        error.rank("the ferry", documents)
    with pytest.raises(ValueError, match=r"candidates\[1\]\[2\] has no text"):
        error.rerank(QUERIES[:2], [DOCUMENTS, ["a", "b", None]])
    with pytest.raises(ValueError, match=r"X\[1\] has no text"):
        error.rerank([QUERIES[0], None], [DOCUMENTS] * 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.rank(None, DOCUMENTS), TypeError, "query is of type NoneType. Pass one str"),
        (lambda s: s.rank(QUERIES, DOCUMENTS), TypeError, "query is of type list. Pass one str"),
        (lambda s: s.rank("a", "documents"), TypeError, "documents is a single str"),
        (lambda s: s.rank("a", [["a", "b"]]), ValueError, "documents has 2 columns"),
        (lambda s: s.rank("a", DOCUMENTS, top_k=0), ValueError, "top_k=0: pass an int above 0"),
        (lambda s: s.rank("a", DOCUMENTS, top_k=1.5), ValueError, "top_k=1.5: pass an int"),
        (lambda s: s.rerank("a", [DOCUMENTS]), TypeError, "X is a single str"),
        (lambda s: s.rerank(QUERIES, DOCUMENTS), TypeError, r"candidates\[0\] is a single str"),
        (
            lambda s: s.rerank(["a"], None),
            TypeError,
            "candidates is of type NoneType. Pass a list with",
        ),
        (
            lambda s: s.rerank(["a"], [None]),
            TypeError,
            r"candidates\[0\] is of type",
        ),
        (lambda s: s.rerank(["a", "b"], {0: ["a"]}), TypeError, "candidates is of type dict"),
        (
            lambda s: s.rerank(["a"], pl.DataFrame({"first": ["b"], "second": ["c"]})),
            TypeError,
            "candidates is of type DataFrame",
        ),
        (lambda s: s.rank("a", None), TypeError, "documents is of type NoneType"),
        (lambda s: s.rank("a", ["b"], top_k=True), ValueError, "top_k=True: pass an int"),
        (
            lambda s: (
                clone(s)
                .set_params(long_text="error")
                .fit(PAIRS)
                .rerank(["a", "b"], [["x"], ["y", "market " * 600]])
            ),
            ValueError,
            "document 1 of query 1 has more than",
        ),
        (lambda s: s.rerank(QUERIES, [DOCUMENTS]), ValueError, "1 lists .* there are 5 queries"),
        (lambda s: s.rerank(PAIRS, [DOCUMENTS] * 8), ValueError, "X has 2 columns. Pass one"),
    ],
)
def test_rank_and_rerank_reject_bad_input(scorer, call, error, message):
    with pytest.raises(error, match=message):
        call(scorer)


def test_rerank_encodes_each_pair_once():
    cache = MemoryCache()
    scorer = CrossEncoderScorer(TINY_SCORER, cache=cache).fit(PAIRS)
    scorer.rerank(QUERIES, [DOCUMENTS * 2] * 5)
    for query in QUERIES:
        scorer.rank(query, DOCUMENTS)
    scorer.predict(GRID)
    assert cache.statistics().misses == len(GRID)


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from(DOCUMENTS), max_size=4), max_size=4), st.integers(1, 5))
def test_rerank_of_any_candidates(candidates, top_k):
    scorer = CrossEncoderScorer(TINY_SCORER).fit(PAIRS)
    queries = QUERIES[: len(candidates)]
    found = scorer.rerank(queries, candidates, top_k=top_k)
    expected = naive(scorer, queries, candidates, top_k)
    assert found["query"].tolist() == expected["query"].tolist()
    assert_same_rows(found["score"], expected["score"].astype(float))
