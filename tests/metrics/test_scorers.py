import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, get_scorer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline

from sk_sentemb import (
    PairFeatures,
    PairSimilarity,
    SemanticIndex,
    SemanticRetriever,
    SentenceEmbedder,
)
from sk_sentemb.exceptions import ModelNotFoundError
from sk_sentemb.metrics import (
    average_precision_scorer,
    make_retrieval_scorer,
    ndcg_at_k,
    pearson_scorer,
    spearman_scorer,
)
from tests.helpers.tiny_models import TINY

DOCUMENTS = pd.DataFrame(
    {
        "id": ["ferry", "fish", "museum", "boat", "bread"],
        "text": [
            "The ferry leaves at noon.",
            "Fresh fish is sold at the market.",
            "The museum is closed on Mondays.",
            "A boat crosses the river every hour.",
            "The bakery sells bread in the morning.",
        ],
    }
)
QUERIES = [
    "ferry at noon",
    "fish at the market",
    "the museum on Mondays",
    "boat on the river",
    "bread in the bakery",
    "fish on the ferry",
]
JUDGMENTS = [
    ["ferry"],
    ["fish"],
    {"museum": 2},
    ["boat", "ferry"],
    "bread",
    {"fish": 1, "ferry": 2},
]


class WordRetriever(BaseEstimator):
    """A retriever by words, whose corpus is a parameter."""

    def __init__(self, max_df=1.0):
        self.max_df = max_df

    def fit(self, X, y=None):
        self.ids_ = DOCUMENTS["id"].to_numpy()
        self.vectorizer_ = TfidfVectorizer(max_df=self.max_df)
        embedded = self.vectorizer_.fit_transform(DOCUMENTS["text"])
        self.neighbors_ = NearestNeighbors(metric="cosine").fit(embedded)
        return self

    def kneighbors(self, X, n_neighbors=None, return_distance=True):
        queries = self.vectorizer_.transform(X)
        return self.neighbors_.kneighbors(queries, n_neighbors, return_distance)


def test_scorer_has_the_metric_of_the_rankings():
    index = SemanticIndex(SentenceEmbedder(TINY)).fit(DOCUMENTS)
    found = index.search(QUERIES, 3)
    scorer = make_retrieval_scorer("ndcg@3")
    assert scorer(index, QUERIES, JUDGMENTS) == ndcg_at_k(JUDGMENTS, found, 3)
    # More than there are documents.
    assert make_retrieval_scorer("recall@100")(index, QUERIES, JUDGMENTS) == 1


@pytest.mark.filterwarnings("ignore:1 of 5 documents have no text")
def test_documents_without_a_text_are_not_found():
    documents = DOCUMENTS.assign(text=DOCUMENTS["text"].where(DOCUMENTS["id"] != "fish", None))
    index = SemanticIndex(SentenceEmbedder(TINY)).fit(documents)
    scorer = make_retrieval_scorer("recall@5")
    assert scorer(index, QUERIES[:2], JUDGMENTS[:2]) == 0.5
    with pytest.raises(ValueError, match="row 1 "):
        scorer(index, [QUERIES[0], None], JUDGMENTS[:2])


def test_cross_validation_over_queries_with_several_metrics():
    scoring = {name: make_retrieval_scorer(name) for name in ("ndcg@3", "recall@1", "mrr@5")}
    cv = KFold(3)
    results = cross_validate(
        WordRetriever(), QUERIES, JUDGMENTS, scoring=scoring, cv=cv, error_score="raise"
    )
    retriever = WordRetriever().fit(QUERIES)
    for name, scorer in scoring.items():
        expected = [
            scorer(retriever, [QUERIES[i] for i in test], [JUDGMENTS[i] for i in test])
            for _, test in cv.split(QUERIES)
        ]
        np.testing.assert_array_equal(results[f"test_{name}"], expected)
    assert results["test_mrr@5"].min() > 0.7


@pytest.mark.parametrize(
    ("retriever", "grid"),
    [
        (WordRetriever(), {"max_df": [0.3, 1.0]}),
        (
            SemanticRetriever(
                DOCUMENTS, embedder=SentenceEmbedder(TINY), lexical=TfidfVectorizer()
            ),
            {"fusion": ["rrf", "learned"]},
        ),
    ],
)
def test_grid_search(retriever, grid):
    scorer = make_retrieval_scorer("ndcg@3")
    search = GridSearchCV(retriever, grid, scoring=scorer, cv=2, error_score="raise")
    search.fit(QUERIES, JUDGMENTS)
    assert clone(search).scoring == scorer
    assert search.score(QUERIES, JUDGMENTS) == scorer(search.best_estimator_, QUERIES, JUDGMENTS)


