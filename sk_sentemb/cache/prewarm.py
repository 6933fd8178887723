"""Embed texts ahead of time."""

from typing import Any

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import _safe_indexing, gen_batches
from sklearn.utils.validation import _num_samples, check_is_fitted

from .opening import open_cache


def prewarm(embedder: Any, X: Any, *, n_rows: int = 10_000) -> None:
    """Embed texts for the embedder's cache alone, so that they are there when they are wanted.

    The vectors are not returned, and no more than those of ``n_rows`` rows are in memory at once,
    beside the cache.

    Parameters
    ----------
    embedder : SentenceEmbedder
        Fitted or not; it stays as it is.
    X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
        Texts.
    n_rows : int, default=10_000
        How many to take at once.

    Raises
    ------
    ValueError
        If the embedder has no cache.

    Examples
    --------
    >>> from sk_sentemb import SentenceEmbedder
    >>> from sk_sentemb.cache import MemoryCache, prewarm
    >>> cache = MemoryCache()
    >>> prewarm(SentenceEmbedder(cache=cache), ["A text.", "Another one."])
    >>> cache.statistics().n_texts
    2
    """
    if open_cache(embedder.cache) is None:
        raise ValueError(
            f"cache={embedder.cache!r} of the embedder keeps nothing; pass one with a cache."
        )
    try:
        check_is_fitted(embedder)
    except NotFittedError:
        embedder = clone(embedder).fit(_safe_indexing(X, slice(0, 1)))
    for rows in gen_batches(_num_samples(X), n_rows):
        embedder.transform(_safe_indexing(X, rows))
