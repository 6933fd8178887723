import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sk_sentemb import SemanticIndex, SentenceEmbedder
from sk_sentemb.exceptions import InvalidRowError, MissingTextWarning
from tests.helpers.tiny_models import TINY
from tests.retrieval.index_data import QUERIES, TEXTS, make_frame


def fit(documents, **columns):
    return SemanticIndex(SentenceEmbedder(TINY), n_neighbors=2).fit(documents, **columns)


@pytest.mark.parametrize(
    "convert",
    [
        list,
        tuple,
        np.array,
        pd.Series,
        pl.Series,
        pa.array,
        lambda texts: pd.Series(texts, index=texts),
    ],
)
def test_sequences_of_texts(convert):
    index = fit(convert(TEXTS))
    assert index.ids_.tolist() == [0, 1, 2, 3, 4]
    assert index.ids_.dtype == np.int64
    assert index.documents_["text"].tolist() == TEXTS
    assert list(index.documents_) == ["id", "text"]


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_data_frames_keep_their_other_columns(convert):
    index = fit(convert(make_frame()))
    assert index.documents_.to_dict("list") == make_frame().to_dict("list")
    assert index.documents_["stars"].dtype == np.int64


def test_columns_are_chosen_by_name():
    frame = make_frame().rename(columns={"id": "key", "text": "body"})
    index = fit(frame, text="body", id="key")
    assert index.ids_.tolist() == list("abcde")
    assert list(index.documents_) == ["id", "text", "stars"]
    assert fit(frame[["body"]]).documents_["text"].tolist() == TEXTS
    assert fit(frame[["body", "key"]].rename(columns={"key": "id"})).ids_.tolist() == list("abcde")


def test_ids_of_a_list():
    assert fit(TEXTS, id=[9, 8, 7, 6, 5]).search(QUERIES)["id"].isin([9, 8, 7, 6, 5]).all()
    assert fit(TEXTS, id=np.array(list("vwxyz"))).ids_.tolist() == list("vwxyz")


def test_the_index_does_not_follow_changes_of_the_frame():
    frame = make_frame()
    index = fit(frame)
    frame["stars"] = 0
    frame.loc[0, "text"] = "changed"
    assert index.documents_["stars"].tolist() == [5, 3, 4, 1, 2]
    assert index.documents_["text"].tolist() == TEXTS


@pytest.mark.parametrize(
    "column", [[*TEXTS[:4], None], pd.Series([*TEXTS[:4], np.nan], dtype="str")]
)
def test_a_document_without_a_text_is_kept_and_never_found(column):
    with pytest.warns(MissingTextWarning, match="1 of 5 documents have no text"):
        index = fit(make_frame(text=column))
    assert index.ids_.tolist() == list("abcde")
    assert not index.embeddings_[4].any()
    assert sorted(index.search(QUERIES[:1], n=9)["id"]) == list("abcd")
    assert index.search(QUERIES, where={"id": "e"}).empty
    distances, rows = index.kneighbors(n_neighbors=3)
    assert (rows[4] == -1).all()
    assert np.isinf(distances[4]).all()
    assert (rows[:4] < 4).all()
    assert (rows[:4] >= 0).all()
    with pytest.raises(ValueError, match="4 documents can be found"):
        index.kneighbors(QUERIES, 5)


def test_equal_texts_are_documents_of_their_own_in_the_order_of_the_rows():
    index = fit([TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[0]])
    found = index.search([TEXTS[0]], n=3)
    assert found["id"].tolist() == [0, 2, 3]
    assert found["score"].nunique() == 1
    assert index.kneighbors(n_neighbors=2, return_distance=False)[2].tolist() == [0, 3]
    assert (index.kneighbors(n_neighbors=2)[0] >= 0).all()


