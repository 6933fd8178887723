"""The index with approximate backends: candidates, exact scores, changes and failures."""

import pickle
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sk_sentemb import SemanticIndex
from sk_sentemb.exceptions import IndexWarning, MissingTextWarning
from sk_sentemb.retrieval import backend_slot

WORDS = [a + b + c for a in "bdfgklmn" for b in "aeiou" for c in "lmnrst"]
RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(WORDS, 12)) for _ in range(1000)]
QUERIES = [" ".join(RNG.choice(WORDS, 12)) for _ in range(20)]
BACKENDS = ["usearch", "faiss", "faiss:HNSW16", "faiss:IVF8,Flat", "milvus"]


def to_array(X):
    return X.toarray()


def make_embedder():
    return make_pipeline(HashingVectorizer(n_features=64), FunctionTransformer(to_array))


def make_index(index, **parameters):
    if index.startswith(("faiss", "milvus")):
        pytest.importorskip("faiss" if index.startswith("faiss") else "pymilvus")
    return SemanticIndex(make_embedder(), index=index, **parameters)


def found_share(index, exact, queries=QUERIES, n=5):
    found, expected = (each.search(queries, n=n) for each in (index, exact))
    pairs = set(zip(expected["query"], expected["id"], strict=True))
    return len(pairs & set(zip(found["query"], found["id"], strict=True))) / len(pairs)


@pytest.fixture(scope="module")
def exact():
    return make_index("exact").fit(TEXTS)


@pytest.mark.parametrize("name", BACKENDS)
def test_candidates_are_scored_exactly(name, exact):
    index = make_index(name).fit(TEXTS)
    assert index.index_ == name
    assert index.recall_ >= 0.95
    assert found_share(index, exact) >= 0.95
    if name in ("faiss", "milvus"):
        pd.testing.assert_frame_equal(index.search(QUERIES), exact.search(QUERIES))
    found = index.search(QUERIES)
    queries = make_embedder().fit_transform(QUERIES).astype(np.float32)
    products = np.einsum("ij,ij->i", queries[found["query"]], index.embeddings_[found["id"]])
    np.testing.assert_allclose(found["score"], products, atol=1e-6)
    assert (found.groupby("query")["score"].diff().dropna() <= 0).all()


@pytest.mark.parametrize("name", BACKENDS)
def test_added_and_removed_documents(name, exact):
    index = make_index(name).fit(TEXTS[:500])
    index.partial_fit(TEXTS[500:])
    assert found_share(index, exact) >= 0.9
    gone = exact.search(QUERIES, n=2)["id"].unique()
    index.remove(gone)
    rest = make_index("exact").fit(TEXTS).remove(gone)
    assert not index.search(QUERIES)["id"].isin(gone).any()
    assert found_share(index, rest) >= 0.9
    index.partial_fit([TEXTS[i] for i in gone], id=[f"again {i}" for i in gone])
    assert index.search([TEXTS[gone[0]]], n=1)["id"].tolist() == [f"again {gone[0]}"]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("duplicate", [deepcopy, lambda index: pickle.loads(pickle.dumps(index))])
def test_copies_are_independent(name, duplicate):
    index = make_index(name).fit(TEXTS)
    before = index.search(QUERIES)
    copied = duplicate(index)
    pd.testing.assert_frame_equal(copied.search(QUERIES), before)
    copied.remove(before["id"].unique()).partial_fit(QUERIES)
    assert copied.search(QUERIES, n=1)["id"].tolist() == [*range(1000, 1020)]
    pd.testing.assert_frame_equal(index.search(QUERIES), before)


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.IndexWarning")
def test_too_few_candidates_are_completed_by_an_exact_search(exact):
    index = make_index("usearch", rescore=1).fit(TEXTS)
    index._slot.get(None).remove(np.arange(990))  # the backend has lost nearly all
    pd.testing.assert_frame_equal(index.search(QUERIES, n=20), exact.search(QUERIES, n=20))


def test_low_recall_is_reported():
    with pytest.warns(IndexWarning, match=r"finds \d+\.\d% of the exact nearest neighbors"):
        index = make_index("faiss:PQ1x2", rescore=1).fit(TEXTS)
    assert index.recall_ < 0.95


def test_documents_without_a_text_are_not_among_the_candidates():
    with pytest.warns(MissingTextWarning):
        index = make_index("usearch").fit([*TEXTS, None])
    with pytest.warns(MissingTextWarning):
        index.partial_fit([None, "balbal"])
    assert not index.search(QUERIES, n=200)["id"].isin([1000, 1001]).any()
    assert index.search(["balbal"], n=1)["id"].tolist() == [1002]


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.IndexWarning")
def test_filters_are_exact_with_any_backend(exact):
    index = make_index("usearch", rescore=1).fit(TEXTS)
    where = {"id": range(0, 1000, 7)}
    pd.testing.assert_frame_equal(
        index.search(QUERIES, where=where), exact.search(QUERIES, where=where)
    )


class Interruption(BaseException):
    pass


@pytest.mark.parametrize("name", ["usearch", "faiss"])
@pytest.mark.parametrize("method", ["add", "remove"])
def test_a_change_that_fails_in_the_backend_leaves_the_index_as_it_was(name, method, monkeypatch):
    # All documents are candidates, because a graph that is built again may find others.
    index = make_index(name, rescore=100).fit(TEXTS)
    before = index.search(QUERIES)
    kind = type(index._slot.get(None))
    original = getattr(kind, method)

    def interrupted(self, *arguments):
        original(self, *arguments)
        raise Interruption

    change, argument = {
        "add": (index.partial_fit, QUERIES),
        "remove": (index.remove, before["id"].unique()),
    }[method]
    monkeypatch.setattr(kind, method, interrupted)
    with pytest.raises(Interruption):
        change(argument)
    monkeypatch.undo()
    pd.testing.assert_frame_equal(index.search(QUERIES), before)
    assert index.partial_fit(QUERIES).search(QUERIES, n=1)["id"].tolist() == [*range(1000, 1020)]


def test_auto_is_exact_for_few_documents_and_usearch_for_many(monkeypatch, run_python):
    assert make_index("auto").fit(TEXTS).index_ == "exact"
    monkeypatch.setattr(backend_slot, "MOST_EXACT", 999)
    assert make_index("auto").fit(TEXTS).index_ == "usearch"


def test_without_usearch_auto_is_exact_with_a_warning(run_python):
    code = """
import sys, warnings
sys.modules["usearch"] = None
from sk_sentemb.exceptions import IndexWarning
from sk_sentemb.retrieval.backend_slot import choose_index
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert choose_index("auto", 200_000) == "exact" and not caught
    assert choose_index("auto", 200_001) == "exact"
(warning,) = caught
assert warning.category is IndexWarning and "usearch is not installed" in str(warning.message)
"""
    run_python(code)


def test_unknown_backends_are_refused():
    with pytest.raises(ValueError, match="index='annoy': pass 'auto', 'exact'"):
        make_index("annoy").fit(TEXTS)
