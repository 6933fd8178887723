"""What a value of ``SentenceEmbedder(cache=)`` stands for."""

import os
from typing import Any

import numpy as np

from .disk import DiskCache
from .memory import MemoryCache, shared_memory_cache


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

    Raises
    ------
    TypeError
        If it stands for none.
    ValueError
        If it is the empty str.

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
    return shared_memory_cache() if cache == "memory" else DiskCache(cache)
