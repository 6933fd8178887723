"""Each text once, or each pair: the distinct ones of some columns, and which stands in which cell."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._types import Text
from .text import TextColumns

MISSING = -1


@dataclass(frozen=True)
class UniqueTexts:
    """Texts without repetition, and where they stand."""

    texts: list[Any]
    inverse: np.ndarray

    def first_cell(self, text: int) -> tuple[int, int]:
        """Return the row and the column where a text first stands."""
        row, column = np.argwhere(text == self.inverse.T)[0]
        return int(row), int(column)

    def expand(self, vectors: np.ndarray, *, fill: float) -> np.ndarray:
        """Put the vectors of the texts where the texts stand."""
        n_columns, n_rows = self.inverse.shape
        if n_columns == 1 and np.array_equal(self.inverse[0], np.arange(len(vectors))):
            return vectors
        spread = np.full((n_rows, n_columns, vectors.shape[1]), fill, dtype=vectors.dtype)
        for column, which in enumerate(self.inverse):
            with_text = which != MISSING
            spread[with_text, column] = vectors[which[with_text]]
        return spread.reshape(n_rows, n_columns * vectors.shape[1])


def unique_texts(columns: TextColumns, *, missing_is_empty: bool) -> UniqueTexts:
    """Find the distinct texts."""
    index: dict[Text, int] = {}
    which = np.array(
        [[index.setdefault(text, len(index)) for text in column] for column in columns.texts],
        dtype=np.intp,
    )
    if missing_is_empty or not columns.missing.any():
        return UniqueTexts(list(index), which)
    # The empty text of a missing cell goes, unless a cell that is there has it too.
    which = np.where(columns.missing.T, MISSING, which)
    used = np.zeros(len(index), dtype=bool)
    used[which[which != MISSING]] = True
    renumbered = np.where(used, np.cumsum(used) - 1, MISSING)
    texts = [text for text, is_used in zip(index, used, strict=True) if is_used]
    return UniqueTexts(texts, np.where(which == MISSING, MISSING, renumbered[which]))


def make_pairs(columns: TextColumns, *, symmetric: bool = False) -> TextColumns:
    """Put the first text of each row beside each of the others."""
    first, *others = columns.texts
    pairs: list[list[Text]] = [list(zip(first, other, strict=True)) for other in others]
    missing = columns.missing[:, :1] | columns.missing[:, 1:]
    if symmetric:
        pairs += [list(zip(other, first, strict=True)) for other in others]
        missing = np.hstack([missing, missing])
    return TextColumns(pairs, missing, None)
