"""Embeddings in memory, shared by all embedders of the process."""

import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, Self
from weakref import WeakSet, WeakValueDictionary

from ..encoder import ForkSafeLock
from .leases import Leases
from .namespace import Namespace, prefix_of
from .statistics import CacheStatistics, NamespaceUse, is_of

# What Python takes for an entry beside the record itself: two objects' heads, the key, the place in
# the dict and in its order. Measured with tracemalloc.
ENTRY_BYTES = 250

# A worker process that meets a pickled cache again and again goes on with the same one, also while
# nobody there holds it.
_KNOWN: WeakValueDictionary[str, "MemoryCache"] = WeakValueDictionary()
_KEPT: list["MemoryCache"] = []


class MemoryCache:
    """A bounded cache in memory; what was used least recently goes first.

    It belongs to its process: copies and clones of an embedder share it, threads may use it at once,
    and a worker process that gets it in a pickle has an empty one of its own, which lasts as long as
    the worker.

    Parameters
    ----------
    max_bytes : int, default=1_000_000_000
        The most bytes of vectors, keys and bookkeeping. Can be set at any time.

    See Also
    --------
    DiskCache : Lasts longer than the process.

    Examples
    --------
    >>> from sk_sentemb import SentenceEmbedder
    >>> from sk_sentemb.cache import MemoryCache
    >>> cache = MemoryCache(max_bytes=100_000_000)
    >>> embedder = SentenceEmbedder(cache=cache).fit(["A text."])
    >>> for _ in range(3):
    ...     vectors = embedder.transform(["A text.", "Another one.", "A text."])
    >>> cache.statistics().misses, cache.statistics().hits
    (2, 4)
    """

    # Nobody else waits for what this process embeds, so a turn may be long and well packed.
    runs_per_turn = 64

    def __init__(self, max_bytes: int = 1_000_000_000) -> None:
        self._name(uuid.uuid4().hex)
        self._lock = ForkSafeLock()
        self._claims = Leases()
        self._records: OrderedDict[bytes, bytes] = OrderedDict()
        self._spaces: dict[bytes, Namespace] = {}
        self._n_bytes = self._hits = self._misses = 0
        self._fronts: WeakSet[MemoryCache] = WeakSet()
        self.max_bytes = max_bytes

    @property
    def max_bytes(self) -> int:
        """The most bytes that it may take; setting it lower drops what was used least recently."""
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, max_bytes: int) -> None:
        self._max_bytes = checked_bytes(max_bytes)
        with self._lock:
            self._evict()
            fronts = list(self._fronts)
        for front in fronts:
            front.max_bytes = min(front.max_bytes, self.max_bytes)

    def get(self, space: Namespace, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key, or None."""
        del space
        with self._lock:
            records = list(map(self._records.get, keys))
            for key, record in zip(keys, records, strict=True):
                if record is not None:
                    self._records.move_to_end(key)
                    self._hits += 1
        return records

    def put(self, space: Namespace, records: Mapping[bytes, bytes]) -> None:
        """Keep records that were not there."""
        with self._lock:
            self._spaces[space.prefix] = space
            for key, record in records.items():
                self._n_bytes -= _size(self._records.pop(key, None))
                self._records[key] = record
                self._n_bytes += _size(record)
            self._misses += len(records)
            self._evict()

    def claim(self, space: Namespace, keys: Sequence[bytes], limit: int) -> list[bytes]:
        """Return up to so many of the keys that the caller shall embed; then give them back."""
        del space
        claimed = self._claims.take(keys, limit)
        # Somebody may have been done with some between the caller's last look and the claim.
        with self._lock:
            mine = [key for key in claimed if key not in self._records]
        self._claims.give_back(set(claimed).difference(mine))
        return mine

    def give_back(self, space: Namespace, keys: Iterable[bytes]) -> list[bytes]:
        """Let others have those of the keys that this thread claimed, and return them."""
        del space
        return self._claims.give_back(keys)

    def wait(self, space: Namespace, keys: Sequence[bytes]) -> None:
        """Wait until somebody is done with one of the keys."""
        del space
        self._claims.wait(keys)

    def holds(self, n_texts: int, space: Namespace) -> bool:
        """Say whether so many texts have room."""
        return n_texts * (space.record_bytes + ENTRY_BYTES) <= self.max_bytes

    def clear(self, model: str | None = None) -> int:
        """Drop embeddings. The shared memory cache also drops those that disk caches keep in memory.

        Parameters
        ----------
        model : str, default=None
            Of this model only: its name, or its fingerprint.

        Returns
        -------
        int
            The number of embeddings dropped, without those of disk caches.
        """
        with self._lock:
            fronts = list(self._fronts)
            gone = {
                prefix
                for prefix, space in self._spaces.items()
                if is_of(model, space.model, space.fingerprint)
            }
            keys = [key for key in self._records if prefix_of(key) in gone]
            for key in keys:
                self._n_bytes -= _size(self._records.pop(key))
        for front in fronts:
            front.clear(model)
        return len(keys)

    def statistics(self) -> CacheStatistics:
        """Count what is there.

        Returns
        -------
        CacheStatistics
            Texts and bytes, hits and misses, and the share of each model.
        """
        with self._lock:
            n_texts = Counter(map(prefix_of, self._records))
            spaces = tuple(
                NamespaceUse(
                    space.model,
                    space.fingerprint,
                    space.dim,
                    n_texts[prefix],
                    n_texts[prefix] * (space.record_bytes + ENTRY_BYTES),
                )
                for prefix, space in self._spaces.items()
                if n_texts[prefix]
            )
            return CacheStatistics(
                n_texts=len(self._records),
                n_bytes=self._n_bytes,
                max_bytes=self._max_bytes,
                hits=self._hits,
                misses=self._misses,
                n_embedded=self._misses,
                spaces=spaces,
            )

    def _evict(self) -> None:
        while self._n_bytes > self._max_bytes:
            _, record = self._records.popitem(last=False)
            self._n_bytes -= _size(record)

    def __repr__(self) -> str:
        return f"MemoryCache(max_bytes={self.max_bytes})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _attached, (self._id, self.max_bytes)

    def _name(self, name: str) -> None:
        self._id = name
        _KNOWN[name] = self


def checked_bytes(max_bytes: int) -> int:
    """Return a bound in bytes, or raise."""
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, Integral) or max_bytes < 0:
        raise ValueError(f"max_bytes={max_bytes!r}: pass a number of bytes, 0 or more.")
    return int(max_bytes)


def _size(record: bytes | None) -> int:
    return 0 if record is None else len(record) + ENTRY_BYTES


def _attached(name: str, max_bytes: int) -> MemoryCache:
    """Return this process's share of a cache that was pickled."""
    cache = _KNOWN.get(name)
    if cache is None:
        cache = MemoryCache(max_bytes)
        cache._name(name)
        _KEPT.append(cache)
    return cache


_SHARED = MemoryCache()


def default_memory_cache() -> MemoryCache:
    """Return the cache of all embedders with ``cache="memory"``."""
    return _SHARED


def new_front() -> MemoryCache:
    """Return an empty memory cache for a disk cache, bounded and cleared with the shared one."""
    front = MemoryCache(_SHARED.max_bytes)
    with _SHARED._lock:
        _SHARED._fronts.add(front)
    return front
