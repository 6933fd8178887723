"""Embeddings by content: each distinct text is embedded once, in this process or in any."""

from .disk import DiskCache
from .factory import open_cache
from .memory import MemoryCache
from .namespace import Namespace as Namespace
from .namespace import namespace_for as namespace_for
from .namespace import namespace_for_params as namespace_for_params
from .prewarm import load_fitted as load_fitted
from .prewarm import prewarm
from .single_flight import CHARACTERS_PER_TOKEN as CHARACTERS_PER_TOKEN
from .single_flight import Cache as Cache
from .single_flight import Embed as Embed
from .single_flight import get_or_compute as get_or_compute
from .statistics import CacheStatistics

__all__ = [
    "CacheStatistics",
    "DiskCache",
    "MemoryCache",
    "open_cache",
    "prewarm",
]
