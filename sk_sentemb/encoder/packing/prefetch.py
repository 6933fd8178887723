"""Prepare items in threads while the caller works on those before them."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
S = TypeVar("S")


def prefetch(
    items: Sequence[S], prepare: Callable[[S], T], *, n_ahead: int = 1, n_threads: int = 1
) -> Iterator[T]:
    """Yield prepared items in order, and prepare up to ``n_ahead`` of them in advance."""
    if len(items) < 2:  # not worth a thread
        yield from map(prepare, items)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        running: deque[Future[T]] = deque()
        try:
            for item in items:
                running.append(pool.submit(prepare, item))
                if len(running) > n_ahead:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
