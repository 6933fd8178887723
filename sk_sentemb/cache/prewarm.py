"""Embed texts ahead of time."""

from typing import Any

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import _safe_indexing, gen_batches, get_tags
from sklearn.utils.validation import _num_samples, check_is_fitted

from .._inputs import make_sliceable
from .factory import open_cache


def prewarm(embedder: Any, X: Any, *, n_rows: int = 10_000) -> None:
    """Embed texts for the embedder's cache alone, so that they are there when they are wanted.

    The vectors are not returned, and no more than those of ``n_rows`` rows are in memory at once,
    beside the cache.

    Parameters
    ----------
    embedder : SentenceEmbedder or ImageEmbedder
        It may be unfitted, unless it has a ``fine_tuner``. It is not changed.
    X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
        Texts or images. It may have no rows.
    n_rows : int, default=10_000
        How many to take at once.

    Raises
    ------
    NotFittedError
        If the embedder has a ``fine_tuner`` and is not fitted.
    TypeError
        If it is not an embedder, but for example a pipeline.
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
    if not hasattr(embedder, "cache") or not hasattr(embedder, "transform"):
        raise TypeError(
            f"embedder is of type {type(embedder).__name__}; pass a SentenceEmbedder or an "
            "ImageEmbedder. From a pipeline, pass the step, such as pipeline[0]."
        )
    if open_cache(embedder.cache) is None:
        raise ValueError(
            f"cache={embedder.cache!r} of the embedder keeps nothing; pass one with a cache."
        )
    X = make_sliceable(X)
    n_samples = _num_samples(X)
    if not n_samples:
        return
    embedder = load_fitted(embedder, _safe_indexing(X, slice(0, 1)))
    for rows in gen_batches(n_samples, n_rows):
        embedder.transform(_safe_indexing(X, rows))


def load_fitted(embedder: Any, sample: Any) -> Any:
    """Return a fitted embedder: itself, or a clone with its model loaded but not trained."""
    try:
        check_is_fitted(embedder)
    except NotFittedError:
        pass
    else:
        return embedder
    learns = getattr(embedder, "fine_tuner", None) is not None
    if learns or get_tags(embedder).target_tags.required:
        raise NotFittedError(
            f"this {type(embedder).__name__} has a fine_tuner and is not fitted. Call fit with the "
            "training data first, or pass fine_tuner=None to use the model as it is."
        )
    return clone(embedder).fit(sample)
