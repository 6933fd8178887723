"""One run at a time writes a target."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def locked(file: Path, target: Path) -> Iterator[None]:
    """Keep other runs out; the system lets go of the lock of a process that was killed.

    Parameters
    ----------
    file : Path
        Which the lock is on.
    target : Path
        What it protects, for the message.

    Raises
    ------
    BlockingIOError
        If another run has the lock.
    """
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError(
            f"another run is writing {target}; wait until it ends, or pass another target."
        ) from None
    try:
        yield
    finally:
        lock.release()