@pytest.mark.parametrize(
    ("documents", "columns", "error", "match"),
    [
        ([], {}, ValueError, "documents are empty"),
        (pd.DataFrame({"text": []}), {}, ValueError, "documents are empty"),
        ([None, None], {}, ValueError, "none of the 2 documents has a text"),
        ("a text", {}, ValueError, "string object received"),
        ({"a": "text"}, {}, TypeError, "dict"),
        ([["a", "b"], ["c", "d"]], {}, ValueError, "2 columns without names"),
        (TEXTS, {"text": "body"}, ValueError, "text='body' names a column"),
        (TEXTS, {"id": "key"}, ValueError, "id='key' names a column"),
        (TEXTS, {"id": [1, 2]}, ValueError, "id has 2 values for 5 documents"),
        (TEXTS, {"id": [1, 2, 3, 2, 4]}, ValueError, "the id 2 occurs twice, in the rows 1 and 3"),
        (TEXTS, {"id": ["a", None, "b", "c", "d"]}, ValueError, "row 1 .* has no id"),
        (TEXTS, {"id": [1, float("nan"), 2, 3, 4]}, ValueError, "row 1 .* has no id"),
        (TEXTS, {"id": [[1], [2], [3], [4], [5]]}, TypeError, "row 0 .* id of type list"),
        (make_frame(), {"text": "body"}, ValueError, "text='body', but documents have the columns"),
        (make_frame(), {"id": "key"}, ValueError, "id='key', but documents have the columns"),
        (make_frame(id=list("abcda")), {}, ValueError, "'a' occurs twice, in the rows 0 and 4"),
        (make_frame().rename(columns={"text": "body"}), {}, ValueError, "none is called 'text'"),
        (make_frame(score=0.5), {}, ValueError, "a column 'score', as results have"),
        (make_frame(key=range(5)), {"id": "key"}, ValueError, "a column 'id'"),
        (make_frame().rename(columns={"stars": 0}), {}, TypeError, "not strings"),
    ],
)
def test_bad_documents_are_refused(documents, columns, error, match):
    with pytest.raises(error, match=match):
        fit(documents, **columns)


@pytest.mark.parametrize(
    ("queries", "error", "match"),
    [
        (["a", None], ValueError, r"row 1 \(counting from 0\) of queries has no text \(1 of 2"),
        ([float("nan")], ValueError, "row 0"),
        ("a query", ValueError, "string object received"),
        ([["a", "b"]], ValueError, "queries have 2 columns"),
        (np.zeros((2, 16)), ValueError, "queries have 16 columns"),
        ([b"bytes"], TypeError, "bytes"),
        ([{"a": "b"}], TypeError, "dict"),
    ],
)
def test_bad_queries_are_refused(queries, error, match):
    index = fit(TEXTS)
    for method in (index.search, index.kneighbors, index.kneighbors_graph):
        with pytest.raises(error, match=match):
            method(queries)


def test_one_document_and_no_queries():
    index = fit(TEXTS[:1])
    assert index.search(QUERIES)["id"].tolist() == [0, 0]
    assert index.kneighbors(QUERIES, 1)[1].tolist() == [[0], [0]]
    assert index.kneighbors([], 1)[1].shape == (0, 1)
    assert list(index.search([])) == ["query", "rank", "id", "score", "text"]
    with pytest.raises(ValueError, match="0 documents can be found"):
        index.kneighbors(n_neighbors=1)


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_bad_numbers_of_neighbors_are_refused(n, error):
    index = fit(TEXTS)
    for method in (index.search, index.kneighbors):
        with pytest.raises(error):
            method(QUERIES, n)


def test_too_long_texts_are_named_by_their_row():
    embedder = SentenceEmbedder(TINY, max_length=4, long_text="error")
    with (
        pytest.warns(MissingTextWarning),
        pytest.raises(
            InvalidRowError, match=r"row 3 \(counting from 0\) of documents has more than 4"
        ),
    ):
        SemanticIndex(embedder).fit([None, "a", "a", "one two three four five six"])
    with pytest.raises(InvalidRowError, match=r"row 0 .* of queries has more than 4"):
        SemanticIndex(embedder).fit(["a"]).search(["one two three four five six"])
