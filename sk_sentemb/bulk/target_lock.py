"""A lock, so that only one run at a time writes a target."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .._atomic_io import check_no_link


@contextmanager
def locked(file: Path, target: Path) -> Iterator[None]:
    """Lock a target; the system releases the lock of a killed process."""
    check_no_link(file)  # older releases of filelock empty the file that a link leads to
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
