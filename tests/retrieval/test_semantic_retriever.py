import pickle
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import ndcg_score
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, KFold, cross_validate

from sk_sentemb import (
    CrossEncoderScorer,
    FineTuner,
    SemanticIndex,
    SemanticRetriever,
    SentenceEmbedder,
)
from sk_sentemb.cache import MemoryCache
from sk_sentemb.encoder import TextEncoder
from sk_sentemb.exceptions import IgnoredParameterWarning
from sk_sentemb.metrics import make_retrieval_scorer
from tests.helpers.tiny_models import TINY, TINY_SCORER

WORDS = ["ferry", "market", "fish", "island"]
PLACES = ["alpha", "beta", "gamma", "delta", "epsilon"]
TEXTS = [f"notes of the {word} at {place}" for word in WORDS for place in PLACES]
IDS = [f"{word}-{place}" for word in WORDS for place in PLACES]
CORPUS = pd.DataFrame({"id": IDS, "text": TEXTS, "word": np.repeat(WORDS, len(PLACES))})
QUERIES = [f"{place} {word}?" for word in WORDS for place in PLACES]
JUDGMENTS = [{IDS[i]: 2, IDS[(i + 5) % 20]: 1} for i in range(20)]
ONE_EPOCH = FineTuner(epochs=1, random_state=0)


def make_retriever(corpus=CORPUS, **parameters):
    defaults = {"embedder": SentenceEmbedder(TINY), "n_candidates": 6, "random_state": 0}
    return SemanticRetriever(corpus, **(defaults | parameters))


@pytest.fixture(scope="module")
def fitted():
    return make_retriever().fit(QUERIES, JUDGMENTS)


def count_texts(monkeypatch):
    """Count every text that reaches an encoder."""
    counts = Counter()
    encode = TextEncoder.encode

    def counting(self, texts, *args, **kwargs):
        counts.update(texts)
        return encode(self, texts, *args, **kwargs)

    monkeypatch.setattr(TextEncoder, "encode", counting)
    return counts


def test_ranking_agrees_in_all_methods(fitted):
    distances, rows = fitted.kneighbors(QUERIES, 4)
    assert (np.diff(distances, axis=1) >= 0).all()
    np.testing.assert_array_equal(fitted.predict(QUERIES), fitted.ids_[rows[:, 0]])
    found = fitted.search(QUERIES, 4)
    assert list(found) == ["query", "rank", "id", "score", "text", "word"]
    assert found["id"].tolist() == fitted.ids_[rows].ravel().tolist()
    np.testing.assert_allclose(found["score"], -distances.ravel())
    scores = fitted.decision_function(QUERIES)
    order = np.argsort(-scores, axis=1, kind="stable")
    np.testing.assert_array_equal(order[:, :4], rows)


def test_score_is_ndcg_of_the_ranking():
    retriever = make_retriever(n_candidates=20).fit(QUERIES, JUDGMENTS)
    grades = np.array([[of.get(i, 0) for i in IDS] for of in JUDGMENTS])
    order = np.argsort(-retriever.decision_function(QUERIES), axis=1, kind="stable")
    found = retriever.score(QUERIES, JUDGMENTS)
    assert found == pytest.approx(ndcg_score(grades, -np.argsort(order, axis=1), k=10))
    assert make_retrieval_scorer("ndcg@10")(retriever, QUERIES, JUDGMENTS) == pytest.approx(found)


def test_judgments_of_each_form_are_equal(fitted):
    grades = np.array([[of.get(i, 0) for i in IDS] for of in JUDGMENTS])
    sparse = make_retriever().fit(QUERIES, csr_array(grades))
    assert sparse.weights_ == fitted.weights_
    assert sparse.score(QUERIES, csr_array(grades)) == fitted.score(QUERIES, JUDGMENTS)
    lists = make_retriever().fit(QUERIES, [list(of) for of in JUDGMENTS])
    same = make_retriever().fit(QUERIES, [dict.fromkeys(of, 1) for of in JUDGMENTS])
    assert lists.weights_ == same.weights_


