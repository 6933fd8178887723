"""Added and removed documents, another fit, quantized embeddings, and what is embedded meanwhile."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.model_selection import ParameterGrid

from sk_sentemb import SemanticIndex, SentenceEmbedder
from sk_sentemb.encoder import TextEncoder
from sk_sentemb.exceptions import TruncationWarning
from sk_sentemb.retrieval import text_embedding
from tests.helpers.tiny_models import TINY
from tests.retrieval.index_data import QUERIES, TEXTS, make_frame

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def encoded(monkeypatch):
    """Return the texts that reach the model."""
    texts, encode = [], TextEncoder.encode

    def record(self, batch, **how):
        texts.extend(text for text in batch if text != "a harbour \U0001f642 \ue000")  # a check
        return encode(self, batch, **how)

    monkeypatch.setattr(TextEncoder, "encode", record)
    return texts


def make_index(**parameters):
    return SemanticIndex(SentenceEmbedder(TINY), **parameters)


def assert_same_index(found, expected):
    np.testing.assert_allclose(found.embeddings_, expected.embeddings_, atol=1e-6)
    pd.testing.assert_frame_equal(found.documents_, expected.documents_)
    pd.testing.assert_frame_equal(found.search(QUERIES), expected.search(QUERIES), atol=1e-6)


def test_added_documents_are_found_like_those_of_fit(encoded):
    frame = make_frame()
    index = make_index().fit(frame[:3])
    encoded.clear()
    index.partial_fit(frame[3:].reset_index(drop=True))
    assert sorted(encoded) == sorted(TEXTS[3:])
    assert_same_index(index, make_index().fit(frame))
    assert_same_index(make_index().partial_fit(frame), index)


def test_removed_documents_are_as_if_they_had_never_been_there():
    frame = make_frame()
    index = make_index().fit(frame).remove(["b", "e", "b"])
    assert_same_index(index, make_index().fit(frame[frame["id"].isin(list("acd"))]))
    index.partial_fit(frame[frame["id"] == "b"])
    assert index.ids_.tolist() == list("acdb")
    assert index.search([TEXTS[1]], n=1)["id"].tolist() == ["b"]


def test_default_ids_are_not_used_twice():
    index = make_index().fit(TEXTS).remove([4, 0]).partial_fit(["new", "newer"])
    assert index.ids_.tolist() == [1, 2, 3, 5, 6]
    assert index.partial_fit(["newest"], id=[20]).partial_fit(["last"]).ids_.tolist()[-2:] == [
        20,
        21,
    ]
    assert index.fit(TEXTS).partial_fit(["new"]).ids_.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda index: index.partial_fit(make_frame()),
            "id 'a' of row 0 is already in the index, in row 0",
        ),
        (
            lambda index: index.partial_fit(make_frame(id=list("fghif"))),
            "'f' occurs twice, in the rows 0 and 4",
        ),
        (
            lambda index: index.partial_fit(["text"]),
            "the ids of the index are not integers, such as 'a'",
        ),
        (lambda index: index.partial_fit(["text"], id=["z"]), "columns"),
        (lambda index: index.partial_fit(make_frame(id=list("fghij"), more=1)), "columns"),
        (lambda index: index.remove(["a", "z"]), "1 ids that are not in the index, such as 'z'"),
        (lambda index: index.remove(list("abcde")), "all documents"),
        (lambda index: index.fit([]), "empty"),
    ],
)
def test_changes_that_fail_leave_the_index_as_it_was(change, match):
    index = make_index().fit(make_frame())
    state, before = dict(vars(index)), index.search(QUERIES)
    with pytest.raises(ValueError, match=match):
        change(index)
    assert vars(index).keys() == state.keys()
    assert all(vars(index)[name] is value for name, value in state.items())
    pd.testing.assert_frame_equal(index.search(QUERIES), before)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_interrupted_fit_leaves_the_index_as_it_was(method, monkeypatch):
    index = make_index().fit(TEXTS)
    before = index.search(QUERIES)

    def interrupted(*arguments, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr(TextEncoder, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(index, method)(["another text"])
    monkeypatch.undo()
    pd.testing.assert_frame_equal(index.search(QUERIES), before)


def test_a_fit_to_changed_documents_embeds_those_alone(encoded):
    texts = [f"document {i} of the ferry market" for i in range(500)]
    index = make_index().fit(texts)
    assert len(encoded) == 500
    encoded.clear()
    changed = [f"changed {text}" if i % 100 == 7 else text for i, text in enumerate(texts)]
    assert_same_index(index.fit(changed), make_index(index="exact").fit(changed))
    assert sorted(encoded) == sorted([*(text for text in changed if "changed" in text), *QUERIES])


def test_each_distinct_text_is_embedded_once(encoded):
    make_index().fit([*TEXTS, *TEXTS, TEXTS[0]])
    assert sorted(encoded) == sorted(TEXTS)


def test_blocks_of_texts_make_no_difference(monkeypatch):
    texts = [*TEXTS, *reversed(TEXTS), "another", TEXTS[2]]
    expected = make_index().fit(texts)
    monkeypatch.setattr(text_embedding, "_BLOCK_TEXTS", 2)
    assert_same_index(make_index().fit(texts), expected)


def test_truncated_texts_of_all_blocks_are_reported_once(monkeypatch):
    monkeypatch.setattr(text_embedding, "_BLOCK_TEXTS", 2)
    embedder = SentenceEmbedder(TINY, max_length=4)
    with pytest.warns(TruncationWarning) as caught:
        SemanticIndex(embedder).fit([*TEXTS, TEXTS[0], "a"])
    assert [str(w.message).partition(" exceed")[0] for w in caught] == ["5 of 6 texts"]


class Numbered(TransformerMixin, BaseEstimator):
    """Embeds numbers as rows that are large enough to measure."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.full((len(X), 512), [[float(text)] for text in X], dtype=np.float32)


