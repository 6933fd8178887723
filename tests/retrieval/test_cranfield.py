"""The reference score of a real model on real queries, with each exact index."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score

from sk_sentemb import SemanticIndex, SentenceEmbedder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.TruncationWarning")
def test_cranfield_has_the_reference_score_with_each_index(shared_data, minilm_folder):
    folder = shared_data("cranfield")
    documents, queries, judgments = (
        pd.read_csv(folder / f"{name}.csv") for name in ("docs", "queries", "qrels")
    )
    documents["text"] = documents.pop("title").fillna("") + ". " + documents["text"].fillna("")
    rows = pd.Index(queries["query_id"]).get_indexer(judgments["query_id"])
    columns = pd.Index(documents["doc_id"]).get_indexer(judgments["doc_id"])
    grades = np.zeros((len(queries), len(documents)))
    grades[rows, columns] = judgments["grade"]
    scores = {}
    for name in ("exact", "faiss", "milvus"):
        if name != "exact":
            pytest.importorskip({"faiss": "faiss", "milvus": "pymilvus"}[name])
        index = SemanticIndex(SentenceEmbedder(minilm_folder), index=name)
        index.fit(documents, text="text", id="doc_id")
        distances, found = index.kneighbors(queries["text"], n_neighbors=100)
        similarities = np.full(grades.shape, -2.0)
        np.put_along_axis(similarities, found, 1 - distances, axis=1)
        scores[name] = ndcg_score(grades, similarities, k=10)
    assert scores["exact"] == pytest.approx(0.503, abs=5e-4)
    assert {round(score, 4) for score in scores.values()} == {round(scores["exact"], 4)}
