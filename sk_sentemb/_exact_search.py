"""Exact nearest neighbors of embeddings by inner product, block by block."""

import numpy as np


def find_nearest(
    queries: np.ndarray,
    documents: np.ndarray,
    n_neighbors: int,
    *,
    rows: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the nearest documents and their inner products, best first.

    Equal products are in the order of the rows. With `rows`, only these documents are considered.
    """
    found = np.arange(len(documents)) if rows is None else np.asarray(rows)
    products = queries @ documents[found].T
    order = np.argsort(-products, axis=1, kind="stable")[:, :n_neighbors]
    return found[order], np.take_along_axis(products, order, axis=1)
