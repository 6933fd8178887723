"""Exact nearest neighbors of embeddings by inner product, block by block."""

from collections.abc import Iterator

import numpy as np
from sklearn.utils import gen_batches

from ._bfloat16_products import Bfloat16Products

# Sizes of the blocks of queries and documents whose products are in memory at once (32 MB, or 16 MB
# for fewer queries).
_N_QUERIES, _N_DOCUMENTS = 256, 16384
_N_QUERIES_BFLOAT16 = 1024

# Number of documents whose largest product is compared with that of other tiles.
_TILE = 32

# Number of pairs whose embeddings are gathered at once.
_N_PAIRS = 1024


def find_nearest(
    queries: np.ndarray,
    documents: np.ndarray,
    n_neighbors: int,
    *,
    rows: np.ndarray | None = None,
    max_norm: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the nearest documents and their inner products, best first.

    Equal products are in the order of the rows. A product does not depend on the other queries and
    documents. With `rows`, only these documents are considered. `max_norm` is the largest norm of a
    document, if the caller knows it.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    rows = np.arange(len(documents)) if rows is None else np.asarray(rows, dtype=np.intp)
    n_neighbors = min(n_neighbors, len(rows))
    nearest = np.empty((len(queries), n_neighbors), dtype=np.intp)
    scores = np.empty((len(queries), n_neighbors), dtype=np.float32)
    if not nearest.size:
        return nearest, scores
    limit = _largest_norm(documents, rows) if max_norm is None else max_norm
    is_bfloat16 = Bfloat16Products.is_faster(len(queries), len(rows), limit)
    passes = _PASSES if is_bfloat16 else _PASSES[1:]
    for batch in gen_batches(len(queries), _N_QUERIES_BFLOAT16 if is_bfloat16 else _N_QUERIES):
        found = _find_candidates(queries[batch], documents, rows, n_neighbors, limit, passes)
        nearest[batch], scores[batch] = rescore(queries[batch], documents, found, n_neighbors)
    return nearest, scores


def rescore(
    queries: np.ndarray, documents: np.ndarray, candidates: np.ndarray, n_neighbors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best candidates and their products; -1 marks an unused place, with -inf.

    The bits of a product depend on nothing but the two embeddings.
    """
    products = score_pairs(queries, documents, candidates)
    order = np.lexsort((candidates, -products), axis=1)[:, :n_neighbors]
    best = np.take_along_axis(candidates, order, axis=1)
    return best, np.take_along_axis(products, order, axis=1).astype(np.float32)


def score_pairs(queries: np.ndarray, documents: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return the float64 product of each query with each of its candidates, -inf for -1."""
    products = np.full(candidates.shape, -np.inf)
    query, column = np.nonzero(candidates >= 0)
    row = candidates[query, column]
    for start in range(0, len(row), _N_PAIRS):
        batch = slice(start, start + _N_PAIRS)
        a = queries[query[batch]].astype(np.float64)
        b = documents[row[batch]].astype(np.float64)
        products[query[batch], column[batch]] = np.einsum("ij,ij->i", a, b)
    return products


class _Float32Products:
    """Products of some queries with any documents, in float32."""

    def __init__(self, queries: np.ndarray) -> None:
        self._queries = queries

    def find_largest(self, block: np.ndarray, n_kept: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the columns and values of the largest products of each query, in any order."""
        return _find_largest(self._queries @ block.T, n_kept)

    def bound_error(self, max_norm: float, magnitudes: np.ndarray) -> np.ndarray:
        """Return how far off products may be, for each query."""
        del magnitudes
        norms = np.linalg.norm(self._queries, axis=1)
        return self._queries.shape[1] * np.finfo(np.float32).eps * norms * max_norm


# How products are computed, and the number of candidates beyond the neighbors, for products that
# differ by rounding only. Where they do not suffice, the next pass has more, and after the last one
# all documents are considered.
_PASSES: list[tuple[type[Bfloat16Products | _Float32Products], int]] = [
    (Bfloat16Products, 22),
    (_Float32Products, 6),
    (_Float32Products, 96),
]


def _find_candidates(
    queries: np.ndarray,
    documents: np.ndarray,
    rows: np.ndarray,
    n_neighbors: int,
    limit: float,
    passes: list[tuple[type[Bfloat16Products | _Float32Products], int]],
) -> np.ndarray:
    """Return rows among which are the nearest documents for sure, and -1 in unused places."""
    (kind, n_spare), *others = passes
    products = kind(queries)
    found, kept, smallest = [], [], []
    for block, start in _blocks(documents, rows):
        columns, values = products.find_largest(block, n_neighbors + n_spare)
        found.append(rows[start + columns])
        kept.append(values)
        is_all = values.shape[1] == len(block)
        smallest.append(np.full(len(queries), -np.inf) if is_all else values.min(axis=1))
    candidates, values = np.hstack(found), np.hstack(kept)
    n_last = values.shape[1] - n_neighbors
    last = np.partition(values, n_last, axis=1)[:, n_last].astype(np.float64)
    magnitudes = np.maximum(np.abs(last), np.abs(values.max(axis=1)))
    # Every document whose product reaches the threshold may be among the nearest.
    threshold = last - 2 * products.bound_error(limit, magnitudes)
    candidates = _keep(candidates, values >= threshold[:, np.newaxis])
    # Where a block may have more of them, products are nearly equal.
    unsure = np.flatnonzero(np.max(smallest, axis=0) >= threshold)
    if not unsure.size:
        return candidates
    if others:
        more = _find_candidates(queries[unsure], documents, rows, n_neighbors, limit, others)
    else:
        more = np.array(
            [_scan(queries[i], documents, rows, n_neighbors, threshold[i]) for i in unsure]
        )
    width = max(candidates.shape[1], more.shape[1])
    candidates = np.pad(candidates, ((0, 0), (0, width - candidates.shape[1])), constant_values=-1)
    candidates[unsure] = -1
    candidates[unsure, : more.shape[1]] = more
    return candidates


def _keep(candidates: np.ndarray, is_kept: np.ndarray) -> np.ndarray:
    """Move the candidates to keep to the front, with -1 behind them."""
    order = np.argsort(~is_kept, axis=1, kind="stable")[:, : is_kept.sum(axis=1).max()]
    kept = np.where(is_kept, candidates, -1)
    return np.take_along_axis(kept, order, axis=1)


def _scan(
    query: np.ndarray, documents: np.ndarray, rows: np.ndarray, n_neighbors: int, threshold: float
) -> np.ndarray:
    """Return the nearest documents of one query among all whose product reaches the threshold."""
    reached = [
        rows[start + np.flatnonzero(block @ query >= threshold)]
        for block, start in _blocks(documents, rows)
    ]
    candidates = np.concatenate(reached)[np.newaxis]
    return rescore(query[np.newaxis], documents, candidates, n_neighbors)[0][0]


def _find_largest(products: np.ndarray, n_kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns and values of the largest products of each row, in any order."""
    n_rows, n_columns = products.shape
    n_tiles = n_columns // _TILE
    if n_tiles <= 2 * n_kept:
        columns = _top_columns(products, min(n_kept, n_columns))
        return columns, np.take_along_axis(products, columns, axis=1)
    # The largest products are in the tiles with the largest maxima. A tile has every n_tiles-th column.
    tiled = products[:, : n_tiles * _TILE].reshape(n_rows, _TILE, n_tiles)
    tiles = _top_columns(tiled.max(axis=1), n_kept)
    columns = (tiles[:, np.newaxis] + n_tiles * np.arange(_TILE)[:, np.newaxis]).reshape(n_rows, -1)
    rest = np.arange(n_tiles * _TILE, n_columns)
    columns = np.hstack([columns, np.broadcast_to(rest, (n_rows, len(rest)))])
    values = np.take_along_axis(products, columns, axis=1)
    top = _top_columns(values, n_kept)
    return np.take_along_axis(columns, top, axis=1), np.take_along_axis(values, top, axis=1)


def _top_columns(values: np.ndarray, n_kept: int) -> np.ndarray:
    return np.argpartition(values, values.shape[1] - n_kept, axis=1)[:, values.shape[1] - n_kept :]


def _blocks(documents: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Yield blocks of the documents in `rows`, and where they start."""
    is_slice = len(rows) == len(documents)
    for batch in gen_batches(len(rows), _N_DOCUMENTS):
        block = documents[batch] if is_slice else documents[rows[batch]]
        yield np.asarray(block, dtype=np.float32), batch.start


def _largest_norm(documents: np.ndarray, rows: np.ndarray) -> float:
    squares = (np.einsum("ij,ij->i", block, block).max() for block, _ in _blocks(documents, rows))
    return float(np.sqrt(max(squares)))
