"""Nearest documents of queries: candidates of a backend, scored again, and rows to leave out."""

import numpy as np

from .backends import Backend
from .embedding_store import EmbeddingStore


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
    found = np.asarray(backend.search(queries, n_candidates), dtype=np.int64)
    rows = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
    rows[keys[rows] != found] = -1  # removed, or added to a later state of the index
    rows, products = store.rescore(queries, rows, n_neighbors)
    missing = ((0, 0), (0, n_neighbors - rows.shape[1]))
    return (
        np.pad(rows, missing, constant_values=-1),
        np.pad(products, missing, constant_values=-np.inf),
    )


def exclude_rows(
    rows: np.ndarray, products: np.ndarray, excluded: list[np.ndarray], n_neighbors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the excluded rows of each query, and keep the first ones of the others."""
    sizes = {len(those) for those in excluded}
    if sizes == {1}:
        gone = rows == np.array(excluded)
    else:
        gone = np.zeros(rows.shape, dtype=bool)
        for mask, found, those in zip(gone, rows, excluded, strict=True):
            mask[:] = np.isin(found, those)
    order = np.argsort(gone, axis=1, kind="stable")[:, :n_neighbors]
    rows = np.where(gone, -1, rows)
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(products, order, axis=1)
