import numpy as np
import pytest

from sk_sentemb import _bfloat16_products
from sk_sentemb._bfloat16_products import Bfloat16Products
from sk_sentemb._exact_search import find_nearest, rescore


def make_embeddings(n, dim=24, seed=0):
    embeddings = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def sort_all(queries, documents, n_neighbors):
    """The definition: sort all products in float64, equal ones by row."""
    products = np.array([[np.float64(q) @ np.float64(d) for d in documents] for q in queries])
    products = products.round(12)  # a product of equal embeddings is equal
    order = np.argsort(-products, axis=1, kind="stable")[:, :n_neighbors]
    return order, np.take_along_axis(products, order, axis=1)


@pytest.mark.parametrize("n_documents", [1, 7, 300, 5000])
@pytest.mark.parametrize("n_neighbors", [1, 10])
def test_nearest_are_those_of_a_full_sort(n_documents, n_neighbors):
    queries, documents = make_embeddings(30, seed=1), make_embeddings(n_documents)
    rows, scores = find_nearest(queries, documents, n_neighbors)
    expected, products = sort_all(queries, documents, n_neighbors)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, products, atol=1e-7)
    assert scores.dtype == np.float32


@pytest.mark.parametrize("n_repeats", [2, 30, 500])
def test_equal_documents_are_in_the_order_of_their_rows(n_repeats):
    queries, distinct = make_embeddings(20, seed=1), make_embeddings(40)
    documents = np.tile(distinct, (n_repeats, 1))
    rows, _ = find_nearest(queries, documents, 12)
    expected, _ = sort_all(queries, distinct, 12)
    for found, best in zip(rows, expected, strict=True):
        in_order = (best[:, np.newaxis] + 40 * np.arange(n_repeats)).ravel()
        np.testing.assert_array_equal(found, in_order[:12])


def test_only_rows_are_considered():
    queries, documents = make_embeddings(20, seed=1), make_embeddings(4000)
    rows = np.sort(np.random.default_rng(2).choice(4000, 900, replace=False))
    found, scores = find_nearest(queries, documents, 5, rows=rows)
    expected, expected_scores = find_nearest(queries, documents[rows], 5)
    np.testing.assert_array_equal(found, rows[expected])
    np.testing.assert_array_equal(scores, expected_scores)


def test_results_do_not_depend_on_the_other_queries(monkeypatch):
    queries, documents = make_embeddings(50, seed=1), make_embeddings(3000)
    rows, scores = find_nearest(queries, documents, 10)
    for i in (0, 49):
        alone = find_nearest(queries[i : i + 1], documents, 10)
        np.testing.assert_array_equal(alone[0][0], rows[i])
        np.testing.assert_array_equal(alone[1][0], scores[i])
    monkeypatch.setattr("sk_sentemb._exact_search._N_DOCUMENTS", 100)
    in_blocks = find_nearest(queries, documents, 10)
    np.testing.assert_array_equal(in_blocks[0], rows)
    np.testing.assert_array_equal(in_blocks[1], scores)


def test_products_of_any_norm_are_ranked():
    rng = np.random.default_rng(0)
    documents = make_embeddings(3000) * rng.lognormal(sigma=3, size=(3000, 1)).astype(np.float32)
    queries = 1e3 * make_embeddings(20, seed=1)
    rows, scores = find_nearest(queries, documents, 10)
    products = np.float64(queries) @ np.float64(documents).T
    np.testing.assert_array_equal(rows, np.argsort(-products, axis=1)[:, :10])
    np.testing.assert_allclose(scores, np.take_along_axis(products, rows, axis=1), rtol=1e-6)


def test_memory_maps_are_read_as_they_are(tmp_path):
    queries, documents = make_embeddings(5, seed=1), make_embeddings(500)
    np.save(tmp_path / "documents.npy", documents)
    mapped = np.load(tmp_path / "documents.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        find_nearest(queries, mapped, 3)[0], find_nearest(queries, documents, 3)[0]
    )


