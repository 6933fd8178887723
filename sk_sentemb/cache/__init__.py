"""Embeddings by content: each distinct text is embedded once, in this process or in any."""

import os
from typing import Any

from .disk import DiskCache
from .memory import MemoryCache, shared_memory_cache
from .prewarm import prewarm
from .statistics import CacheStatistics

__all__ = [
    "CacheStatistics",
    "DiskCache",
    "MemoryCache",
    "open_cache",
    "prewarm",
]


def open_cache(cache: Any = "memory") -> MemoryCache | DiskCache | None:
    """Return the cache that a value of ``SentenceEmbedder(cache=)`` stands for.

    Parameters
    ----------
    cache : "memory", bool, str, path-like, MemoryCache, DiskCache or None, default="memory"
        ``"memory"`` for the one in memory that all embedders of the process share; True for the disk
        cache in the platform's folder; a path for one in that folder; a cache for itself; None or
        False for none.

    Returns
    -------
    MemoryCache, DiskCache or None
        To look at, clear, or bound.

    Examples
    --------
    >>> from sk_sentemb.cache import open_cache
    >>> open_cache("memory").max_bytes
    1000000000
    """
    if cache is None or cache is False:
        return None
    if cache is True:
        return DiskCache()
    if isinstance(cache, MemoryCache | DiskCache):
        return cache
    return shared_memory_cache() if cache == "memory" else DiskCache(os.fspath(cache))
