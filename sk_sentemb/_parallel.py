"""Compute blocks of texts wherever joblib runs them: processes, threads, or a cluster."""

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

# So many blocks for each worker even out that some are faster than others.
BLOCKS_PER_WORKER = 4

# A block is sent as a whole, so it must not hold too much.
_MOST_CHARACTERS = 2_000_000


@contextmanager
def parallel_encode(encoder: Encoder, *, n_jobs: int | None, **how: Any) -> Iterator[Compute]:
    """Let the workers of joblib's backend embed texts, if there is more than one.

    They start when they are first needed and stay until the end, because some backends start new
    processes. Each gets the model by name and loads it once. If there is no name, or the model of
    that name has changed or is gone, each gets the weights of the model that is loaded here.
    """
    n_workers = count_workers(n_jobs)
    sent = _SentEncoder(encoder)
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
    """Return how many workers texts are spread over.

    In a task of a Dask worker it is one, as if ``n_jobs`` were 1. There joblib would spread them over
    the cluster, whose other workers may be waiting for these very texts to be in the cache: the same
    search runs on them.
    """
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
    """Why a worker cannot load the model that it was sent, and whether that had its weights."""

    reason: str
    had_weights: bool


class _SentEncoder:
    """An encoder on its way to workers, as an array, which joblib maps into its own processes.

    So weights that are carried are written once there, and not sent with every block.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._has_weights = encoder.source is None

    def load(self) -> Encoder:
        """Return the encoder itself, where a worker is a thread."""
        return self.encoder

    def send_weights_after(self, failure: _NotLoaded) -> None:
        """Send the weights from now on; raise if a worker could not load the model with them."""
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
        return _ReceivedEncoder, (self._pickled, self._has_weights)


class _ReceivedEncoder:
    """An encoder that a worker has received, loaded when a task asks for it.

    Not while it is unpickled: joblib reports any error there as arguments that cannot be pickled, and
    some backends hang.
    """

    def __init__(self, pickled: np.ndarray, has_weights: bool) -> None:
        self._pickled, self._has_weights = pickled, has_weights

    def load(self) -> Encoder | _NotLoaded:
        """Return the process's own copy, or why there is none."""
        try:
            return encoder_from_state(pickle.loads(self._pickled.data))
        except (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            return _NotLoaded(f"{type(error).__name__}: {error}", self._has_weights)


def _embed_block(
    sent: _SentEncoder | _ReceivedEncoder, texts: Sequence[Text], start: int, how: dict[str, Any]
) -> Embedded | _NotLoaded:
    encoder = sent.load()
    if isinstance(encoder, _NotLoaded):
        return encoder
    try:
        return encoder.encode(texts, **how)
    except TextTooLongError as error:
        raise TextTooLongError(start + error.position, error.max_length) from None


def _blocks(texts: Sequence[Text], n_blocks: int) -> Iterator[slice]:
    """Cut the texts into blocks with about as many characters each."""
    ends = np.cumsum([text_length(text) + 1 for text in texts])
    size = min(_MOST_CHARACTERS, -(-int(ends[-1]) // n_blocks))
    stops = np.unique(np.append(ends.searchsorted(np.arange(size, ends[-1], size)) + 1, len(texts)))
    for start, stop in zip([0, *stops[:-1]], stops, strict=True):
        yield slice(int(start), int(stop))
