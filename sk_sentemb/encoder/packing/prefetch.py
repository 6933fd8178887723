"""Batches that are prepared in threads while the one before them runs."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
S = TypeVar("S")

# So many batches are prepared while one runs.
_AHEAD = 2


def prefetch(
    items: Sequence[S], prepare: Callable[[S], T], size: int, n_threads: int
) -> Iterator[tuple[int, list[T]]]:
    """Prepare batch after batch, and a few ahead of the caller."""
    with ThreadPoolExecutor(n_threads) as pool:
        running: deque[tuple[int, list[Future[T]]]] = deque()
        try:
            for start in range(0, len(items), size):
                batch = [pool.submit(prepare, item) for item in items[start : start + size]]
                running.append((start, batch))
                if len(running) > _AHEAD:
                    at, done = running.popleft()
                    yield at, [future.result() for future in done]
            while running:
                at, done = running.popleft()
                yield at, [future.result() for future in done]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
