"""The first stage of retrieval: candidates of an embedder and of a lexical scorer, with both scores."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .documents import TEXT
from .lexical import LexicalScorer
from .semantic_index import SemanticIndex

EMBEDDER, LEXICAL = "embedder", "lexical"

# Numbers of lexical scores that are in memory at once.
_BLOCK_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Pool:
    """The candidates of each query in the order of the corpus, and their scores by each ranker."""

    rows: np.ndarray  # int64 (n_queries, n_candidates), -1 after the last one
    scores: np.ndarray  # float32 (n_rankers, n_queries, n_candidates)

    @property
    def is_candidate(self) -> np.ndarray:
        """Where there is a candidate."""
        return self.rows >= 0


@dataclass(frozen=True)
class FirstStage:
    """An index and a lexical scorer, or None, of the same documents."""

    index: SemanticIndex
    lexical: LexicalScorer | None

    @property
    def names(self) -> list[str]:
        """The names of the rankers."""
        return [EMBEDDER] if self.lexical is None else [EMBEDDER, LEXICAL]

    @property
    def texts(self) -> np.ndarray:
        """The texts of the documents, None where one is missing."""
        return self.index.documents_[TEXT].to_numpy()

    def find_candidates(
        self, queries: list[str], n_candidates: int, rows: np.ndarray | None = None
    ) -> Pool:
        """Return the union of the best of each ranker, among some rows or all, with all scores.

        Every candidate has the exact score of every ranker, whichever found it.
        """
        embeddings = self.index._embed_queries(queries)
        nearest, _ = self.index._find(embeddings, n_candidates, rows)
        if not queries:
            return Pool(nearest, np.zeros((len(self.names), *nearest.shape), dtype=np.float32))
        if self.lexical is None:
            found = _unite(nearest, [nearest[:0, 0]] * len(nearest))
            return Pool(found, _compute_products(self.index, embeddings, found)[None])
        n_documents = self.index.n_samples_fit_
        parts = []
        size = max(1, _BLOCK_NUMBERS // n_documents)
        for start in range(0, len(queries), size):
            block = slice(start, start + size)
            scores = self.lexical.compute_scores(queries[block])
            found = _unite(nearest[block], _find_best(scores, n_candidates, rows))
            products = _compute_products(self.index, embeddings[block], found)
            lexical = np.take_along_axis(scores, np.maximum(found, 0), axis=1)
            parts.append(Pool(found, np.stack([products, lexical])))
        return concatenate_pools(parts)

    def find_others(
        self,
        queries: list[str],
        n_neighbors: int,
        candidates: np.ndarray,
        rows: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the rows nearest to each query, with -1 in place of its candidates."""
        nearest, _ = self.index._find(self.index._embed_queries(queries), n_neighbors, rows)
        is_candidate = [
            np.isin(near, found) for near, found in zip(nearest, candidates, strict=True)
        ]
        return np.where(is_candidate, -1, nearest)


def concatenate_pools(pools: list[Pool]) -> Pool:
    """Return the candidates of all queries, pool after pool."""
    width = max(pool.rows.shape[1] for pool in pools)

    def pad(values: np.ndarray, fill: float) -> np.ndarray:
        missing = [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])]
        return np.pad(values, missing, constant_values=fill)

    return Pool(
        np.concatenate([pad(pool.rows, -1) for pool in pools]),
        np.concatenate([pad(pool.scores, 0) for pool in pools], axis=1),
    )


def fit_first_stage(
    corpus: Any, *, text: Any, id: Any, lexical: LexicalScorer | None, **of_index: Any
) -> FirstStage:
    """Index a corpus."""
    return FirstStage(SemanticIndex(**of_index).fit(corpus, text=text, id=id), lexical)


def _compute_products(index: SemanticIndex, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the inner products of queries and their candidates, in the order of these."""
    found, products = index._store.rescore(queries, rows, rows.shape[1])
    order = np.argsort(np.where(found < 0, index.n_samples_fit_, found), axis=1, kind="stable")
    return np.take_along_axis(products, order, axis=1)


def _find_best(scores: np.ndarray, n_candidates: int, rows: np.ndarray | None) -> list[np.ndarray]:
    """Return the rows of the largest scores above 0 of each query, ties by row."""
    if rows is not None:
        allowed = np.zeros(scores.shape[1], dtype=bool)
        allowed[rows] = True
        scores = np.where(allowed, scores, 0)
    found = []
    for of_query in scores:
        positive = np.flatnonzero(of_query > 0)
        if len(positive) > n_candidates:
            order = np.argsort(-of_query[positive], kind="stable")
            positive = positive[order[:n_candidates]]
        found.append(positive)
    return found


def _unite(nearest: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """Return the union of two lists of rows for each query, ascending and then -1."""
    united = [
        np.union1d(of_query[of_query >= 0], other)
        for of_query, other in zip(nearest, others, strict=True)
    ]
    rows = np.full((len(united), max(map(len, united), default=0)), -1, dtype=np.int64)
    for row, found in zip(rows, united, strict=True):
        row[: len(found)] = found
    return rows
