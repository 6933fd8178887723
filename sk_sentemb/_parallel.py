"""Run an encoder in joblib workers: processes, threads, or a cluster."""

import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from ._types import Text
from .cache import Compute
from .encoder import Embedded, Encoder, encoder_from_state, encoder_to_state, text_length
from .exceptions import TextTooLongError

# Several blocks per worker balance workers of different speed.
BLOCKS_PER_WORKER = 4

# A block is sent as a whole, so its size is limited.
_MAX_CHARACTERS = 2_000_000


@contextmanager
def parallel_encode(encoder: Encoder, *, n_jobs: int | None, **how: Any) -> Iterator[Compute]:
    """Yield a function that encodes texts in the workers of joblib's backend, or here."""
    # Workers start on first use and stay until the end, because some backends start new processes. Each
    # gets the model by name and loads it once; without a name, or if the model of that name has changed
    # or is not found, it gets the weights.
    n_workers = count_workers(n_jobs)
    sent = _PickledEncoder(encoder)
    with ExitStack() as stack:
        workers = cache(lambda: stack.enter_context(_workers(n_jobs)))

        def embed(texts: Sequence[Text], on_progress: Callable[[int], None]) -> Embedded:
            if n_workers == 1 or len(texts) < 2:
                return encoder.encode(texts, on_progress=on_progress, **how)
            embedded = Embedded(
                np.empty((len(texts), encoder.embedding_dim), dtype=np.float32),
                np.zeros(len(texts), dtype=bool),
            )
            blocks, n_done = list(_blocks(texts, BLOCKS_PER_WORKER * n_workers)), 0
            while blocks:
                left, failure = [], None
                tasks = (delayed(_embed_block)(sent, texts[b], b.start, how) for b in blocks)
                for block, part in zip(blocks, workers()(tasks), strict=True):
                    if isinstance(part, _NotLoaded):
                        left.append(block)
                        failure = part
                    else:
                        embedded.vectors[block], embedded.truncated[block] = part
                        n_done += block.stop - block.start
                        on_progress(n_done)
                if failure is not None:
                    sent.send_weights_after(failure)
                blocks = left
            return embedded

        yield embed


def count_workers(n_jobs: int | None) -> int:
    """Return the number of workers that encode texts."""
    # In a task of a Dask worker it is one. Otherwise joblib would use the cluster, whose other workers
    # may run the same search and wait for these very texts to be in the cache.
    return 1 if _in_a_task_of_dask() else effective_n_jobs(n_jobs)


def _in_a_task_of_dask() -> bool:
    if "distributed" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


def _workers(n_jobs: int | None) -> Parallel:
    try:
        return Parallel(n_jobs=n_jobs, return_as="generator")
    except ValueError:  # a backend that returns all results at once
        return Parallel(n_jobs=n_jobs)


class _NotLoaded(NamedTuple):
    """The reason why a worker cannot load the model that it received, and whether it had weights."""

    reason: str
    had_weights: bool


class _PickledEncoder:
    """An encoder that is sent to workers, by name or with its weights."""

    # It is pickled as an array, which joblib memory-maps in its processes: weights are written once,
    # instead of sent with every block.

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._has_weights = encoder.source is None

    def load(self) -> Encoder:
        """Return the encoder itself; the worker is a thread."""
        return self.encoder

    def send_weights_after(self, failure: _NotLoaded) -> None:
        """Send the weights from now on; raise if a worker failed to load a model with weights."""
        if failure.had_weights:
            raise RuntimeError(
                f"a worker cannot load the model: {failure.reason}. Pass n_jobs=1 to run it here."
            )
        if not self._has_weights:
            self._has_weights = True
            self.__dict__.pop("_pickled", None)

    @cached_property
    def _pickled(self) -> np.ndarray:
        state = encoder_to_state(self.encoder, embed=self._has_weights)
        return np.frombuffer(pickle.dumps(state), dtype=np.uint8)

    def __reduce__(self) -> tuple[Any, ...]:
        return _UnpickledEncoder, (self._pickled, self._has_weights)


class _UnpickledEncoder:
    """An encoder that a worker has received, and loads on first use."""

    # It is not loaded while it is unpickled: joblib would report any error there as arguments that
    # cannot be pickled, and some backends would hang.

    def __init__(self, pickled: np.ndarray, has_weights: bool) -> None:
        self._pickled, self._has_weights = pickled, has_weights

    def load(self) -> Encoder | _NotLoaded:
        """Return the copy of this process, or the reason why it cannot be loaded."""
        try:
            return encoder_from_state(pickle.loads(self._pickled.data))
        except (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            return _NotLoaded(f"{type(error).__name__}: {error}", self._has_weights)


def _embed_block(
    sent: _PickledEncoder | _UnpickledEncoder,
    texts: Sequence[Text],
    start: int,
    how: dict[str, Any],
) -> Embedded | _NotLoaded:
    encoder = sent.load()
    if isinstance(encoder, _NotLoaded):
        return encoder
    try:
        return encoder.encode(texts, **how)
    except TextTooLongError as error:
        raise TextTooLongError(start + error.position, error.max_length) from None


def _blocks(texts: Sequence[Text], n_blocks: int) -> Iterator[slice]:
    """Split texts into blocks with about the same number of characters."""
    ends = np.cumsum([text_length(text) + 1 for text in texts])
    size = min(_MAX_CHARACTERS, -(-int(ends[-1]) // n_blocks))
    stops = np.unique(np.append(ends.searchsorted(np.arange(size, ends[-1], size)) + 1, len(texts)))
    for start, stop in zip([0, *stops[:-1]], stops, strict=True):
        yield slice(int(start), int(stop))
