"""Caches of embeddings by content: each distinct text is embedded once, by all processes."""

from .disk import DiskCache
from .factory import load_fitted as load_fitted
from .factory import open_cache, prewarm
from .memory import MemoryCache
from .namespace import Namespace as Namespace
from .namespace import namespace_for as namespace_for
from .namespace import namespace_for_params as namespace_for_params
from .single_flight import CHARACTERS_PER_TOKEN as CHARACTERS_PER_TOKEN
from .single_flight import Cache as Cache
from .single_flight import Compute as Compute
from .single_flight import get_or_compute as get_or_compute
from .statistics import CacheStatistics

__all__ = [
    "CacheStatistics",
    "DiskCache",
    "MemoryCache",
    "open_cache",
    "prewarm",
]
