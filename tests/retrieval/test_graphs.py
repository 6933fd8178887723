"""The graph of neighbors in the estimators that take one."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN, HDBSCAN, SpectralClustering
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from sk_sentemb import SemanticIndex, SentenceEmbedder
from sk_sentemb.datasets import load_banking77_sample
from sk_sentemb.exceptions import MissingTextWarning
from tests.helpers.tiny_models import TINY
from tests.retrieval.index_data import QUERIES, TEXTS


@pytest.fixture(scope="module")
def topics():
    sample = load_banking77_sample()
    X, y = np.asarray(sample.data, dtype=object), np.asarray(sample.target)
    largest = np.unique(y)[np.argsort(np.unique(y, return_counts=True)[1])[::-1][:4]]
    chosen = np.isin(y, largest)
    return X[chosen].tolist(), y[chosen]


@pytest.fixture(scope="module")
def index(topics):
    return SemanticIndex(SentenceEmbedder("all-MiniLM-L6-v2"), n_neighbors=15).fit(topics[0])


@pytest.mark.parametrize("mode", ["connectivity", "distance"])
def test_the_graph_is_that_of_nearest_neighbors(mode):
    index = SemanticIndex(SentenceEmbedder(TINY), n_neighbors=3).fit(TEXTS)
    reference = NearestNeighbors(n_neighbors=3, metric="cosine").fit(index.embeddings_)
    queries = SentenceEmbedder(TINY).fit_transform(QUERIES)
    for found, expected in (
        (index.kneighbors_graph(mode=mode), reference.kneighbors_graph(mode=mode)),
        (
            index.kneighbors_graph(QUERIES, mode=mode),
            reference.kneighbors_graph(queries, mode=mode),
        ),
    ):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-6)
    with pytest.raises(ValueError, match="mode='weights': pass 'connectivity' or 'distance'"):
        index.kneighbors_graph(mode="weights")


def test_documents_at_no_distance_are_neighbors_and_those_without_a_text_are_not():
    with pytest.warns(MissingTextWarning):
        index = SemanticIndex(SentenceEmbedder(TINY), n_neighbors=2).fit(
            [*TEXTS[:3], TEXTS[0], None]
        )
    graph = index.kneighbors_graph(mode="distance")
    assert np.diff(graph.indptr).tolist() == [2, 2, 2, 2, 0]
    assert graph.indices[:2].tolist()[0] == 3
    assert graph.data.min() >= 0
    assert 4 not in graph.indices


def test_dbscan(index):
    from_graph = DBSCAN(eps=0.4, min_samples=4, metric="precomputed").fit(
        index.kneighbors_graph(n_neighbors=len(index.ids_) - 1, mode="distance")
    )
    expected = DBSCAN(eps=0.4, min_samples=4, metric="cosine").fit(index.embeddings_)
    np.testing.assert_array_equal(from_graph.labels_, expected.labels_)


def test_hdbscan(index):
    graph = index.kneighbors_graph(n_neighbors=len(index.ids_) - 1, mode="distance")
    # A document is its own neighbor in a matrix of distances, and not in the graph.
    hdbscan = HDBSCAN(min_cluster_size=3, min_samples=2, metric="precomputed", copy=True)
    found = hdbscan.fit(graph)
    distances = np.maximum(1 - index.embeddings_ @ index.embeddings_.T, 0).astype(float)
    np.fill_diagonal(distances, 0)
    expected = HDBSCAN(min_cluster_size=3, metric="precomputed", copy=True).fit(distances)
    assert adjusted_rand_score(expected.labels_, found.labels_) > 0.95


def test_spectral_clustering(index, topics):
    graph = index.kneighbors_graph(n_neighbors=25)
    affinity = 0.5 * (graph + graph.T)
    clusters = SpectralClustering(4, affinity="precomputed", random_state=0).fit_predict(affinity)
    assert adjusted_rand_score(topics[1], clusters) > 0.6


def test_tsne(index):
    graph = index.kneighbors_graph(n_neighbors=17, mode="distance")
    tsne = TSNE(metric="precomputed", init="random", perplexity=5, max_iter=250, random_state=0)
    found = tsne.fit_transform(graph)
    assert found.shape == (len(index.ids_), 2)
    assert np.isfinite(found).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of numba, and of UMAP about its random_state
def test_umap(index):
    umap = pytest.importorskip("umap")
    rows = np.arange(len(index.ids_))[:, np.newaxis]
    distances, neighbors = index.kneighbors(n_neighbors=9)
    # Each document is its own first neighbor there.
    knn = (np.hstack([rows, neighbors]), np.hstack([0 * rows, distances]).astype(np.float32))
    model = umap.UMAP(n_neighbors=10, precomputed_knn=knn, n_epochs=20, random_state=0)
    from_neighbors = model.fit_transform(index.embeddings_)
    graph = index.kneighbors_graph(n_neighbors=len(index.ids_) - 1, mode="distance")
    from_graph = umap.UMAP(
        n_neighbors=10, metric="precomputed", n_epochs=20, random_state=0, init="random"
    ).fit_transform(graph)
    for found in (from_neighbors, from_graph):
        assert found.shape == (len(rows), 2)
        assert np.isfinite(found).all()
