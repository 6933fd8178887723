"""The file of a disk cache as one process uses it: errors become warnings, and forks reopen it."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .._warn import warn
from ..encoder import ForkSafeLock
from ..exceptions import CacheWarning
from .memory import default_memory_cache, new_memory_tier
from .sqlite_store import Store, is_damage

T = TypeVar("T")

# Errors of a damaged file. SQLite's messages quote it, and need not be UTF-8.
_FAILURES = (sqlite3.Error, OSError, UnicodeDecodeError)

# Time after a failure before the next attempt.
_RETRY_SECONDS = 60.0


class ResilientStore:
    """A store with an in-memory tier, whose errors become warnings."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.memory = new_memory_tier()
        self._n_damaged = 0
        self._next_read = self._next_write = 0.0

    def limit_memory(self, max_bytes: int) -> None:
        """Limit the in-memory tier by this and by the limit of the default memory cache."""
        bound = min(max_bytes, default_memory_cache().max_bytes)
        if self.memory.max_bytes != bound:
            self.memory.max_bytes = bound

    def read(self, operation: Callable[[Store], T], default: T) -> T:
        """Return what an operation reads, or the default if the file cannot be read."""
        if time.monotonic() < self._next_read:
            return default
        try:
            found = operation(self.store)
        except _FAILURES as error:
            self._next_read = self._handle_error(error, "read")
            return default
        if self.store.n_damaged > self._n_damaged:
            n, self._n_damaged = self.store.n_damaged - self._n_damaged, self.store.n_damaged
            self._warn(
                f"{n} records of {self.store.path} are damaged; their texts are embedded again."
            )
        return found

    def write(self, operation: Callable[[Store], T], default: T, *, always: bool = False) -> T:
        """Run an operation that writes, or return the default if the file cannot be written."""
        # A file that cannot be read is not written either.
        if not always and time.monotonic() < max(self._next_read, self._next_write):
            return default
        try:
            return operation(self.store)
        except _FAILURES as error:
            self._next_write = self._handle_error(error, "written")
            return default

    def _handle_error(self, error: Exception, what: str) -> float:
        """Warn, replace a damaged file, and return when to try again."""
        path = self.store.path
        if not is_damage(error):
            self._warn(
                f"the cache {path} cannot be {what}: {error}. For the next minute, texts that are not "
                "in memory are embedded without it. Free some space, correct the permissions, or "
                "pass another folder."
            )
            return time.monotonic() + _RETRY_SECONDS
        self._warn(
            f"the cache {path} cannot be used: {error}. The file is recreated, and its texts are "
            "embedded again."
        )
        try:
            self.store.replace_damaged()
        except OSError as failure:
            self._warn(f"{path} cannot be replaced: {failure}. Delete it.")
            return time.monotonic() + _RETRY_SECONDS
        return 0.0

    @staticmethod
    def _warn(message: str) -> None:
        warn(message, CacheWarning)


# By process, because a forked child must neither use nor close the file of its parent.
_STORES: dict[tuple[int, Path], ResilientStore] = {}
_LOCK = ForkSafeLock()


def resilient_store_for(path: Path) -> ResilientStore:
    """Return the store of this process for a file."""
    key = (os.getpid(), path)
    with _LOCK:
        if key not in _STORES:
            _STORES[key] = ResilientStore(Store(path))
        return _STORES[key]


def _before_fork() -> None:
    """Wait until no thread uses a file."""
    # SQLite in a forked child would take the parent's locks for its own, and damage the file.
    _LOCK.__enter__()
    for resilient in _STORES.values():
        resilient.store.lock.acquire()


def _after_fork() -> None:
    for resilient in _STORES.values():
        resilient.store.lock.release()
    _LOCK.__exit__()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
