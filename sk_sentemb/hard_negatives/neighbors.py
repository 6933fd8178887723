"""Which texts are nearest to which queries: vectors, their cosines, and ranks."""

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

# The last bits of a matrix product in float32 depend on how many rows it has. What is so close to the
# last rank is computed once more, each pair by itself, and ranks do not depend on blocks.
_ROUNDING = 1e-4

# What of that is in memory at once.
_PAIRS_AT_ONCE = 1024


class Near(NamedTuple):
    """Pairs of a query and a document near it, query by query and rank by rank."""

    query: np.ndarray
    document: np.ndarray
    rank: np.ndarray


def fitted(name: str, embedder: Any, documents: list[str]) -> Any:
    """Return an embedder that is fitted: itself, or a clone that is fitted to the documents."""
    try:
        # What is no estimator has nothing to be fitted to.
        if isinstance(embedder, BaseEstimator):
            check_is_fitted(embedder)
    except NotFittedError:
        if any(isinstance(value, FineTuner) for value in embedder.get_params().values()):
            raise ValueError(
                f"{name} is not fitted and has a fine_tuner, but triplets are yet to be mined. Fit it "
                "first, or pass one with fine_tuner=None."
            ) from None
        return clone(embedder).fit(documents)
    return embedder


def unit_vectors(name: str, embedder: Any, texts: list[str]) -> Any:
    """Embed texts."""
    vectors = check_array(
        embedder.transform(texts),
        accept_sparse="csr",
        dtype=np.float32,
        input_name=f"the output of {name}",
    )
    if vectors.shape[0] != len(texts):
        raise ValueError(
            f"{name} gives {vectors.shape[0]} vectors for {len(texts)} texts. Pass a transformer that "
            "takes a list of texts and gives a vector for each."
        )
    return normalize(vectors)


def nearest(
    queries: Any, corpus: Any, never: np.ndarray, block: slice, ranks: tuple[int, int]
) -> Near:
    """Find the texts of some ranks for a block of queries."""
    cosines = safe_sparse_dot(queries[block], corpus.T, dense_output=True)
    start, stop = np.searchsorted(never[:, 0], [block.start, block.stop])
    query, document = never[start:stop].T
    cosines[query - block.start, document] = -np.inf
    n_ranked = min(ranks[1], cosines.shape[1])
    last = np.partition(cosines, -n_ranked, axis=1)[:, -n_ranked]
    # -2 is less than any cosine and more than what has no rank.
    query, document = np.nonzero(cosines >= np.maximum(last - _ROUNDING, -2)[:, np.newaxis])
    query += block.start
    document = document[np.lexsort((-cosines_of(queries, corpus, query, document), query))]
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    within = (rank >= ranks[0]) & (rank < ranks[1])
    return Near(query[within], document[within], rank[within])


def cosines_of(queries: Any, documents: Any, query: np.ndarray, document: np.ndarray) -> np.ndarray:
    """Return the cosines of pairs, each the same to the last bit among whatever others."""
    cosines = np.empty(len(query))
    for start in range(0, len(query), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        a = queries[query[part]].astype(np.float64)
        b = documents[document[part]].astype(np.float64)
        products = a.multiply(b) if issparse(a) else a * b
        cosines[part] = np.asarray(products.sum(axis=1)).ravel()
    return cosines