def test_scorers_are_pickled_compared_and_shown():
    scorer = make_retrieval_scorer()
    assert pickle.loads(pickle.dumps(scorer)) == scorer == make_retrieval_scorer("ndcg@10")
    assert scorer != make_retrieval_scorer("ndcg@5")
    assert repr(scorer) == "make_retrieval_scorer('ndcg@10')"
    for other in (spearman_scorer, pearson_scorer, average_precision_scorer):
        assert repr(pickle.loads(pickle.dumps(other))) == repr(other)


def test_queries_without_relevant_documents_are_reported():
    retriever = WordRetriever().fit(QUERIES)
    with pytest.warns(UndefinedMetricWarning, match="1 of 2 queries"):
        assert make_retrieval_scorer("mrr@5")(retriever, QUERIES[:2], [["ferry"], []]) == 1


@pytest.mark.parametrize("name", ["ndcg", "ndcg@", "ndcg@x", "ndcg@0", "NDCG@10", "f1@10", 10])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match=r"pass one of .* such as 'ndcg@10'"):
        make_retrieval_scorer(name)


def test_correlations_of_the_benchmark_in_one_line(shared_data):
    try:
        model = make_pipeline(SentenceEmbedder(device="cpu"), PairSimilarity())
        pairs = pd.read_csv(
            shared_data("stsb") / "stsb-en-test.csv", names=["left", "right", "similarity"]
        )
        X, y = pairs[["left", "right"]], pairs["similarity"]
        # One fold that tests all rows.
        cv = [(np.arange(2), np.arange(len(pairs)))]
        (score,) = cross_val_score(model, X, y, scoring=spearman_scorer, cv=cv)
    except ModelNotFoundError as error:
        pytest.skip(f"{error}")
    assert score == pytest.approx(0.8203, abs=5e-5)
    assert spearman_scorer(model.fit(X), X, y) == score
    assert pearson_scorer(model, X, y) == pytest.approx(0.8274, abs=5e-4)


def test_average_precision_of_similarities_and_of_classifiers():
    pairs = [(a, b) for a in QUERIES for b in QUERIES]
    y = np.array([int(a.split()[0] == b.split()[0]) for a, b in pairs])
    similarity = make_pipeline(SentenceEmbedder(TINY), PairSimilarity()).fit(pairs)
    expected = average_precision_score(y, similarity.predict(pairs))
    assert average_precision_scorer(similarity, pairs, y) == expected
    classifier = make_pipeline(SentenceEmbedder(TINY), PairFeatures(), LogisticRegression(C=100))
    classifier.fit(pairs, y)
    expected = get_scorer("average_precision")(classifier, pairs, y)
    assert average_precision_scorer(classifier, pairs, y) == expected


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_correlation_of_a_constant_is_undefined():
    model = DummyRegressor().fit([[0], [1], [2]], [1, 2, 3])
    assert np.isnan(spearman_scorer(model, [[0], [1], [2]], [1, 2, 3]))
    assert np.isnan(pearson_scorer(model, [[0], [1], [2]], [1, 2, 3]))


@pytest.mark.parametrize("ids", [DOCUMENTS["id"].tolist(), [14, 13, 12, 11, 10]])
def test_columns_of_sparse_judgments_are_positions_of_documents(ids):
    index = SemanticIndex(SentenceEmbedder(TINY)).fit(DOCUMENTS["text"], id=ids)
    rows = [[3, 0], [1]]
    grades = np.zeros((2, 5))
    for query, relevant in enumerate(rows):
        grades[query, relevant] = 1
    expected = make_retrieval_scorer("mrr@5")(
        index, QUERIES[:2], [[ids[row] for row in relevant] for relevant in rows]
    )
    assert expected > 0
    assert make_retrieval_scorer("mrr@5")(index, QUERIES[:2], csr_array(grades)) == expected
    with pytest.raises(ValueError, match="y has 4 columns, but there are 5 documents"):
        make_retrieval_scorer()(index, QUERIES[:2], csr_array(grades[:, :4]))
