"""Nearest neighbors of queries by cosine similarity."""

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import normalize
from sklearn.utils import check_array
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted

from .._training import FineTuner

# The last bits of a float32 matrix product depend on its number of rows. Similarities so close to that
# of the last rank are computed again, each pair by itself, so that ranks do not depend on blocks.
_ROUNDING = 1e-4

# Number of pairs that are in memory at once when they are computed again.
_BATCH_PAIRS = 1024


class Neighbors(NamedTuple):
    """Pairs of a query and a document near it, query by query and rank by rank."""

    query: np.ndarray
    document: np.ndarray
    rank: np.ndarray


def fit_if_needed(name: str, embedder: Any, documents: list[str]) -> Any:
    """Return the embedder if it is fitted, else a clone that is fitted to the documents."""
    try:
        # An object that is not an estimator needs no fit.
        if isinstance(embedder, BaseEstimator):
            check_is_fitted(embedder)
    except NotFittedError:
        if any(isinstance(value, FineTuner) for value in embedder.get_params().values()):
            raise ValueError(
                f"{name} is not fitted and has a fine_tuner, but there are no triplets to train on yet. "
                "Fit it first, or pass one with fine_tuner=None."
            ) from None
        return clone(embedder).fit(documents)
    return embedder


def compute_unit_embeddings(name: str, embedder: Any, texts: list[str]) -> Any:
    """Compute L2-normalized embeddings."""
    embeddings = check_array(
        embedder.transform(texts),
        accept_sparse="csr",
        dtype=np.float32,
        input_name=f"the output of {name}",
    )
    if embeddings.shape[0] != len(texts):
        raise ValueError(
            f"{name} returned {embeddings.shape[0]} embeddings for {len(texts)} texts. Pass a "
            "transformer that takes a list of texts and returns one embedding for each."
        )
    return normalize(embeddings)


def find_neighbors(
    queries: Any, corpus: Any, excluded: np.ndarray, block: slice, ranks: tuple[int, int]
) -> Neighbors:
    """Find the neighbors of a block of queries from the first rank to the one before the last."""
    similarities = safe_sparse_dot(queries[block], corpus.T, dense_output=True)
    start, stop = np.searchsorted(excluded[:, 0], [block.start, block.stop])
    query, document = excluded[start:stop].T
    similarities[query - block.start, document] = -np.inf
    n_ranked = min(ranks[1], similarities.shape[1])
    last = np.partition(similarities, -n_ranked, axis=1)[:, -n_ranked]
    # -2 is less than any similarity and more than those of excluded pairs.
    query, document = np.nonzero(similarities >= np.maximum(last - _ROUNDING, -2)[:, np.newaxis])
    query += block.start
    exact = compute_similarities(queries, corpus, query, document)
    document = document[np.lexsort((-exact, query))]
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    in_range = (rank >= ranks[0]) & (rank < ranks[1])
    return Neighbors(query[in_range], document[in_range], rank[in_range])


def compute_similarities(
    queries: Any, documents: Any, query: np.ndarray, document: np.ndarray
) -> np.ndarray:
    """Compute cosine similarities whose bits do not depend on the other pairs."""
    similarities = np.empty(len(query))
    for start in range(0, len(query), _BATCH_PAIRS):
        batch = slice(start, start + _BATCH_PAIRS)
        a = queries[query[batch]].astype(np.float64)
        b = documents[document[batch]].astype(np.float64)
        products = a.multiply(b) if issparse(a) else a * b
        similarities[batch] = np.asarray(products.sum(axis=1)).ravel()
    return similarities
