"""What a fork leaves to the child: locks that nobody will open, and thread pools without threads."""

import os
import threading

_IMPORTED_IN = os.getpid()


class ForkSafeLock:
    """A lock that a forked child finds open, whatever thread of its parent held it."""

    def __init__(self) -> None:
        self._lock, self._process = threading.RLock(), os.getpid()

    def acquire(self) -> None:
        """Wait until no other thread has the lock, and take it."""
        if self._process != os.getpid():
            self._lock, self._process = threading.RLock(), os.getpid()
        self._lock.acquire()

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def is_fork() -> bool:
    """Say whether this process is a fork of the one that imported the package."""
    return os.getpid() != _IMPORTED_IN
