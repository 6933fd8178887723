"""The texts to mine among: each once, by number."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._inputs import TextColumns, read_argument, unique_texts


@dataclass(frozen=True)
class NumberedTexts:
    """Queries and documents, and which of them stand in which row."""

    queries: list[str]
    documents: list[str]
    n_corpus: int
    query: np.ndarray
    positive: np.ndarray

    def rows_of(self, block: slice) -> np.ndarray:
        """Return the rows of some queries, query by query."""
        rows = np.flatnonzero((self.query >= block.start) & (self.query < block.stop))
        return rows[np.argsort(self.query[rows], kind="stable")]

    def never_negative(self) -> np.ndarray:
        """Pair each query with the texts of the corpus that are its positives or the query itself."""
        number = {text: i for i, text in enumerate(self.documents)}
        itself = [(i, number[text]) for i, text in enumerate(self.queries) if text in number]
        pairs = [*zip(self.query.tolist(), self.positive.tolist(), strict=True), *itself]
        distinct = np.unique(np.array(pairs, dtype=np.intp), axis=0)
        distinct = distinct[distinct[:, 1] < self.n_corpus]
        n_left = self.n_corpus - np.bincount(distinct[:, 0], minlength=len(self.queries))
        if not n_left.any():
            raise ValueError(
                f"corpus has nothing but positives: of its {self.n_corpus} distinct texts, each query "
                "has them all as positives, or is one itself. Pass a corpus with other texts."
            )
        return distinct


def number_texts(queries: Any, positives: Any, corpus: Any) -> NumberedTexts:
    """Read the texts that a user passes."""
    asked, answers = _read("queries", queries), _read("positives", positives)
    if len(asked) != len(answers):
        raise ValueError(
            f"queries has {len(asked)} rows and positives has {len(answers)}. Pass a positive for "
            "each query; a query with several positives has several rows."
        )
    pool = answers if corpus is None else _read("corpus", corpus)
    distinct_queries, query = _distinct(asked)
    documents, document = _distinct(pool + answers)
    n_corpus = int(document[: len(pool)].max()) + 1
    return NumberedTexts(distinct_queries, documents, n_corpus, query, document[len(pool) :])


def _read(name: str, X: Any) -> list[str]:
    columns = read_argument(X, name)
    n_rows, n_columns = columns.n_rows, columns.n_columns
    if n_columns != 1:
        raise ValueError(f"{name} has {n_columns} columns; pass one column of texts.")
    if not n_rows:
        raise ValueError(f"{name} has no rows; pass one text or more.")
    if columns.missing.any():
        raise ValueError(
            f"row {int(columns.missing.argmax())} of {name} has no text ({columns.missing.sum()} of "
            f"{n_rows} rows have none). Leave such rows out."
        )
    return columns.texts[0]


def _distinct(texts: list[str]) -> tuple[list[str], np.ndarray]:
    columns = TextColumns([texts], np.zeros((len(texts), 1), dtype=bool), None)
    distinct = unique_texts(columns, missing_is_empty=True)
    return distinct.texts, distinct.inverse[0]
