"""Which texts run together: packs of texts of like length, within a budget of tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Pack:
    """Texts that run in one forward pass, longest first, so that equal lengths are neighbours."""

    rows: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[np.ndarray]) -> Self:
        """Pack the token ids of some texts, the longest first."""
        lengths = np.array([len(text) for text in texts])
        return cls(np.arange(len(texts)), lengths)

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
    padded: bool,
    equal_lengths: bool = False,
) -> Iterator[Pack]:
    """Cut texts into packs of at most ``budget`` tokens, the longest texts first."""
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
