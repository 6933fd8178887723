"""Embeddings on disk, shared by processes and sessions."""

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from .memory import checked_bytes
from .namespace import Namespace
from .paths import absolute_folder, default_folder
from .resilient_store import ResilientStore, resilient_store_for
from .sqlite_store import Store
from .statistics import CacheStatistics, NamespaceUse, is_of

_NOTHING: dict[bytes, bytes] = {}

_FILE = "sk_sentemb-embeddings.sqlite3"

# What the file takes for a record beside the record itself: key, check, index, room in pages.
_ENTRY_BYTES = 150

# Seconds between two looks whether another process is done.
_LOOK_AGAIN = 0.05


class DiskCache:
    """A bounded cache on disk, for all processes and sessions; what was used least recently goes first.

    Embeddings that were looked up stay in the process's memory, too, within ``max_bytes`` and the bound
    of the memory cache that all embedders share (``open_cache("memory").max_bytes``). Nothing that
    happens to the file gives a wrong vector or an error: every record is checked when it is read, and
    what cannot be read or written costs a :class:`~sk_sentemb.exceptions.CacheWarning` and the time
    to embed again.

    Parameters
    ----------
    folder : str or path-like, default=None
        Where its file lies; made if it is not there, for its user alone. None for the platform's
        folder for caches, or the one that the environment variable ``SK_SENTEMB_CACHE`` names.

    max_bytes : int, default=5_000_000_000
        The most bytes of the file, give or take what is written at once.

    Attributes
    ----------
    path : Path
        The file.

    See Also
    --------
    MemoryCache : Is gone with the process.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sk_sentemb import SentenceEmbedder
    >>> from sk_sentemb.cache import DiskCache
    >>> with TemporaryDirectory() as folder:
    ...     cache = DiskCache(folder)
    ...     vectors = SentenceEmbedder(cache=cache).fit_transform(["A text.", "Another one."])
    ...     cache.statistics().n_texts
    2
    """

    # Other processes wait for what this one embeds, so a turn is short: about a second.
    runs_per_turn = 4

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, max_bytes: int = 5_000_000_000
    ) -> None:
        if folder == "":
            raise ValueError("folder='': pass '.' if the current folder is meant.")
        self.folder = None if folder is None else os.fspath(folder)
        self.max_bytes = max_bytes

    @property
    def max_bytes(self) -> int:
        """The most bytes of the file; what is written next brings it down to a lower one."""
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, max_bytes: int) -> None:
        self._max_bytes = checked_bytes(max_bytes)

    @property
    def path(self) -> Path:
        """The file."""
        return absolute_folder(default_folder() if self.folder is None else self.folder) / _FILE

    def get(self, space: Namespace, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key, or None."""
        shelf = self._shelf()
        records = shelf.front.get(space, keys)
        unknown = [key for key, record in zip(keys, records, strict=True) if record is None]
        if not unknown:
            return records
        found = shelf.read(lambda store: store.get(unknown, space.record_bytes), _NOTHING)
        shelf.front.put(space, found)
        shelf.write(Store.note_use, None)
        return [record or found.get(key) for key, record in zip(keys, records, strict=True)]

    def put(self, space: Namespace, records: Mapping[bytes, bytes]) -> None:
        """Keep records that were not there."""
        shelf = self._shelf()
        shelf.front.put(space, records)
        shelf.write(lambda store: store.put(space, records, self.max_bytes), None)

    def claim(self, space: Namespace, keys: Sequence[bytes], limit: int) -> list[bytes]:
        """Return up to so many of the keys that the caller shall embed; then give them back."""
        shelf = self._shelf()
        free = shelf.front.claim(space, keys, len(keys))
        mine = free[:limit]
        if free:
            mine = shelf.write(lambda store: store.claim(free, limit, space.record_bytes), mine)
        shelf.front.give_back(space, set(free).difference(mine))
        return mine

    def give_back(self, space: Namespace, keys: Iterable[bytes]) -> None:
        """Let others have those of the keys that this thread claimed."""
        shelf = self._shelf()
        mine = shelf.front.give_back(space, keys)
        # Even after a failure, because others wait for these.
        shelf.write(lambda store: store.give_back(mine), None, rests=False)

    def wait(self, space: Namespace, keys: Sequence[bytes]) -> None:
        """Wait a moment, in which another process may be done with one of the keys."""
        del space, keys
        time.sleep(_LOOK_AGAIN)

    def holds(self, n_texts: int, space: Namespace) -> bool:
        """Say whether so many texts have room."""
        return n_texts * (space.record_bytes + _ENTRY_BYTES) <= self.max_bytes

    def clear(self, model: str | None = None, *, older_than: timedelta | None = None) -> int:
        """Drop embeddings.

        Parameters
        ----------
        model : str, default=None
            Of this model only: its name, or its fingerprint.
        older_than : timedelta, default=None
            Only those that nobody used for so long, to the hour.

        Returns
        -------
        int
            How many.
        """
        shelf = self._shelf()
        # All of it, because what is found in memory is not written to the file again.
        shelf.front.clear(model)
        before = math.inf if older_than is None else time.time() - older_than.total_seconds()
        return shelf.write(lambda store: store.delete(partial(is_of, model), before), 0)

    def statistics(self) -> CacheStatistics:
        """Count what is there.

        Returns
        -------
        CacheStatistics
            Texts and bytes, this process's hits and misses, and the share of each model.
        """
        shelf = self._shelf()
        no_spaces: list[NamespaceUse] = []
        spaces = shelf.read(Store.spaces, no_spaces)
        front = shelf.front.statistics()
        return CacheStatistics(
            n_texts=sum(space.n_texts for space in spaces),
            n_bytes=shelf.read(Store.n_bytes, 0),
            max_bytes=self.max_bytes,
            hits=front.hits + shelf.store.hits,
            # What was found on disk was put in front as well.
            misses=front.misses - shelf.store.hits,
            n_embedded=shelf.read(Store.n_embedded, 0),
            spaces=tuple(spaces),
        )

    def _shelf(self) -> ResilientStore:
        shelf = resilient_store_for(self.path)
        shelf.bound_front(self.max_bytes)
        return shelf

    def __repr__(self) -> str:
        return f"DiskCache({os.fspath(self.path.parent)!r}, max_bytes={self.max_bytes})"