def test_weight_is_on_the_ranker_that_finds_the_documents(fitted):
    # The tiny embedder has random weights.
    assert list(fitted.weights_) == ["embedder", "lexical"]
    assert fitted.weights_["lexical"] >= 0.7
    assert sum(fitted.weights_.values()) == pytest.approx(1)
    assert fitted.score(QUERIES, JUDGMENTS) > make_retriever(lexical=None).fit(
        QUERIES, JUDGMENTS
    ).score(QUERIES, JUDGMENTS)


def test_embedder_alone_ranks_as_the_index():
    retriever = make_retriever(lexical=None).fit(QUERIES, JUDGMENTS)
    index = SemanticIndex(SentenceEmbedder(TINY)).fit(CORPUS)
    np.testing.assert_array_equal(
        retriever.kneighbors(QUERIES, 5, return_distance=False),
        index.kneighbors(QUERIES, 5, return_distance=False),
    )
    assert retriever.weights_ == {"embedder": 1}


def test_candidates_are_the_union_with_all_scores():
    retriever = make_retriever(n_candidates=3).fit(QUERIES)
    pool = retriever._stage.find_candidates(QUERIES, 3)
    index = SemanticIndex(SentenceEmbedder(TINY)).fit(CORPUS)
    embedded = index.kneighbors(QUERIES, 3, return_distance=False)
    lexical = retriever._stage.lexical.compute_scores(QUERIES)
    products = SentenceEmbedder(TINY).fit_transform(QUERIES) @ index.embeddings_.T
    for query, rows in enumerate(pool.rows):
        rows = rows[rows >= 0]
        best = np.argsort(-lexical[query], kind="stable")[:3]
        assert set(rows) == set(embedded[query]) | set(best)
        np.testing.assert_allclose(
            pool.scores[0, query, : len(rows)], products[query, rows], atol=1e-5
        )
        np.testing.assert_allclose(pool.scores[1, query, : len(rows)], lexical[query, rows])


@pytest.mark.parametrize("fusion", ["learned", "rrf"])
def test_without_judgments_reciprocal_ranks_are_used(fusion):
    retriever = make_retriever(fusion=fusion).fit(QUERIES)
    assert retriever.fusion_ == "rrf"
    assert retriever.weights_ == {"embedder": 1, "lexical": 1}


def test_given_weights_select_a_ranker():
    only = {"fusion": "weighted", "weights": {"lexical": 1, "embedder": 0}}
    retriever = make_retriever(lexical=TfidfVectorizer(), **only).fit(QUERIES)
    vectorizer = TfidfVectorizer().fit(TEXTS)
    scores = (vectorizer.transform(QUERIES) @ vectorizer.transform(TEXTS).T).toarray()
    np.testing.assert_array_equal(
        retriever.kneighbors(QUERIES, 1, return_distance=False)[:, 0], scores.argmax(axis=1)
    )


@pytest.mark.parametrize("weights", [{"embedder": 1}, [1], [1, -1], [0, 0], [1, np.nan]])
def test_weights_that_do_not_fit_are_an_error(weights):
    with pytest.raises(ValueError, match="weights="):
        make_retriever(fusion="weighted", weights=weights).fit(QUERIES)


def test_weights_without_effect_are_reported():
    with pytest.warns(IgnoredParameterWarning, match="weights have no effect"):
        make_retriever(weights=[1, 1]).fit(QUERIES, JUDGMENTS)


def test_corpus_is_embedded_once_over_a_search(monkeypatch):
    counts = count_texts(monkeypatch)
    retriever = make_retriever(embedder=SentenceEmbedder(TINY, cache=MemoryCache()))
    grid = {"fusion": ["learned", "rrf"], "n_candidates": [2, 4, 6, 8]}
    search = GridSearchCV(retriever, grid, cv=5).fit(QUERIES, JUDGMENTS)
    assert len(search.cv_results_["params"]) == 8
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert {text: counts[text] for text in TEXTS} == dict.fromkeys(TEXTS, 1)
    assert max(counts.values()) == 1


