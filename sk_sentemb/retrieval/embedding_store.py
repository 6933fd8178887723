"""The embeddings of the documents, as they are or quantized, and exact search among them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._exact_search import find_nearest

# Rows that are dequantized together.
_BLOCK_ROWS = 65_536

# Numbers of candidates' embeddings that are in memory at once when they are scored again.
_BLOCK_NUMBERS = 4_000_000


class EmbeddingStore:
    """float32 embeddings of documents, or what a quantizer made of them."""

    def __init__(self, stored: np.ndarray, quantizer: Any = None, *, unit: bool = False) -> None:
        self.stored = stored
        self.quantizer = quantizer
        self.unit = unit  # whether to normalize what a quantizer returns

    def __len__(self) -> int:
        return len(self.stored)

    def read(self, rows: Any = slice(None)) -> np.ndarray:
        """Return float32 embeddings of some rows, or of all."""
        stored = self.stored[rows]
        if self.quantizer is None:
            return stored
        embeddings = np.asarray(self.quantizer.inverse_transform(stored), dtype=np.float32)
        return normalize_rows(embeddings) if self.unit else embeddings

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first row and the embeddings of each block of rows."""
        for start in range(0, len(self), _BLOCK_ROWS):
            yield start, self.read(slice(start, start + _BLOCK_ROWS))

    def find_nearest(
        self, queries: np.ndarray, n_neighbors: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the exact nearest rows and their inner products, best first, ties by row."""
        if self.quantizer is None:
            return find_nearest(queries, self.stored, n_neighbors, rows=rows)
        rows = np.arange(len(self)) if rows is None else rows
        found = np.empty((len(queries), 0), dtype=np.int64)
        products = np.empty((len(queries), 0), dtype=np.float32)
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = rows[start : start + _BLOCK_ROWS]
            near, scores = find_nearest(queries, self.read(block), min(n_neighbors, len(block)))
            found = np.hstack([found, block[near]])
            products = np.hstack([products, scores])
            found, products = keep_best(found, products, n_neighbors)
        return found, products

    def compute_products(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the inner products of each query with its candidates, -inf for the row -1."""
        products = np.full(rows.shape, -np.inf, dtype=np.float32)
        if not rows.size:
            return products
        size = max(1, _BLOCK_NUMBERS // (rows.shape[1] * queries.shape[1]))
        for start in range(0, len(queries), size):
            block = slice(start, start + size)
            candidates = self.read(rows[block].ravel())  # -1 is the last row, and is masked below
            candidates = candidates.reshape(*rows[block].shape, -1)
            products[block] = np.einsum("ij,ikj->ik", queries[block], candidates)
        products[rows < 0] = -np.inf
        return products


def keep_best(
    rows: np.ndarray, products: np.ndarray, n_neighbors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with the largest products, best first, ties by row."""
    order = np.lexsort((rows, -products), axis=1)[:, :n_neighbors]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(products, order, axis=1)


def normalize_rows(embeddings: np.ndarray) -> np.ndarray:
    """Give rows unit norm in place; a row of zeros stays as it is."""
    for start in range(0, len(embeddings), _BLOCK_ROWS):
        block = embeddings[start : start + _BLOCK_ROWS]
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        np.divide(block, norms, out=block, where=norms > 0)
    return embeddings
