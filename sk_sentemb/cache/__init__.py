"""Embeddings by content: each distinct text is embedded once, in this process or in any."""

from .disk import DiskCache
from .factory import open_cache
from .memory import MemoryCache
from .namespace import Space as Space
from .namespace import space_of as space_of
from .namespace import space_of_recipe as space_of_recipe
from .prewarm import load_fitted as load_fitted
from .prewarm import prewarm
from .single_flight import CHARACTERS_PER_TOKEN as CHARACTERS_PER_TOKEN
from .single_flight import Cache as Cache
from .single_flight import Embed as Embed
from .single_flight import embed_once as embed_once
from .statistics import CacheStatistics

__all__ = [
    "CacheStatistics",
    "DiskCache",
    "MemoryCache",
    "open_cache",
    "prewarm",
]