def test_halving_search_and_cross_validation_split_queries():
    search = HalvingGridSearchCV(
        make_retriever(), {"lexical": ["bm25", None]}, cv=2, min_resources=10, random_state=0
    ).fit(QUERIES, JUDGMENTS)
    assert search.best_params_ == {"lexical": "bm25"}
    scoring = {name: make_retrieval_scorer(name) for name in ("ndcg@10", "recall@5")}
    found = cross_validate(
        make_retriever(),
        QUERIES,
        JUDGMENTS,
        cv=KFold(4, shuffle=True, random_state=0),
        scoring=scoring,
    )
    assert found["test_recall@5"].shape == (4,)
    assert (found["test_ndcg@10"] > 0.4).all()


def test_clones_share_the_corpus(fitted):
    cloned = clone(fitted)
    assert cloned.corpus is CORPUS
    assert cloned.embedder is not fitted.embedder
    with pytest.raises(NotFittedError):
        cloned.predict(QUERIES)


def test_pickles_rank_alike(fitted):
    loaded = pickle.loads(pickle.dumps(fitted))
    pd.testing.assert_frame_equal(loaded.search(QUERIES), fitted.search(QUERIES))


def test_failed_fit_leaves_the_retriever_as_it_was():
    retriever = make_retriever().fit(QUERIES, JUDGMENTS)
    before = retriever.search(QUERIES)
    with pytest.raises(ValueError, match="not in the corpus"):
        retriever.fit(QUERIES[:1], [["no such id"]])
    pd.testing.assert_frame_equal(retriever.search(QUERIES), before)


def test_unknown_ids_are_an_error_that_names_query_and_id():
    with pytest.raises(ValueError, match=r"y\[1\] has the id 'nowhere'"):
        make_retriever().fit(QUERIES[:2], [[IDS[0]], [IDS[1], "nowhere"]])


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([], [], "0 sample"),
        (["a", None], [[IDS[0]]] * 2, "row 1 .* has no text"),
        (["a"], [[IDS[0]]] * 2, "2 queries, but X has 1"),
        (["a"], [[]], "no query of y has a relevant document"),
        (["a"], csr_array(np.ones((1, 3))), "3 columns, but the corpus has 20"),
    ],
)
def test_bad_queries_and_judgments_are_errors(X, y, message):
    with pytest.raises(ValueError, match=message):
        make_retriever().fit(X, y)


def test_queries_without_judgments_do_not_count(fitted):
    more = make_retriever().fit([*QUERIES, "no one judged this"], [*JUDGMENTS, []])
    assert more.weights_ == fitted.weights_


def test_more_neighbors_than_documents_are_an_error(fitted):
    with pytest.raises(ValueError, match="n_neighbors = 21"):
        fitted.kneighbors(QUERIES, 21)
    assert len(fitted.search(QUERIES[:1], 21)) == 20


def test_number_of_neighbors_does_not_change_their_order(fitted):
    distances, rows = fitted.kneighbors(QUERIES, 20)
    assert (np.sort(rows, axis=1) == np.arange(20)).all()
    assert (np.diff(distances, axis=1) >= 0).all()
    for n in (1, 5, 12):
        np.testing.assert_array_equal(
            fitted.kneighbors(QUERIES, n, return_distance=False), rows[:, :n]
        )


def test_filters_select_documents(fitted):
    found = fitted.search(QUERIES, 3, where={"word": "fish"})
    assert set(found["word"]) == {"fish"}
    assert found.groupby("query").size().eq(3).all()
    assert len(fitted.search(QUERIES, 7, where={"word": "fish"})) == 5 * len(QUERIES)
    assert fitted.search(QUERIES, 3, where={"word": "lighthouse"}).empty


def test_no_queries_give_empty_results(fitted):
    assert fitted.predict([]).shape == (0,)
    assert fitted.kneighbors([], 3, return_distance=False).shape == (0, 3)
    assert fitted.decision_function([]).shape == (0, 20)
    assert fitted.search([]).empty


