"""Exact nearest neighbors of embeddings by inner product, block by block."""

from collections.abc import Iterator

import numpy as np
from sklearn.utils import gen_batches

# Sizes of the blocks of queries and documents whose products are in memory at once (16 MB).
_N_QUERIES, _N_DOCUMENTS = 256, 16384

# Number of documents whose largest product is compared with that of other tiles.
_TILE = 32

# Number of candidates beyond the neighbors, for products that differ by rounding only. Where they
# do not suffice, there are more, and finally all documents are considered.
_SPARE = 6
_MAX_SPARE = 96

# Number of pairs whose embeddings are gathered at once.
_N_PAIRS = 8192


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
    if nearest.size:
        norms = np.linalg.norm(queries, axis=1)
        limit = _largest_norm(documents, rows) if max_norm is None else max_norm
        for batch in gen_batches(len(queries), _N_QUERIES):
            # The bound of the error of a float32 product.
            error = queries.shape[1] * np.finfo(np.float32).eps * norms[batch] * limit
            candidates = _find_candidates(queries[batch], documents, rows, n_neighbors, error)
            nearest[batch], scores[batch] = rescore(
                queries[batch], documents, candidates, n_neighbors
            )
    return nearest, scores


def rescore(
    queries: np.ndarray, documents: np.ndarray, candidates: np.ndarray, n_neighbors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best candidates and their products; -1 is no candidate, and has -inf.

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


def _find_candidates(
    queries: np.ndarray,
    documents: np.ndarray,
    rows: np.ndarray,
    n_neighbors: int,
    error: np.ndarray,
    n_spare: int = _SPARE,
) -> np.ndarray:
    """Return rows among which are the nearest documents for sure, and -1 in unused places."""
    n_kept = n_neighbors + n_spare
    found, products, smallest = [], [], []
    for block, start in _blocks(documents, rows):
        columns, values = _largest(queries @ block.T, n_kept)
        found.append(rows[start + columns])
        products.append(values)
        is_all = values.shape[1] == len(block)
        smallest.append(np.full(len(queries), -np.inf) if is_all else values.min(axis=1))
    candidates, values = np.hstack(found), np.hstack(products)
    n_last = values.shape[1] - n_neighbors
    # Every document whose product reaches the threshold may be among the nearest.
    threshold = np.partition(values, n_last, axis=1)[:, n_last] - 2 * error
    candidates = np.where(values >= threshold[:, np.newaxis], candidates, -1)
    # Where a block may have more of them, products are nearly equal.
    unsure = np.flatnonzero(np.max(smallest, axis=0) >= threshold)
    if not unsure.size:
        return candidates
    if n_spare < _MAX_SPARE:
        more = _find_candidates(
            queries[unsure], documents, rows, n_neighbors, error[unsure], n_spare=16 * n_spare
        )
    else:
        more = np.array(
            [_scan(queries[i], documents, rows, n_neighbors, threshold[i]) for i in unsure]
        )
    width = max(candidates.shape[1], more.shape[1])
    candidates = np.pad(candidates, ((0, 0), (0, width - candidates.shape[1])), constant_values=-1)
    candidates[unsure] = -1
    candidates[unsure, : more.shape[1]] = more
    return candidates


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


def _largest(products: np.ndarray, n_kept: int) -> tuple[np.ndarray, np.ndarray]:
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