def test_embeddings_are_held_once(monkeypatch):
    monkeypatch.setattr(text_embedding, "_BLOCK_TEXTS", 1000)
    texts = [str(i) for i in range(1, 20_001)]
    size = len(texts) * 512 * 4
    tracemalloc.start()
    try:
        index = SemanticIndex(Numbered(), index="exact").fit([*texts, *texts[:100]])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size < peak < 1.6 * size
    assert len(index.ids_) == 20_100


def test_every_candidate_of_a_grid_fits_a_clone(encoded):
    grid = ParameterGrid(
        {"metric": ["cosine", "dot"], "n_neighbors": [1, 3], "embedder__truncate_dim": [None, 4]}
    )
    index = make_index()
    for parameters in grid:
        fitted = clone(index).set_params(**parameters).fit(TEXTS)
        n_neighbors = parameters["n_neighbors"]
        assert fitted.kneighbors(QUERIES)[1].shape == (2, n_neighbors)
        assert fitted.embedding_dim_ == (parameters["embedder__truncate_dim"] or 32)
    assert sorted(encoded) == sorted([*TEXTS, *QUERIES])


class Int8(TransformerMixin, BaseEstimator):
    """Scales each dimension to int8."""

    def fit(self, X, y=None):
        self.scale_ = np.abs(X).max(axis=0) / 127
        return self

    def transform(self, X):
        return np.round(X / self.scale_).astype(np.int8)

    def inverse_transform(self, X):
        return X * self.scale_


def test_quantized_embeddings_are_stored_and_searched():
    index = make_index(quantizer=Int8()).fit(TEXTS)
    exact = make_index().fit(TEXTS)
    assert index._store.stored.dtype == np.int8
    np.testing.assert_allclose(index.embeddings_, exact.embeddings_, atol=0.02)
    assert index.embeddings_.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(index.embeddings_, axis=1), 1, atol=1e-6)
    assert not hasattr(index.quantizer, "scale_")
    queries = SentenceEmbedder(TINY).fit_transform(QUERIES)
    distances, rows = index.kneighbors(QUERIES, 5)
    expected = 1 - queries @ index.embeddings_.T
    np.testing.assert_allclose(distances, np.take_along_axis(expected, rows, axis=1), atol=1e-5)
    np.testing.assert_array_equal(rows, np.argsort(expected, axis=1, kind="stable"))


def test_quantized_embeddings_are_searched_block_by_block(monkeypatch):
    texts = [f"document {i} of the ferry market" for i in range(50)]
    quantizer = PCA(8, random_state=0)
    expected = make_index(quantizer=quantizer).fit(texts)
    monkeypatch.setattr("sk_sentemb.retrieval.embedding_store._BLOCK_ROWS", 7)
    found = make_index(quantizer=quantizer).fit(texts)
    columns = ["query", "rank", "id"]
    pd.testing.assert_frame_equal(
        found.search(QUERIES, n=20)[columns], expected.search(QUERIES, n=20)[columns]
    )
    where = {"id": range(0, 50, 3)}
    pd.testing.assert_frame_equal(
        found.search(QUERIES, where=where)[columns], expected.search(QUERIES, where=where)[columns]
    )


def test_quantized_embeddings_with_a_backend_and_changes():
    pytest.importorskip("usearch")
    texts = [f"document {i} of the ferry market" for i in range(300)]
    index = make_index(quantizer=Int8(), index="usearch", rescore=20, n_neighbors=5).fit(
        texts[:200]
    )
    index.partial_fit(texts[200:]).remove([0, 1])
    assert index._store.stored.dtype == np.int8
    assert index.ids_.tolist() == list(range(2, 300))
    products = SentenceEmbedder(TINY).fit_transform(texts) @ index.embeddings_.T
    distances, rows = index.kneighbors(texts, 5)
    np.testing.assert_array_equal(rows[:, 0], products.argmax(axis=1))
    np.testing.assert_allclose(1 - distances[:, 0], products.max(axis=1), atol=1e-6)
