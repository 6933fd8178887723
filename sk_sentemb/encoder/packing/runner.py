"""Packs run one after the other, smaller ones when memory runs out; windows become texts again."""

from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ..._warn import warn
from ..errors import is_out_of_memory
from ..tokenization import TokenizedTexts
from .packs import Pack, make_packs


def encode_packs(
    forward: Callable[[Pack], torch.Tensor],
    lengths: np.ndarray,
    budget: int,
    *,
    padded: bool,
    equal_lengths: bool,
    on_progress: Callable[[int], None],
) -> tuple[np.ndarray, int]:
    """Embed windows of text."""
    n_done = 0
    done: list[tuple[np.ndarray, torch.Tensor]] = []
    cut = partial(make_packs, padded=padded, equal_lengths=equal_lengths)
    packs = deque(cut(np.arange(len(lengths)), lengths, budget))
    while packs:
        pack = packs.popleft()
        try:
            done.append((pack.rows, forward(pack)))
        except RuntimeError as error:
            if not is_out_of_memory(error) or len(pack.rows) == 1:
                raise
            budget = max(1, min(budget, int(pack.lengths.sum())) // 2)
            warn(
                f"out of memory: going on with batch_tokens={budget}. Pass that to start with it.",
                RuntimeWarning,
            )
            left = np.concatenate([pack.rows, *(later.rows for later in packs)])
            packs = deque(cut(left, lengths[left], budget))
        else:
            n_done += len(pack.rows)
            on_progress(n_done)
    vectors = np.empty((len(lengths), done[0][1].shape[1]), dtype=np.float32)
    for rows, on_device in done:  # copied last, so that an accelerator need not wait
        vectors[rows] = on_device.cpu().numpy()
    return vectors, budget


def average_windows(windows: np.ndarray, tokens: TokenizedTexts, *, unit: bool) -> np.ndarray:
    """Average the windows of each text, weighted by their tokens."""
    n_texts = len(tokens.truncated)
    if len(windows) == n_texts:
        return windows
    starts = np.searchsorted(tokens.text_of, np.arange(n_texts))
    weights = np.maximum(tokens.lengths, 1).astype(np.float32)
    weights /= np.add.reduceat(weights, starts)[tokens.text_of]
    joined = np.add.reduceat(windows * weights[:, None], starts, axis=0)
    return l2_normalize(joined) if unit else joined


def l2_normalize(vectors: np.ndarray) -> np.ndarray:
    """Scale each row to length one; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
