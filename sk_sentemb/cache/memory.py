"""In-memory cache, shared by all embedders of the process."""

import os
import threading
import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, Self
from weakref import WeakSet, WeakValueDictionary

from ..encoder import ForkSafeLock
from .namespace import Namespace, get_prefix
from .statistics import CacheStatistics, NamespaceUse, matches_model

# Bytes that Python takes for an entry in addition to the record. Measured with tracemalloc.
ENTRY_BYTES = 250

# A worker process that unpickles a cache repeatedly keeps using the same one, even while nothing
# there refers to it.
_caches_by_id: WeakValueDictionary[str, "MemoryCache"] = WeakValueDictionary()
_pinned: list["MemoryCache"] = []


class MemoryCache:
    """In-memory cache of one process, which drops the least recently used embeddings first.

    Copies and clones of an embedder share the cache, and threads may use it at the same time. A worker
    process that receives it in a pickle has an empty cache of its own, for the lifetime of the worker.

    Parameters
    ----------
    max_bytes : int, default=1_000_000_000
        Maximum size of embeddings, keys and bookkeeping, in bytes. It can be set at any time.

    See Also
    --------
    DiskCache : Persistent cache.

    Examples
    --------
    >>> from sk_sentemb import SentenceEmbedder
    >>> from sk_sentemb.cache import MemoryCache
    >>> cache = MemoryCache(max_bytes=100_000_000)
    >>> embedder = SentenceEmbedder(cache=cache).fit(["A text."])
    >>> for _ in range(3):
    ...     embeddings = embedder.transform(["A text.", "Another one.", "A text."])
    >>> cache.statistics().misses, cache.statistics().hits
    (2, 4)
    """

    # No other process waits for these embeddings, so a claim may be large and well packed.
    passes_per_claim = 64

    def __init__(self, max_bytes: int = 1_000_000_000) -> None:
        self._set_id(uuid.uuid4().hex)
        self._lock = ForkSafeLock()
        self._leases = _Leases()
        self._records: OrderedDict[bytes, bytes] = OrderedDict()
        self._namespaces: dict[bytes, Namespace] = {}
        self._n_bytes = self._hits = self._misses = 0
        self._tiers: WeakSet[MemoryCache] = WeakSet()
        self.max_bytes = max_bytes

    @property
    def max_bytes(self) -> int:
        """Maximum size in bytes; lowering it drops the least recently used embeddings."""
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, max_bytes: int) -> None:
        self._max_bytes = validate_max_bytes(max_bytes)
        with self._lock:
            self._evict()
            tiers = list(self._tiers)
        for tier in tiers:
            tier.max_bytes = min(tier.max_bytes, self.max_bytes)

    def get(self, namespace: Namespace, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key, or None."""
        del namespace
        with self._lock:
            records = list(map(self._records.get, keys))
            for key, record in zip(keys, records, strict=True):
                if record is not None:
                    self._records.move_to_end(key)
                    self._hits += 1
        return records

    def put(self, namespace: Namespace, records: Mapping[bytes, bytes]) -> None:
        """Store records."""
        with self._lock:
            self._namespaces[namespace.prefix] = namespace
            for key, record in records.items():
                self._n_bytes -= _size(self._records.pop(key, None))
                self._records[key] = record
                self._n_bytes += _size(record)
            self._misses += len(records)
            self._evict()

    def claim(self, namespace: Namespace, keys: Sequence[bytes], limit: int) -> list[bytes]:
        """Return up to `limit` keys for the caller to compute, and then to release."""
        del namespace
        claimed = self._leases.acquire(keys, limit)
        # Another thread may have stored some between the caller's lookup and the claim.
        with self._lock:
            mine = [key for key in claimed if key not in self._records]
        self._leases.release(set(claimed).difference(mine))
        return mine

    def release(self, namespace: Namespace, keys: Iterable[bytes]) -> list[bytes]:
        """Release the keys that this thread claimed, and return them."""
        del namespace
        return self._leases.release(keys)

    def wait(self, namespace: Namespace, keys: Sequence[bytes]) -> None:
        """Wait until one of the keys is released."""
        del namespace
        self._leases.wait(keys)

    def has_room_for(self, n_texts: int, namespace: Namespace) -> bool:
        """Return whether this many texts fit into the cache."""
        return n_texts * (namespace.record_bytes + ENTRY_BYTES) <= self.max_bytes

    def clear(self, model: str | None = None) -> int:
        """Remove embeddings.

        The default memory cache also removes those that disk caches keep in memory.

        Parameters
        ----------
        model : str, default=None
            Name or fingerprint of a model, to remove only its embeddings.

        Returns
        -------
        int
            The number of embeddings removed, without those of disk caches.
        """
        with self._lock:
            tiers = list(self._tiers)
            gone = {
                prefix
                for prefix, namespace in self._namespaces.items()
                if matches_model(model, namespace.model, namespace.fingerprint)
            }
            keys = [key for key in self._records if get_prefix(key) in gone]
            for key in keys:
                self._n_bytes -= _size(self._records.pop(key))
        for tier in tiers:
            tier.clear(model)
        return len(keys)

    def statistics(self) -> CacheStatistics:
        """Return the contents and the hit rate.

        Returns
        -------
        CacheStatistics
            Number of texts and bytes, hits and misses, and the share of each model.
        """
        with self._lock:
            n_texts = Counter(map(get_prefix, self._records))
            namespaces = tuple(
                NamespaceUse(
                    namespace.model,
                    namespace.fingerprint,
                    namespace.dim,
                    n_texts[prefix],
                    n_texts[prefix] * (namespace.record_bytes + ENTRY_BYTES),
                )
                for prefix, namespace in self._namespaces.items()
                if n_texts[prefix]
            )
            return CacheStatistics(
                n_texts=len(self._records),
                n_bytes=self._n_bytes,
                max_bytes=self._max_bytes,
                hits=self._hits,
                misses=self._misses,
                n_embedded=self._misses,
                namespaces=namespaces,
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
        return _unpickle, (self._id, self.max_bytes)

    def _set_id(self, name: str) -> None:
        self._id = name
        _caches_by_id[name] = self


class _Leases:
    """The keys that threads of this process are computing, so that no two compute the same one."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._released = threading.Condition()
        self._owners: dict[bytes, int] = {}

    def _condition(self) -> threading.Condition:
        # A forked child inherits the leases of threads that it does not have.
        if self._process != os.getpid():
            self._reset()
        return self._released

    def acquire(self, keys: Iterable[bytes], limit: int) -> list[bytes]:
        """Acquire the first `limit` keys that no other thread holds."""
        me = threading.get_ident()
        mine: list[bytes] = []
        with self._condition():
            for key in keys:
                if len(mine) == limit:
                    break
                # What this thread holds is left over from an interrupted call, or from one around this.
                if self._owners.get(key, me) == me:
                    mine.append(key)
            self._owners.update(dict.fromkeys(mine, me))
        return mine

    def release(self, keys: Iterable[bytes]) -> list[bytes]:
        """Release the keys that this thread holds, and return them."""
        me = threading.get_ident()
        with self._condition():
            mine = [key for key in keys if self._owners.get(key) == me]
            for key in mine:
                del self._owners[key]
            self._released.notify_all()
        return mine

    def wait(self, keys: Iterable[bytes]) -> None:
        """Wait until one of the keys is free."""
        keys = set(keys)
        with self._condition():
            self._released.wait_for(lambda: not keys <= self._owners.keys())


def validate_max_bytes(max_bytes: int) -> int:
    """Return `max_bytes` as an int, or raise."""
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, Integral) or max_bytes < 0:
        raise ValueError(f"max_bytes={max_bytes!r}: pass a number of bytes, 0 or more.")
    return int(max_bytes)


def _size(record: bytes | None) -> int:
    return 0 if record is None else len(record) + ENTRY_BYTES


def _unpickle(name: str, max_bytes: int) -> MemoryCache:
    """Return the cache of this process that stands for a pickled one."""
    cache = _caches_by_id.get(name)
    if cache is None:
        cache = MemoryCache(max_bytes)
        cache._set_id(name)
        _pinned.append(cache)
    return cache


_DEFAULT = MemoryCache()


def default_memory_cache() -> MemoryCache:
    """Return the cache that all embedders with ``cache="memory"`` share."""
    return _DEFAULT


def new_memory_tier() -> MemoryCache:
    """Return the in-memory tier of a disk cache, limited and cleared with the default memory cache."""
    tier = MemoryCache(_DEFAULT.max_bytes)
    with _DEFAULT._lock:
        _DEFAULT._tiers.add(tier)
    return tier
