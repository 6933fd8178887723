"""Persistent cache, shared by processes and sessions."""

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from .memory import validate_max_bytes
from .namespace import Namespace
from .paths import absolute_folder, default_folder
from .resilient_store import ResilientStore, resilient_store_for
from .sqlite_store import Store
from .statistics import CacheStatistics, NamespaceUse, matches_model

_NO_RECORDS: dict[bytes, bytes] = {}

_FILE = "sk_sentemb-embeddings.sqlite3"

# Bytes that the file takes for a record in addition to it: key, checksum, index, free room in pages.
_ENTRY_BYTES = 150

# Time between two looks whether another process has finished.
_POLL_SECONDS = 0.05


class DiskCache:
    """Persistent cache for all processes and sessions, which drops the least recently used first.

    Embeddings that were looked up also stay in the memory of the process, within ``max_bytes`` and the
    limit of the default memory cache (``open_cache("memory").max_bytes``). Corruption of the file never
    leads to wrong embeddings or to an exception: every record has a checksum, and what cannot be read
    or written is embedded again, with a :class:`~sk_sentemb.exceptions.CacheWarning`.

    Parameters
    ----------
    folder : str or path-like, default=None
        Folder of the cache file. It is created, readable by the user only, if it does not exist. If
        None, the environment variable ``SK_SENTEMB_CACHE`` or the platform's folder for caches.

    max_bytes : int, default=5_000_000_000
        Approximate maximum size of the file, in bytes.

    Attributes
    ----------
    path : Path
        Path of the cache file.

    See Also
    --------
    MemoryCache : In-memory cache of one process.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sk_sentemb import SentenceEmbedder
    >>> from sk_sentemb.cache import DiskCache
    >>> with TemporaryDirectory() as folder:
    ...     cache = DiskCache(folder)
    ...     embeddings = SentenceEmbedder(cache=cache).fit_transform(["A text.", "Another one."])
    ...     cache.statistics().n_texts
    2
    """

    # Other processes wait for these embeddings, so a claim is small: about a second of work.
    passes_per_claim = 4

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, max_bytes: int = 5_000_000_000
    ) -> None:
        if folder == "":
            raise ValueError("folder='': pass '.' for the current folder.")
        self.folder = None if folder is None else os.fspath(folder)
        self.max_bytes = max_bytes

    @property
    def max_bytes(self) -> int:
        """Approximate maximum size of the file, in bytes; a lower one applies from the next write."""
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, max_bytes: int) -> None:
        self._max_bytes = validate_max_bytes(max_bytes)

    @property
    def path(self) -> Path:
        """Path of the cache file."""
        return absolute_folder(default_folder() if self.folder is None else self.folder) / _FILE

    def get(self, namespace: Namespace, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key, or None."""
        store = self._store()
        records = store.memory.get(namespace, keys)
        unknown = [key for key, record in zip(keys, records, strict=True) if record is None]
        if not unknown:
            return records
        found = store.read(lambda store: store.get(unknown, namespace.record_bytes), _NO_RECORDS)
        store.memory.put(namespace, found)
        store.write(Store.note_use, None)
        return [record or found.get(key) for key, record in zip(keys, records, strict=True)]

    def put(self, namespace: Namespace, records: Mapping[bytes, bytes]) -> None:
        """Store records."""
        store = self._store()
        store.memory.put(namespace, records)
        store.write(lambda store: store.put(namespace, records, self.max_bytes), None)

    def claim(self, namespace: Namespace, keys: Sequence[bytes], limit: int) -> list[bytes]:
        """Return up to `limit` keys for the caller to compute, and then to release."""
        store = self._store()
        free = store.memory.claim(namespace, keys, len(keys))
        mine = free[:limit]
        if free:
            mine = store.write(lambda store: store.claim(free, limit, namespace.record_bytes), mine)
        store.memory.release(namespace, set(free).difference(mine))
        return mine

    def release(self, namespace: Namespace, keys: Iterable[bytes]) -> None:
        """Release the keys that this thread claimed."""
        store = self._store()
        mine = store.memory.release(namespace, keys)
        # Even after a failure, because other processes wait for these.
        store.write(lambda store: store.release(mine), None, always=True)

    def wait(self, namespace: Namespace, keys: Sequence[bytes]) -> None:
        """Wait a moment, in which another process may finish one of the keys."""
        del namespace, keys
        time.sleep(_POLL_SECONDS)

    def has_room_for(self, n_texts: int, namespace: Namespace) -> bool:
        """Return whether this many texts fit into the cache."""
        return n_texts * (namespace.record_bytes + _ENTRY_BYTES) <= self.max_bytes

    def clear(self, model: str | None = None, *, older_than: timedelta | None = None) -> int:
        """Remove embeddings.

        Parameters
        ----------
        model : str, default=None
            Name or fingerprint of a model, to remove only its embeddings.
        older_than : timedelta, default=None
            Remove only embeddings not used within this period, to the hour.

        Returns
        -------
        int
            The number of embeddings removed.
        """
        store = self._store()
        # The whole model, because what is found in memory is not written to the file again.
        store.memory.clear(model)
        before = math.inf if older_than is None else time.time() - older_than.total_seconds()
        return store.write(lambda store: store.delete(partial(matches_model, model), before), 0)

    def statistics(self) -> CacheStatistics:
        """Return the contents and the hit rate.

        Returns
        -------
        CacheStatistics
            Number of texts and bytes, hits and misses of this process, and the share of each model.
        """
        store = self._store()
        none: list[NamespaceUse] = []
        namespaces = store.read(Store.namespaces, none)
        memory = store.memory.statistics()
        return CacheStatistics(
            n_texts=sum(namespace.n_texts for namespace in namespaces),
            n_bytes=store.read(Store.n_bytes, 0),
            max_bytes=self.max_bytes,
            hits=memory.hits + store.store.hits,
            # Embeddings found on disk were put into memory as well.
            misses=memory.misses - store.store.hits,
            n_embedded=store.read(Store.n_embedded, 0),
            namespaces=tuple(namespaces),
        )

    def _store(self) -> ResilientStore:
        store = resilient_store_for(self.path)
        store.limit_memory(self.max_bytes)
        return store

    def __repr__(self) -> str:
        return f"DiskCache({os.fspath(self.path.parent)!r}, max_bytes={self.max_bytes})"
