"""A cache's file as this process has it: one for all threads, none for a fork, warnings for errors."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .._warn import warn
from ..encoder import ForkSafeLock
from ..exceptions import CacheWarning
from .memory import default_memory_cache, new_front
from .sqlite_store import Store, is_damage

T = TypeVar("T")

# What a file does that is not as it was: SQLite's messages quote it, and need not be UTF-8.
_FAILURES = (sqlite3.Error, OSError, UnicodeDecodeError)

# Seconds after a failure before the next try.
_REST = 60.0


class ResilientStore:
    """A store as this process has it: with a memory in front, and warnings for errors."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.front = new_front()
        self._n_damaged = 0
        self._reads_again = self._writes_again = 0.0

    def bound_front(self, max_bytes: int) -> None:
        """Bound the memory in front by this and by the bound of the shared memory cache."""
        bound = min(max_bytes, default_memory_cache().max_bytes)
        if self.front.max_bytes != bound:
            self.front.max_bytes = bound

    def read(self, action: Callable[[Store], T], otherwise: T) -> T:
        """Read from the store, or go without."""
        if time.monotonic() < self._reads_again:
            return otherwise
        try:
            found = action(self.store)
        except _FAILURES as error:
            self._reads_again = self._mend(error, "read")
            return otherwise
        if self.store.n_damaged > self._n_damaged:
            n, self._n_damaged = self.store.n_damaged - self._n_damaged, self.store.n_damaged
            self._warn(
                f"{n} records of {self.store.path} are damaged; their texts are embedded again."
            )
        return found

    def write(self, action: Callable[[Store], T], otherwise: T, *, rests: bool = True) -> T:
        """Write to the store, or go without."""
        # What cannot be read is not waited for either.
        if rests and time.monotonic() < max(self._reads_again, self._writes_again):
            return otherwise
        try:
            return action(self.store)
        except _FAILURES as error:
            self._writes_again = self._mend(error, "written")
            return otherwise

    def _mend(self, error: Exception, what: str) -> float:
        """Say what is wrong, make good what can be, and return when to try again."""
        path = self.store.path
        if not is_damage(error):
            self._warn(
                f"the cache {path} cannot be {what}: {error}. Going on without; for the next minute "
                "texts that are not in memory are embedded. Free some space, mend the permissions, "
                "or pass another folder."
            )
            return time.monotonic() + _REST
        self._warn(
            f"the cache {path} cannot be used: {error}. It is begun anew, and its texts are embedded "
            "again."
        )
        try:
            self.store.replace_damaged()
        except OSError as hindrance:
            self._warn(f"{path} cannot be replaced: {hindrance}. Delete it.")
            return time.monotonic() + _REST
        return 0.0

    @staticmethod
    def _warn(message: str) -> None:
        warn(message, CacheWarning)


# One open file per process: a fork must not go on with that of its parent, nor close it.
_SHELVES: dict[tuple[int, Path], ResilientStore] = {}
_LOCK = ForkSafeLock()


def resilient_store_for(path: Path) -> ResilientStore:
    """Return this process's shelf for a file."""
    key = (os.getpid(), path)
    with _LOCK:
        if key not in _SHELVES:
            _SHELVES[key] = ResilientStore(Store(path))
        return _SHELVES[key]


def _pause() -> None:
    """Let nobody be at work on a file while the process forks.

    SQLite in the child would take the parent's locks for its own, and damage the file.
    """
    _LOCK.__enter__()
    for shelf in _SHELVES.values():
        shelf.store.lock.acquire()


def _go_on() -> None:
    for shelf in _SHELVES.values():
        shelf.store.lock.release()
    _LOCK.__exit__()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_pause, after_in_parent=_go_on, after_in_child=_go_on)