def test_no_queries_and_no_rows():
    documents = make_embeddings(5)
    assert find_nearest(documents[:0], documents, 3)[0].shape == (0, 3)
    none = find_nearest(documents, documents, 3, rows=np.array([], dtype=int))
    assert none[0].shape == none[1].shape == (5, 0)


def test_rescoring_orders_candidates_and_puts_absent_ones_last():
    documents = make_embeddings(50)
    candidates = np.array([[3, -1, 7, 9], [-1, -1, 4, 2]])
    rows, scores = rescore(documents[[7, 2]], documents, candidates, 3)
    assert rows[0, 0] == 7
    assert rows[1, 0] == 2
    assert (rows[1] == [2, 4, -1]).all()
    assert scores[1, 2] == -np.inf
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-6)


@pytest.fixture
def in_bfloat16(monkeypatch):
    """Round to bfloat16 on any CPU, also for few queries; count the queries that were."""
    pytest.importorskip("torch")
    counts = []
    init = Bfloat16Products.__init__

    def counted(self, queries):
        counts.append(len(queries))
        init(self, queries)

    monkeypatch.setattr(_bfloat16_products, "_MIN_PRODUCTS", 1)
    monkeypatch.setattr(_bfloat16_products, "_cpu_multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(Bfloat16Products, "__init__", counted)
    return counts


def make_case(case):
    queries, documents = make_embeddings(70, seed=1), make_embeddings(20_000)
    if case == "norms":
        documents *= np.random.default_rng(2).lognormal(sigma=2, size=(20_000, 1))
        queries *= 1e3
    elif case == "equal":
        documents = np.tile(documents[:300], (60, 1))
    elif case == "nearly equal":
        rng = np.random.default_rng(2)
        documents = documents[:20].repeat(1000, axis=0)
        documents += rng.normal(scale=1e-4, size=documents.shape)
    elif case == "zeros":
        documents[::2] = 0
        queries[::2] = 0
    elif case == "negative":
        documents = -np.abs(documents)
        queries = np.abs(queries)
    return queries.astype(np.float32), documents.astype(np.float32)


@pytest.mark.parametrize("case", ["unit", "norms", "equal", "nearly equal", "zeros", "negative"])
def test_rounding_to_bfloat16_changes_no_result(case, in_bfloat16):
    queries, documents = make_case(case)
    few = [find_nearest(queries[i : i + 10], documents, 10) for i in range(0, 70, 10)]
    assert not in_bfloat16
    rows, scores = find_nearest(queries, documents, 10)
    assert in_bfloat16 == [70]
    np.testing.assert_array_equal(rows, np.vstack([f[0] for f in few]))
    np.testing.assert_array_equal(scores, np.vstack([f[1] for f in few]))


@pytest.mark.parametrize("case", ["unit", "norms", "zeros", "negative"])
def test_the_error_of_bfloat16_is_within_its_bound(case, in_bfloat16):
    pytest.importorskip("torch")
    queries, documents = make_case(case)
    products = Bfloat16Products(queries)
    columns, values = products.find_largest(documents[:2000], 2000)
    exact = queries.astype(np.float64) @ documents[:2000].T.astype(np.float64)
    exact = np.take_along_axis(exact, columns, axis=1)
    max_norm = float(np.linalg.norm(documents[:2000], axis=1).max())
    bound = products.bound_error(max_norm, np.abs(values).max(axis=1))
    assert (np.abs(values - exact) <= bound[:, np.newaxis]).all()


def test_read_only_memory_maps_are_rounded_too(in_bfloat16, tmp_path):
    queries, documents = make_case("unit")
    np.save(tmp_path / "documents.npy", documents)
    mapped = np.load(tmp_path / "documents.npy", mmap_mode="r")
    rows, scores = find_nearest(queries, mapped, 10)
    assert in_bfloat16 == [70]
    expected = find_nearest(queries, documents, 10)
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_array_equal(scores, expected[1])
