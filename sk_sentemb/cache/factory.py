"""Open a cache from the value of a `cache` parameter, and fill it ahead of time."""

import os
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import _safe_indexing, gen_batches, get_tags
from sklearn.utils.validation import _num_samples, check_is_fitted

from .._inputs import make_sliceable
from .disk import DiskCache
from .memory import MemoryCache, default_memory_cache


def open_cache(cache: Any = "memory") -> MemoryCache | DiskCache | None:
    """Return the cache that a value of ``SentenceEmbedder(cache=)`` selects.

    Parameters
    ----------
    cache : "memory", bool, str, path-like, MemoryCache, DiskCache or None, default="memory"
        Specification of the cache:

        - ``"memory"``: the in-memory cache that all embedders of the process share;
        - ``True``: the disk cache in the platform's folder for caches;
        - a path-like object, or a str with a path separator such as ``"./embeddings"``: a disk cache in
          that folder;
        - a :class:`MemoryCache` or :class:`DiskCache`: that cache;
        - ``None`` or ``False``: no cache.

    Returns
    -------
    MemoryCache, DiskCache or None
        The cache, to inspect, clear or limit it.

    Raises
    ------
    TypeError
        If `cache` is of another type.
    ValueError
        If `cache` is another str without a path separator.

    Examples
    --------
    >>> from sk_sentemb.cache import open_cache
    >>> open_cache("memory").max_bytes
    1000000000
    """
    if cache is None or isinstance(cache, bool | np.bool_):
        return DiskCache() if cache else None
    if isinstance(cache, MemoryCache | DiskCache):
        return cache
    if not isinstance(cache, str | os.PathLike):
        raise TypeError(f"cache={cache!r}: pass 'memory', a folder, True, a cache or None.")
    if cache == "memory":
        return default_memory_cache()
    if isinstance(cache, str) and not any(mark in cache for mark in (os.sep, os.altsep) if mark):
        folder = f"{cache}{os.sep}" if cache.startswith("~") else f".{os.sep}{cache}"
        raise ValueError(
            f"cache={cache!r} is neither 'memory' nor a path with a separator. Pass {folder!r} or "
            f"pathlib.Path({cache!r}) for a folder of that name, True for the platform's folder for "
            "caches, or None for no cache."
        )
    return DiskCache(cache)


def prewarm(embedder: Any, X: Any, *, n_rows: int = 10_000) -> None:
    """Fill an embedder's cache without returning embeddings.

    No more than ``n_rows`` rows are embedded at once, so that ``X`` may be larger than memory.

    Parameters
    ----------
    embedder : SentenceEmbedder or ImageEmbedder
        The embedder, which is not changed. It may be unfitted, unless it has a ``fine_tuner``.
    X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
        Texts or images. It may have no rows.
    n_rows : int, default=10_000
        Number of rows that are embedded at once.

    Raises
    ------
    NotFittedError
        If the embedder has a ``fine_tuner`` and is not fitted.
    TypeError
        If `embedder` is not an embedder but, for example, a pipeline.
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
            f"the embedder has cache={embedder.cache!r}; pass an embedder with a cache."
        )
    X = make_sliceable(X)
    n_samples = _num_samples(X)
    if not n_samples:
        return
    embedder = load_fitted(embedder, _safe_indexing(X, slice(0, 1)))
    for rows in gen_batches(n_samples, n_rows):
        embedder.transform(_safe_indexing(X, rows))


def load_fitted(embedder: Any, sample: Any) -> Any:
    """Return the embedder if it is fitted, else a clone whose model is loaded."""
    try:
        check_is_fitted(embedder)
    except NotFittedError:
        pass
    else:
        return embedder
    trains = getattr(embedder, "fine_tuner", None) is not None
    if trains or get_tags(embedder).target_tags.required:
        raise NotFittedError(
            f"this {type(embedder).__name__} has a fine_tuner and is not fitted. Call fit with the "
            "training data first, or pass fine_tuner=None to use the model as it is."
        )
    return clone(embedder).fit(sample)
