"""What a fork leaves to the child: locks that nobody will open, and thread pools without threads."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_IMPORTED_IN = os.getpid()


class ForkSafeLock:
    """A lock that a forked child finds open, whatever thread of its parent held it."""

    def __init__(self) -> None:
        self._lock, self._process = threading.RLock(), os.getpid()

    def __enter__(self) -> None:
        if self._process != os.getpid():
            self._lock, self._process = threading.RLock(), os.getpid()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def fork_safe(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function that computes with torch run in a forked child too.

    OpenMP keeps a pool of workers for each thread that ever computed in parallel. A forked child
    has that pool of its parent, but not the workers, and would wait for them forever. A fresh thread
    makes a pool of its own, and no setting has to change.

    Parameters
    ----------
    function : callable
        What to run.

    Returns
    -------
    callable
        The same, in a fresh thread wherever the process is a fork.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if os.getpid() == _IMPORTED_IN:
            return function(*args, **kwargs)
        with ThreadPoolExecutor(max_workers=1) as fresh:
            return fresh.submit(partial(function, *args, **kwargs)).result()

    return run
