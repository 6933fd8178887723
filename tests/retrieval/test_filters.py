import numpy as np
import pandas as pd
import pytest

from sk_sentemb import SemanticIndex, SentenceEmbedder
from tests.helpers.tiny_models import TINY
from tests.retrieval.index_data import QUERIES, make_frame


@pytest.fixture(scope="module")
def index():
    frame = make_frame(topic=pd.Series(["card", "money", "card", "money", None], dtype=object))
    return SemanticIndex(SentenceEmbedder(TINY)).fit(frame)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"stars": 5}, "a"),
        ({"stars": [5, 4]}, "ac"),
        ({"stars": range(4)}, "bde"),
        ({"stars": {1, 9}}, "d"),
        ({"topic": "card", "stars": 4}, "c"),
        ({"topic": None}, "e"),
        ({"topic": ["money", None]}, "bde"),
        ({"topic": "weather"}, ""),
        ({}, "abcde"),
        ({"id": ["b", "c"]}, "bc"),
        (lambda documents: documents["stars"] > 3, "ac"),
        (lambda documents: documents["text"].str.contains("card"), "ac"),
        ([True, False, False, False, True], "ae"),
        (np.array([False, True, False, False, False]), "b"),
        (pd.Series([True, pd.NA, False, False, True], dtype="boolean"), "ae"),
        (pd.Series([True, None, False, False, True], dtype=object), "ae"),
    ],
)
def test_exact_results_under_a_filter(index, where, ids):
    everything = index.search(QUERIES, n=5)
    expected = everything[everything["id"].isin(list(ids))]
    found = index.search(QUERIES, n=5, where=where)
    columns = ["query", "id", "score", "stars"]
    pd.testing.assert_frame_equal(found[columns], expected[columns].reset_index(drop=True))
    assert found["rank"].tolist() == [*range(1, len(ids) + 1)] * 2


@pytest.mark.parametrize(
    ("where", "error", "match"),
    [
        ({"color": "red"}, ValueError, "the column 'color', but the documents have"),
        ([True, False], ValueError, r"shape \(2,\), but the index has 5 documents"),
        ([0, 1, 2, 3, 4], TypeError, "int64, and not a mask"),
        (lambda documents: documents["stars"], TypeError, "int64, and not a mask"),
        (lambda documents: documents[["stars"]] > 3, ValueError, r"shape \(5, 1\)"),
    ],
)
def test_bad_filters_are_refused(index, where, error, match):
    with pytest.raises(error, match=match):
        index.search(QUERIES, where=where)
