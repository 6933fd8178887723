"""The embeddings of the documents, as they are or quantized, and exact search among them."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Self

import numpy as np
from sklearn.utils import gen_batches

from .._exact_search import find_nearest, rescore

# Rows that are dequantized together.
_BLOCK_ROWS = 65_536

# Rows that are normalized together, so that temporary arrays stay small.
_NORMALIZED_ROWS = 4096

# Numbers of candidates' embeddings that are dequantized together.
_BLOCK_NUMBERS = 4_000_000


class EmbeddingStore:
    """float32 embeddings of documents, or what a quantizer made of them."""

    def __init__(self, stored: np.ndarray, quantizer: Any = None, *, unit: bool) -> None:
        self.stored = stored
        self.quantizer = quantizer
        self.unit = unit  # whether embeddings have unit norm

    @classmethod
    def from_embeddings(cls, embeddings: np.ndarray, quantizer: Any, *, unit: bool) -> Self:
        """Store float32 embeddings, quantized by a fitted quantizer if there is one."""
        return cls(_quantize(embeddings, quantizer), quantizer, unit=unit)

    def __len__(self) -> int:
        return len(self.stored)

    def read(self, rows: Any = slice(None)) -> np.ndarray:
        """Return float32 embeddings of some rows, or of all."""
        stored = self.stored[rows]
        if self.quantizer is None:
            return stored
        dequantized = self.quantizer.inverse_transform(stored)
        embeddings = np.array(dequantized, dtype=np.float32)
        return normalize_rows(embeddings) if self.unit else embeddings

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield blocks of rows and their embeddings."""
        for rows in gen_batches(len(self), _BLOCK_ROWS):
            yield rows, self.read(rows)

    def append(self, embeddings: np.ndarray) -> Self:
        """Return a store with more rows."""
        more = _quantize(embeddings, self.quantizer)
        return self._replace(np.concatenate([self.stored, more]))

    def select(self, rows: np.ndarray) -> Self:
        """Return a store of some rows."""
        return self._replace(self.stored[rows])

    def find_nearest(
        self, queries: np.ndarray, n_neighbors: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the exact nearest rows and their inner products, best first, ties by row."""
        if self.quantizer is None:
            norm = self._largest_norm
            return find_nearest(queries, self.stored, n_neighbors, rows=rows, max_norm=norm)
        rows = np.arange(len(self)) if rows is None else rows
        found = np.empty((len(queries), 0), dtype=np.intp)
        products = np.empty((len(queries), 0), dtype=np.float32)
        for batch in gen_batches(len(rows), _BLOCK_ROWS):
            near, scores = find_nearest(queries, self.read(rows[batch]), n_neighbors)
            found = np.hstack([found, rows[batch][near]])
            products = np.hstack([products, scores])
            found, products = _keep_best(found, products, n_neighbors)
        return found, products

    def rescore(
        self, queries: np.ndarray, rows: np.ndarray, n_neighbors: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the best candidates of each query and their products; -1 is none, and has -inf."""
        if self.quantizer is None:
            return rescore(queries, self.stored, rows, n_neighbors)
        size = max(1, _BLOCK_NUMBERS // max(1, rows.shape[1] * queries.shape[1]))
        found = np.empty((len(rows), min(n_neighbors, rows.shape[1])), dtype=np.intp)
        products = np.empty(found.shape, dtype=np.float32)
        for batch in gen_batches(len(queries), size):
            distinct, inverse = np.unique(rows[batch], return_inverse=True)
            inverse = np.where(rows[batch] < 0, -1, inverse.reshape(rows[batch].shape))
            near, products[batch] = rescore(
                queries[batch], self.read(distinct), inverse, n_neighbors
            )
            found[batch] = np.where(near < 0, -1, distinct[near])
        return found, products

    @cached_property
    def _largest_norm(self) -> float:
        if self.unit:
            return 1 + 1e-5
        return float(max(np.linalg.norm(block, axis=1).max() for _, block in self.blocks()))

    def _replace(self, stored: np.ndarray) -> Self:
        return type(self)(stored, self.quantizer, unit=self.unit)


def normalize_rows(embeddings: np.ndarray) -> np.ndarray:
    """Give rows unit norm in place; a row of zeros stays as it is."""
    for batch in gen_batches(len(embeddings), _NORMALIZED_ROWS):
        block = embeddings[batch]
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        np.divide(block, norms, out=block, where=norms > 0)
    return embeddings


def _quantize(embeddings: np.ndarray, quantizer: Any) -> np.ndarray:
    """Quantize embeddings, block by block."""
    if quantizer is None:
        return embeddings
    codes = np.empty(0)
    for batch in gen_batches(len(embeddings), _BLOCK_ROWS):
        block = np.asarray(quantizer.transform(embeddings[batch]))
        if not batch.start:
            codes = np.empty((len(embeddings), *block.shape[1:]), dtype=block.dtype)
        codes[batch] = block
    return codes


def _keep_best(
    rows: np.ndarray, products: np.ndarray, n_neighbors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with the largest products, best first, ties by row."""
    order = np.lexsort((rows, -products), axis=1)[:, :n_neighbors]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(products, order, axis=1)