def test_frozen_reranker_ranks_its_candidates_first():
    reranker = CrossEncoderScorer(TINY_SCORER)
    only = {"embedder": 0, "lexical": 0, "reranker": 1}
    retriever = make_retriever(
        reranker=reranker, n_reranked=4, fusion="weighted", weights=only
    ).fit(QUERIES)
    scorer = clone(reranker).fit([("a", "b")])
    found = retriever.kneighbors(QUERIES, 6, return_distance=False)
    for query, rows in zip(QUERIES, found, strict=True):
        scores = scorer.decision_function([(query, TEXTS[row]) for row in rows])
        assert (np.diff(scores[:4]) <= 0).all()
    assert retriever.first_stage_weights_ == {"embedder": 0.5, "lexical": 0.5}


def test_trained_models_are_trained_on_other_queries_for_the_weights(monkeypatch):
    seen = []
    fit = CrossEncoderScorer.fit

    def recording(self, X, y=None, **kwargs):
        seen.append(set(X["query"]))
        assert set(y) == {0, 1, 2}
        return fit(self, X, y, **kwargs)

    monkeypatch.setattr(CrossEncoderScorer, "fit", recording)
    reranker = CrossEncoderScorer(
        TINY_SCORER, fine_tuner=FineTuner("lambda", epochs=1, random_state=0)
    )
    retriever = make_retriever(reranker=reranker, cv=2).fit(QUERIES, JUDGMENTS)
    everything, *folds = seen
    assert everything == set(QUERIES)
    assert [len(fold) for fold in folds] == [10, 10]
    assert folds[0] | folds[1] == set(QUERIES)
    assert set(retriever.weights_) == {"embedder", "lexical", "reranker"}
    assert len(retriever.reranker_.history_)


def test_trained_embedder_differs_from_the_frozen_one():
    embedder = SentenceEmbedder(TINY, fine_tuner=ONE_EPOCH)
    retriever = make_retriever(embedder=embedder, cv=2).fit(QUERIES, JUDGMENTS)
    assert len(retriever.embedder_.history_)
    frozen = make_retriever().fit(QUERIES, JUDGMENTS)
    assert retriever.embedder_.fingerprint_ != frozen.embedder_.fingerprint_
    assert not hasattr(embedder, "encoder_")
    again = clone(retriever).fit(QUERIES, JUDGMENTS)
    pd.testing.assert_frame_equal(again.search(QUERIES), retriever.search(QUERIES))


@pytest.mark.parametrize(
    "parameters",
    [
        {"embedder": SentenceEmbedder(TINY, fine_tuner=ONE_EPOCH)},
        {"reranker": CrossEncoderScorer(TINY_SCORER, fine_tuner=ONE_EPOCH)},
    ],
    ids=["embedder", "reranker"],
)
def test_training_without_judgments_is_an_error(parameters):
    with pytest.raises(ValueError, match="requires judgments"):
        make_retriever(**parameters).fit(QUERIES)


def test_documents_without_a_text_are_never_found():
    corpus = [*TEXTS, None]
    with pytest.warns(UserWarning, match="1 of 21 documents have no text"):
        retriever = make_retriever(corpus, n_candidates=30).fit(QUERIES, [[i] for i in range(20)])
    assert 20 not in retriever.kneighbors(QUERIES, 20, return_distance=False)


@pytest.mark.parametrize("lexical", ["bm25", None])
def test_no_queries_have_no_results(lexical):
    corpus = ["The ferry leaves at noon.", "Fresh fish is sold at the market."]
    retriever = SemanticRetriever(corpus, embedder=SentenceEmbedder(TINY), lexical=lexical)
    retriever.fit(["ferry"])
    assert retriever.predict([]).shape == (0,)
    assert retriever.kneighbors([], 2, return_distance=False).shape == (0, 2)
    assert retriever.decision_function([]).shape == (0, 2)
    assert retriever.search([]).columns.tolist() == ["query", "rank", "id", "score", "text"]
