"""What a value of ``SentenceEmbedder(cache=)`` stands for."""

import os
from typing import Any

import numpy as np

from .disk import DiskCache
from .memory import MemoryCache, default_memory_cache


def open_cache(cache: Any = "memory") -> MemoryCache | DiskCache | None:
    """Return the cache that a value of ``SentenceEmbedder(cache=)`` stands for.

    Parameters
    ----------
    cache : "memory", bool, str, path-like, MemoryCache, DiskCache or None, default="memory"
        - ``"memory"``: the one in memory that all embedders of the process share.
        - True: the disk cache in the platform's folder.
        - a path-like object, or a str with a path separator, such as ``"./embeddings"``: a disk cache in
          that folder.
        - a cache: itself.
        - None or False: none.

    Returns
    -------
    MemoryCache, DiskCache or None
        To look at, clear, or bound.

    Raises
    ------
    TypeError
        If it stands for none.
    ValueError
        If it is another str without a path separator.

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
