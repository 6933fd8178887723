"""Packs of texts of similar length that run in one forward pass, without padding."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import torch

from ..._types import Text
from ..._warn import warn
from ..errors import is_out_of_memory
from ..tokenization import TokenizedTexts, text_length

# Large enough that the packs of a block are full of texts of similar length, small enough that memory
# does not grow with the number of texts.
_BLOCK_TEXTS = 4096
_BLOCK_CHARACTERS = 4_000_000


def split_into_blocks(texts: Sequence[Text], order: np.ndarray) -> list[np.ndarray]:
    """Split the indices of texts into blocks that are tokenized together."""
    blocks = []
    start = characters = 0
    for stop, i in enumerate(order):
        if stop - start == _BLOCK_TEXTS or (stop > start and characters > _BLOCK_CHARACTERS):
            blocks.append(order[start:stop])
            start, characters = stop, 0
        characters += text_length(texts[i])
    return [*blocks, order[start:]] if start < len(order) else blocks


@dataclass(frozen=True)
class Pack:
    """Texts that run in one forward pass, the longest first, so that equal lengths are adjacent."""

    rows: np.ndarray
    lengths: np.ndarray

    @classmethod
    def from_token_ids(cls, texts: Sequence[np.ndarray]) -> Self:
        """Pack the token ids of texts that are sorted by length."""
        return cls(np.arange(len(texts)), np.array([len(text) for text in texts]))

    @property
    def groups(self) -> list[tuple[int, int]]:
        """``(n_texts, length)`` of each run of equally long texts."""
        edges = np.flatnonzero(np.diff(self.lengths, prepend=-1, append=-1))
        runs = zip(np.diff(edges), self.lengths[edges[:-1]], strict=True)
        return [(int(n), int(length)) for n, length in runs]


def make_packs(
    rows: np.ndarray,
    lengths: np.ndarray,
    budget: int,
    *,
    padded: bool = False,
    equal_lengths: bool = False,
) -> Iterator[Pack]:
    """Split texts into packs of at most ``budget`` tokens, the longest texts first."""
    order = np.argsort(-lengths, kind="stable")
    rows, lengths = rows[order], lengths[order]
    start = 0
    while start < len(rows):
        if padded:
            stop = start + max(1, budget // max(1, int(lengths[start])))
        else:
            tokens = np.cumsum(lengths[start : start + budget])
            stop = start + max(1, int(np.searchsorted(tokens, budget, side="right")))
        if equal_lengths:
            stop = min(stop, int(np.searchsorted(-lengths, -lengths[start], side="right")))
        yield Pack(rows[start:stop], lengths[start:stop])
        start = stop


def encode_packs(
    forward: Callable[[Pack], torch.Tensor],
    lengths: np.ndarray,
    budget: int,
    *,
    name: str = "batch_tokens",
    padded: bool = False,
    equal_lengths: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, int]:
    """Encode packs one after the other, and return the budget that fits into memory as well."""
    n_done = 0
    done: list[tuple[np.ndarray, torch.Tensor]] = []
    split = partial(make_packs, padded=padded, equal_lengths=equal_lengths)
    packs = deque(split(np.arange(len(lengths)), lengths, budget))
    while packs:
        pack = packs.popleft()
        try:
            done.append((pack.rows, forward(pack)))
        except RuntimeError as error:
            if not is_out_of_memory(error) or len(pack.rows) == 1:
                raise
            budget = max(1, min(budget, int(pack.lengths.sum())) // 2)
            warn(
                f"Out of memory: continuing with {name}={budget}. Pass that value to start with it.",
                RuntimeWarning,
            )
            left = np.concatenate([pack.rows, *(later.rows for later in packs)])
            packs = deque(split(left, lengths[left], budget))
        else:
            n_done += len(pack.rows)
            if on_progress is not None:
                on_progress(n_done)
    embeddings = np.empty((len(lengths), done[0][1].shape[1]), dtype=np.float32)
    for rows, on_device in done:  # copied at the end, so that a GPU need not wait
        embeddings[rows] = on_device.cpu().numpy()
    return embeddings, budget


def average_windows(windows: np.ndarray, tokens: TokenizedTexts, *, unit: bool) -> np.ndarray:
    """Average the windows of each text, weighted by their numbers of tokens."""
    n_texts = len(tokens.truncated)
    if len(windows) == n_texts:
        return windows
    starts = np.searchsorted(tokens.text_of, np.arange(n_texts))
    weights = np.maximum(tokens.lengths, 1).astype(np.float32)
    weights /= np.add.reduceat(weights, starts)[tokens.text_of]
    joined = np.add.reduceat(windows * weights[:, None], starts, axis=0)
    return l2_normalize(joined) if unit else joined


def l2_normalize(vectors: np.ndarray) -> np.ndarray:
    """Scale each row to unit norm; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
