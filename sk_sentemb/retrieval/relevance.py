"""Judgments of queries, by the rows of a corpus."""

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from ..metrics import read_judgments
from .score_fusion import compute_ideal


class Relevance(NamedTuple):
    """For each query, the grades above 0 by the row of the document."""

    grades: list[dict[int, float]]

    def take(self, queries: np.ndarray) -> "Relevance":
        """Return the judgments of some queries."""
        return Relevance([self.grades[query] for query in queries])

    def compute_ideal(self) -> np.ndarray:
        """Return the DCG@10 of the best ranking of each query."""
        return compute_ideal([np.array(list(of_query.values())) for of_query in self.grades])

    def grade(self, rows: np.ndarray) -> np.ndarray:
        """Return the grades of candidates, (n_queries, n_candidates)."""
        graded = [
            [of_query.get(row, 0.0) for row in of_rows]
            for of_query, of_rows in zip(self.grades, rows.tolist(), strict=True)
        ]
        return np.array(graded, dtype=np.float64).reshape(rows.shape)

    def list_pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the query, the row of the document and the grade of each relevant document."""
        pairs = [
            (query, row, grade)
            for query, of_query in enumerate(self.grades)
            for row, grade in of_query.items()
        ]
        query, row, grade = np.array(pairs).reshape(-1, 3).T
        return query.astype(np.intp), row.astype(np.intp), grade


def read_relevance(y: Any, ids: np.ndarray, n_queries: int) -> Relevance:
    """Read one judgment per query; raise for ids that are not in the corpus."""
    judgments = read_judgments(y, "y")
    if len(judgments) != n_queries:
        raise ValueError(
            f"y has judgments of {len(judgments)} queries, but X has {n_queries} queries. Pass one "
            "entry for each query."
        )
    if issparse(y):
        if y.shape[1] != len(ids):
            raise ValueError(
                f"y has {y.shape[1]} columns, but the corpus has {len(ids)} documents. Pass a column "
                "for each document, in the order of the corpus."
            )
        rows_of: dict[Any, int] = {row: row for row in range(len(ids))}
    else:
        rows_of = {value: row for row, value in enumerate(ids.tolist())}
    grades: list[dict[int, float]] = []
    for query, judged in enumerate(judgments):
        for value in judged:
            if value not in rows_of:
                raise ValueError(
                    f"y[{query}] has the id {value!r} of type {type(value).__name__}, which is not in "
                    f"the corpus; its ids look like {ids[:1].tolist()[0]!r}. Leave it out, or add the "
                    "document."
                )
        grades.append({rows_of[value]: grade for value, grade in judged.items() if grade > 0})
    return Relevance(grades)
