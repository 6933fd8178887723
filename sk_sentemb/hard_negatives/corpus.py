"""Queries, positives and corpus as unique texts with indices."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._inputs import TextColumns, read_text_columns, unique_texts


@dataclass(frozen=True)
class Corpus:
    """Unique queries and documents, and the indices of both in each row."""

    queries: list[str]
    documents: list[str]  # the corpus, then the other positives
    n_corpus: int
    query_ids: np.ndarray  # of each row
    positive_ids: np.ndarray  # of each row

    def find_rows(self, block: slice) -> np.ndarray:
        """Find the rows of a block of queries, query by query."""
        rows = np.flatnonzero((self.query_ids >= block.start) & (self.query_ids < block.stop))
        return rows[np.argsort(self.query_ids[rows], kind="stable")]

    def find_excluded(self) -> np.ndarray:
        """Return pairs of a query and a corpus text that is its positive or the query itself."""
        ids = {text: i for i, text in enumerate(self.documents)}
        positives = zip(self.query_ids.tolist(), self.positive_ids.tolist(), strict=True)
        same = [(i, ids[text]) for i, text in enumerate(self.queries) if text in ids]
        pairs = np.unique(np.array([*positives, *same], dtype=np.intp), axis=0)
        pairs = pairs[pairs[:, 1] < self.n_corpus]
        n_left = self.n_corpus - np.bincount(pairs[:, 0], minlength=len(self.queries))
        if not n_left.any():
            raise ValueError(
                f"corpus has no possible negatives: each of its {self.n_corpus} distinct texts is a "
                "positive of every query, or the query itself. Pass a corpus with other texts."
            )
        return pairs


def read_corpus(queries: Any, positives: Any, corpus: Any) -> Corpus:
    """Read queries, positives and corpus, and index their unique texts."""
    query_texts, positive_texts = _read("queries", queries), _read("positives", positives)
    if len(query_texts) != len(positive_texts):
        raise ValueError(
            f"queries has {len(query_texts)} rows, but positives has {len(positive_texts)}. Pass one "
            "positive per row; a query with several positives has several rows."
        )
    pool = positive_texts if corpus is None else _read("corpus", corpus)
    unique_queries, query_ids = _index(query_texts)
    documents, ids = _index(pool + positive_texts)
    n_corpus = int(ids[: len(pool)].max()) + 1
    return Corpus(unique_queries, documents, n_corpus, query_ids, ids[len(pool) :])


def _read(name: str, X: Any) -> list[str]:
    columns = read_text_columns(X, name)
    n_rows, n_columns = columns.n_rows, columns.n_columns
    if n_columns != 1:
        raise ValueError(f"{name} has {n_columns} columns. Pass one column of texts.")
    if not n_rows:
        raise ValueError(f"{name} has no rows. Pass at least one text.")
    if columns.missing.any():
        raise ValueError(
            f"row {int(columns.missing.argmax())} of {name} has no text ({columns.missing.sum()} of "
            f"{n_rows} rows). Leave such rows out."
        )
    return columns.texts[0]


def _index(texts: list[str]) -> tuple[list[str], np.ndarray]:
    """Return the unique texts, and the index of each text among them."""
    columns = TextColumns([texts], np.zeros((len(texts), 1), dtype=bool))
    unique = unique_texts(columns, missing_is_empty=True)
    return unique.texts, unique.inverse[0]
