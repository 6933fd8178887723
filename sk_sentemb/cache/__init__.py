"""Embeddings by content: each distinct text is embedded once, in this process or in any."""

from .disk import DiskCache
from .memory import MemoryCache
from .opening import open_cache
from .prewarm import prewarm
from .statistics import CacheStatistics

__all__ = [
    "CacheStatistics",
    "DiskCache",
    "MemoryCache",
    "open_cache",
    "prewarm",
]
