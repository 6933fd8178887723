"""Nearest documents of queries: exact, or candidates of a backend that are scored again."""

import numpy as np

from .backends import Backend
from .embedding_store import EmbeddingStore, keep_best


def find_candidates(
    store: EmbeddingStore,
    backend: Backend,
    keys: np.ndarray,
    queries: np.ndarray,
    n_neighbors: int,
    rescore: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and products of the nearest among a backend's candidates, -1 where fewer."""
    n_candidates = min(n_neighbors * rescore, len(keys))
    found = backend.search(queries, n_candidates)
    rows = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
    rows[keys[rows] != found] = -1  # removed, or of another state of the index
    return keep_best(rows, store.compute_products(queries, rows), n_neighbors)


def exclude_rows(
    rows: np.ndarray, products: np.ndarray, excluded: np.ndarray, n_neighbors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the excluded rows of each query, where -1 excludes none, and keep the first ones."""
    gone = (rows[:, :, np.newaxis] == excluded[:, np.newaxis, :]).any(axis=2)
    order = np.argsort(gone, axis=1, kind="stable")[:, :n_neighbors]
    rows = np.where(gone, -1, rows)
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(products, order, axis=1)
