"""Rankings: for each query, ids of documents, the best first."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .judgments import Judgments, read_judgments, to_id


class JudgedRankings(NamedTuple):
    """Grades in the order of the rankings, and the best order, for the first k documents."""

    grades: np.ndarray  # (n_queries, k), 0 where a document is not relevant or there is none
    ideal: np.ndarray  # (n_queries, k), the largest grades of the judgments
    n_relevant: np.ndarray  # (n_queries,)

    def first(self, k: int) -> "JudgedRankings":
        """Return the first k documents only."""
        return JudgedRankings(self.grades[:, :k], self.ideal[:, :k], self.n_relevant)


def judge_rankings(y_true: Any, y_pred: Any, k: int) -> JudgedRankings:
    """Look up the grades of the first k documents of each ranking."""
    judgments = read_judgments(y_true)
    rankings = read_rankings(y_pred, len(judgments))
    grades, ideal = np.zeros((2, len(judgments), k))
    for row, (judged, ranking) in enumerate(zip(judgments, rankings, strict=True)):
        found = [max(0.0, judged.get(document, 0.0)) for document in ranking[:k]]
        grades[row, : len(found)] = found
        best = sorted((grade for grade in judged.values() if grade > 0), reverse=True)[:k]
        ideal[row, : len(best)] = best
    return JudgedRankings(grades, ideal, count_relevant(judgments))


def count_relevant(judgments: Judgments) -> np.ndarray:
    """Return the number of relevant documents of each query."""
    return np.array([sum(grade > 0 for grade in judged.values()) for judged in judgments], int)


def read_rankings(y_pred: Any, n_queries: int) -> list[list[Hashable]]:
    """Return the ids of each query, the best first."""
    if isinstance(y_pred, pd.DataFrame):
        return _read_frame(y_pred, n_queries)
    if isinstance(y_pred, (str, Mapping)) or not isinstance(y_pred, Iterable):
        raise TypeError(
            f"y_pred is of type {type(y_pred).__name__}. Pass one entry per query: ids of documents, "
            "the best first, or a dict that maps ids to scores; or the data frame of search."
        )
    rankings = [_read_ranking(entry, f"y_pred[{row}]") for row, entry in enumerate(y_pred)]
    if len(rankings) != n_queries:
        raise ValueError(
            f"y_pred has rankings of {len(rankings)} queries, but y_true has judgments of {n_queries}. "
            "Pass both for the same queries."
        )
    return rankings


def _read_frame(frame: pd.DataFrame, n_queries: int) -> list[list[Hashable]]:
    if absent := {"query", "rank", "id"} - set(frame.columns):
        raise ValueError(
            f"y_pred has no column {sorted(absent)[0]!r}. Pass the data frame of search, with the "
            "columns query, rank and id, or a list with the ids of each query."
        )
    rankings: list[list[Hashable]] = [[] for _ in range(n_queries)]
    for query, rows in frame.sort_values("rank", kind="stable").groupby("query"):
        if not (isinstance(query, (int, np.integer)) and 0 <= query < n_queries):
            raise ValueError(
                f"y_pred has query {query!r}, but y_true has judgments of {n_queries} queries, which "
                "are counted from 0."
            )
        rankings[query] = _read_ranking(rows["id"].to_list(), f"query {query} of y_pred")
    return rankings


def _read_ranking(entry: Any, where: str) -> list[Hashable]:
    if isinstance(entry, str) or not isinstance(entry, Iterable):
        raise TypeError(
            f"{where} is of type {type(entry).__name__}. Pass ids of documents, the best first."
        )
    if isinstance(entry, Mapping):
        scores = {to_id(i, where): float(score) for i, score in entry.items()}
        if unscored := [i for i, score in scores.items() if score != score]:
            raise ValueError(f"{where} has the score NaN for {unscored[0]!r}. Pass numbers.")
        # Stable: equal scores keep their order.
        return sorted(scores, key=lambda i: -scores[i])
    ids = [to_id(i, where) for i in (entry.tolist() if isinstance(entry, np.ndarray) else entry)]
    if len(set(ids)) < len(ids):
        repeated = next(i for i, count in Counter(ids).items() if count > 1)
        raise ValueError(f"{where} has {repeated!r} more than once. Pass each document once.")
    return ids
