import pickle
from copy import copy, deepcopy

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline

from sk_sentemb import SemanticIndex, SentenceEmbedder
from tests.helpers.tiny_models import TINY
from tests.retrieval.index_data import QUERIES, TEXTS, make_frame


@pytest.fixture
def index():
    return SemanticIndex(SentenceEmbedder(TINY)).fit(make_frame())


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_kneighbors_are_those_of_nearest_neighbors(metric):
    index = SemanticIndex(SentenceEmbedder(TINY, normalize=False), metric=metric).fit(TEXTS)
    embeddings = SentenceEmbedder(TINY, normalize=False).fit_transform(TEXTS)
    queries = SentenceEmbedder(TINY, normalize=False).fit_transform(QUERIES)
    if metric == "cosine":
        expected, rows = NearestNeighbors(metric="cosine").fit(embeddings).kneighbors(queries, 3)
    else:
        expected = -queries @ embeddings.T
        rows = np.argsort(expected, axis=1)[:, :3]
        expected = np.take_along_axis(expected, rows, axis=1)
    distances, found = index.kneighbors(QUERIES, 3)
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_allclose(distances, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(index.kneighbors(QUERIES, 3, return_distance=False), rows)


def test_documents_are_not_their_own_neighbors(index):
    expected = NearestNeighbors(metric="cosine").fit(index.embeddings_).kneighbors(n_neighbors=4)
    distances, rows = index.kneighbors(n_neighbors=4)
    np.testing.assert_array_equal(rows, expected[1])
    np.testing.assert_allclose(distances, expected[0], atol=1e-6)


def test_search_returns_a_row_per_document_found(index):
    found = index.search(QUERIES, n=2)
    assert list(found) == ["query", "rank", "id", "score", "text", "stars"]
    assert found["query"].tolist() == [0, 0, 1, 1]
    assert found["rank"].tolist() == [1, 2, 1, 2]
    distances, rows = index.kneighbors(QUERIES, 2)
    assert found["id"].tolist() == index.ids_[rows].ravel().tolist()
    np.testing.assert_allclose(found["score"], 1 - distances.ravel(), atol=1e-6)
    documents = make_frame().set_index("id").loc[found["id"]]
    assert found["text"].tolist() == documents["text"].tolist()
    assert found["stars"].tolist() == documents["stars"].tolist()


def test_search_returns_as_many_as_there_are_and_kneighbors_says_so(index):
    assert len(index.search(QUERIES)) == 2 * len(TEXTS)
    with pytest.raises(ValueError, match="n_neighbors = 10, and 5 documents can be found"):
        index.kneighbors(QUERIES)
    with pytest.raises(ValueError, match="no document is its own neighbor"):
        index.kneighbors(n_neighbors=5)


def test_fitted_attributes(index):
    assert index.ids_.tolist() == list("abcde")
    assert index.embeddings_.shape == (5, index.embedding_dim_)
    assert index.embeddings_.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(index.embeddings_, axis=1), 1, atol=1e-6)
    assert (index.n_samples_fit_, index.index_, index.recall_) == (5, "exact", None)
    assert index.fingerprint_ == index.embedder_.fingerprint_
    pd.testing.assert_frame_equal(index.documents_, make_frame(), check_dtype=False)


def test_other_dense_transformers_embed(index):
    embedder = make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0))
    index = SemanticIndex(embedder).fit(TEXTS)
    assert index.search(["a fixed rate"], n=1)["text"].tolist() == ["Loans have a fixed rate."]
    assert index.ids_.tolist() == [0, 1, 2, 3, 4]
    assert not hasattr(embedder[0], "vocabulary_")


@pytest.mark.parametrize(
    "duplicate", [copy, deepcopy, lambda index: pickle.loads(pickle.dumps(index))]
)
def test_copies_find_the_same(index, duplicate):
    pd.testing.assert_frame_equal(duplicate(index).search(QUERIES), index.search(QUERIES))


def test_clones_are_not_fitted_and_nested_parameters_are_set(index):
    fresh = clone(index)
    assert not hasattr(fresh, "documents_")
    fresh.set_params(embedder__normalize=False, metric="dot", n_neighbors=2)
    assert fresh.get_params()["embedder__normalize"] is False
    assert fresh.fit(TEXTS).kneighbors(QUERIES, return_distance=False).shape == (2, 2)
