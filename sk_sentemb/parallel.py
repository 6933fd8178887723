"""Embed blocks of texts wherever joblib runs them: processes, threads, or a cluster."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from .encoder import Embedded, Encoder, TextTooLongError

# So many blocks for each worker even out that some are faster than others.
BLOCKS_PER_WORKER = 4

# A block is sent as a whole, so it must not hold too much.
_MOST_CHARACTERS = 2_000_000


def embed_in_parallel(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    n_jobs: int | None,
    on_progress: Callable[[int], object],
    **how: Any,
) -> Embedded:
    """Embed texts, on the workers of joblib's backend if there is more than one.

    A worker gets the model by name and loads it once.

    Parameters
    ----------
    encoder : Encoder
        The model.
    texts : sequence of str
        What to embed.
    n_jobs : int or None
        As in joblib: None for 1, or for what ``joblib.parallel_config`` says.
    on_progress : callable
        Called with the number of texts that are done.
    **how : object
        Settings of :meth:`Encoder.encode`.

    Returns
    -------
    Embedded
        In the order of the texts.

    Raises
    ------
    TextTooLongError
        As :meth:`Encoder.encode`.
    """
    n_workers = effective_n_jobs(n_jobs)
    if n_workers == 1 or len(texts) < 2:
        return encoder.encode(texts, on_progress=on_progress, **how)
    embedded = Embedded(
        np.empty((len(texts), encoder.embedding_dim), dtype=np.float32),
        np.zeros(len(texts), dtype=bool),
    )
    blocks = list(_blocks(texts, BLOCKS_PER_WORKER * n_workers))
    parts = _run(n_jobs, (delayed(_embed_block)(encoder, texts[b], b.start, how) for b in blocks))
    for block, part in zip(blocks, parts, strict=True):
        embedded.vectors[block], embedded.truncated[block] = part
        on_progress(block.stop)
    return embedded


def _run(n_jobs: int | None, tasks: Iterator[Any]) -> Any:
    try:
        parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    except ValueError:  # a backend that returns all results at once
        parallel = Parallel(n_jobs=n_jobs)
    return parallel(tasks)


def _embed_block(
    encoder: Encoder, texts: Sequence[str], start: int, how: dict[str, Any]
) -> Embedded:
    try:
        return encoder.encode(texts, **how)
    except TextTooLongError as error:
        raise TextTooLongError(start + error.position, error.max_length) from None


def _blocks(texts: Sequence[str], n_blocks: int) -> Iterator[slice]:
    """Cut the texts into blocks with about as many characters each."""
    ends = np.cumsum([len(text) + 1 for text in texts])
    size = min(_MOST_CHARACTERS, -(-int(ends[-1]) // n_blocks))
    stops = np.unique(np.append(ends.searchsorted(np.arange(size, ends[-1], size)) + 1, len(texts)))
    for start, stop in zip([0, *stops[:-1]], stops, strict=True):
        yield slice(int(start), int(stop))
