"""The embedders, scorers and texts that `mine_hard_negatives` takes, and its errors."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils._param_validation import InvalidParameterError

from sk_sentemb import FineTuner, SentenceEmbedder, mine_hard_negatives
from sk_sentemb.cache import MemoryCache
from tests.hard_negatives.data import COUNTS, POSITIVES, QUERIES, TEXTS, SharedWords, mine, words_of
from tests.helpers.tiny_models import OTHER, PROMPTED, TINY

pytestmark = pytest.mark.usefixtures("one_thread")


def test_limits_use_scores_of_scorer():
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
def test_scorer_predicts_only_needed_pairs(params, n_pairs):
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
def test_bad_scorer_raises(scores, message):
    scorer = SharedWords()
    scorer.predict = scores
    with pytest.raises(ValueError, match=message):
        mine(COUNTS, ["ferry"], ["pier"], ["ice"], scorer=scorer)


def test_unfitted_embedder_stays_unfitted():
    embedder = SentenceEmbedder(TINY)
    found = mine(embedder, QUERIES, POSITIVES, TEXTS)
    assert not hasattr(embedder, "encoder_")
    fitted = SentenceEmbedder(TINY).fit(["?"])
    pd.testing.assert_frame_equal(found, mine(fitted, QUERIES, POSITIVES, TEXTS))


def test_other_model_finds_other_negatives():
    found, others = (
        mine(SentenceEmbedder(model), QUERIES, POSITIVES, TEXTS) for model in (TINY, OTHER)
    )
    assert found["negative"].tolist() != others["negative"].tolist()


def test_query_embedder_may_have_other_prompt():
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
def test_embedder_may_be_any_transformer(embedder):
    found = mine(embedder, QUERIES, POSITIVES, TEXTS)
    fitted = embedder.fit([*TEXTS, *POSITIVES])
    vectors = fitted.transform([*found["query"], *found["negative"]])
    vectors = vectors.toarray() if hasattr(vectors, "toarray") else np.asarray(vectors)
    a, b = np.split(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 2)
    np.testing.assert_allclose(found["negative_score"], (a * b).sum(axis=1), atol=1e-5)
    for block_size in (1, 100):
        again = mine(fitted, QUERIES, POSITIVES, TEXTS, block_size=block_size)
        pd.testing.assert_frame_equal(again, found, check_exact=True)


def test_embedder_need_not_be_estimator():
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


def test_unfitted_embedder_with_fine_tuner_raises():
    embedder = SentenceEmbedder(TINY, fine_tuner=FineTuner())
    for embedder_ in (embedder, make_pipeline(embedder)):
        with pytest.raises(ValueError, match=r"embedder is not fitted and has a fine_tuner"):
            mine(embedder_, QUERIES, POSITIVES)
    with pytest.raises(ValueError, match=r"query_embedder is not fitted and has a fine_tuner"):
        mine(SentenceEmbedder(TINY), QUERIES, POSITIVES, query_embedder=embedder)


def test_embedders_of_different_dimensions_raise():
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
def test_embedder_without_embedding_for_each_text_raises(vectors, message):
    with pytest.raises(ValueError, match=message):
        mine(FunctionTransformer(vectors), QUERIES, POSITIVES)


def test_error_of_embedder_is_raised():
    with pytest.raises(InvalidParameterError, match="'missing' parameter of SentenceEmbedder"):
        mine(SentenceEmbedder(TINY, missing="never"), QUERIES, POSITIVES)


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
def test_texts_may_be_any_column(column):
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
def test_bad_texts_raise(queries, positives, corpus, message):
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
def test_bad_parameters_raise(params, message):
    with pytest.raises(ValueError, match=message):
        mine(COUNTS, QUERIES, POSITIVES, **params)


def test_few_negatives_warning_counts_rows():
    queries, positives = ["ferry", "gull", "gull"], ["ferry pier", "a gull", "ice"]
    corpus = ["ferry", "gull", "a gull", "ice", "net", "storm"]
    with pytest.warns(
        UserWarning,
        match=r"2 of 3 rows have fewer than n_negatives=4 negatives; 1 of them have none and are",
    ) as caught:
        mine_hard_negatives(COUNTS, queries, positives, corpus, absolute_margin=0.1, n_negatives=4)
    assert [warning.filename for warning in caught] == [__file__]


def test_no_negatives_give_empty_frame():
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


def test_enough_negatives_give_no_warning(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mine_hard_negatives(COUNTS, QUERIES, POSITIVES, TEXTS)
    assert capsys.readouterr() == ("", "")


def test_verbose_shows_progress_bar(capsys):
    mine_hard_negatives(COUNTS, QUERIES, POSITIVES, TEXTS, block_size=2, verbose=1)
    assert "mining: 100%" in (shown := capsys.readouterr().err)
    assert "3/3" in shown
