"""Rows that were found, as a data frame or a sparse graph."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from .documents import ID, TEXT
from .lazy_documents import LazyDocuments


def make_result_frame(
    rows: np.ndarray, scores: np.ndarray, documents: LazyDocuments
) -> pd.DataFrame:
    """Return a row per document found: query, rank, id, score, text and the other columns."""
    query, place = np.nonzero(rows >= 0)
    found = documents.take(rows[query, place])
    columns = {
        "query": query,
        "rank": place + 1,
        ID: found.pop(ID),
        "score": scores[query, place],
        TEXT: found.pop(TEXT),
    }
    return pd.concat([pd.DataFrame(columns), found], axis=1)


def make_graph(rows: np.ndarray, weights: np.ndarray, n_documents: int) -> csr_matrix:
    """Return a sparse matrix with the weight of each document found, nearest first in each row."""
    found = rows >= 0
    indptr = np.concatenate([[0], np.cumsum(found.sum(axis=1))])
    values = weights[found].astype(np.float64)
    return csr_matrix((values, rows[found], indptr), shape=(len(rows), n_documents))
