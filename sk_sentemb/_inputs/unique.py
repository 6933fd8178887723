"""Each distinct text once, and the way back to the cells."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._warn import warn
from ..exceptions import TruncationWarning
from .text import TextColumns

# In `UniqueTexts.inverse`, a cell without a text.
MISSING = -1


@dataclass(frozen=True)
class UniqueTexts:
    """Distinct texts, or pairs of texts, and the index of the text in each cell."""

    texts: list[Any]
    inverse: np.ndarray  # int of shape (n_columns, n_rows), MISSING where a cell has no text

    def first_cell(self, text: int) -> tuple[int, int]:
        """Return the row and the column of the first cell with a text."""
        row, column = np.argwhere(text == self.inverse.T)[0]
        return int(row), int(column)

    def count_truncated(self, truncated: np.ndarray) -> tuple[int, int]:
        """Return how many cells have a truncated text, and how many have a text."""
        cells = truncated[self.inverse[self.inverse != MISSING]]
        return int(cells.sum()), len(cells)

    def expand(self, embeddings: np.ndarray, *, fill: float) -> np.ndarray:
        """Return the embeddings of the rows, with `fill` where a cell is missing."""
        n_columns, n_rows = self.inverse.shape
        if n_columns == 1 and np.array_equal(self.inverse[0], np.arange(len(embeddings))):
            return embeddings
        expanded = np.full((n_rows, n_columns, embeddings.shape[1]), fill, dtype=embeddings.dtype)
        has_text = self.inverse.T != MISSING
        expanded[has_text] = embeddings[self.inverse.T[has_text]]
        return expanded.reshape(n_rows, n_columns * embeddings.shape[1])


def unique_texts(columns: TextColumns, *, missing_is_empty: bool) -> UniqueTexts:
    """Find the distinct texts, in order of appearance; missing cells have none, or the empty one."""
    index: dict[Any, int] = {}
    missing = np.zeros_like(columns.missing) if missing_is_empty else columns.missing
    inverse = np.full((columns.n_columns, columns.n_rows), MISSING, dtype=np.intp)
    for row, texts, absent in zip(inverse, columns.texts, missing.T, strict=True):
        present = [text for text, gone in zip(texts, absent, strict=True) if not gone]
        row[~absent] = [index.setdefault(text, len(index)) for text in present]
    return UniqueTexts(list(index), inverse)


def make_pairs(columns: TextColumns, *, symmetric: bool = False) -> TextColumns:
    """Pair the first text of each row with each of the others, and optionally the other way round."""
    first, *others = columns.texts
    pairs: list[list[Any]] = [list(zip(first, other, strict=True)) for other in others]
    missing = columns.missing[:, :1] | columns.missing[:, 1:]
    if symmetric:
        pairs += [list(zip(other, first, strict=True)) for other in others]
        missing = np.hstack([missing, missing])
    return TextColumns(pairs, missing)


def warn_truncated(
    n_truncated: int, n_texts: int, *, noun: str, limit: int | None, advice: str
) -> None:
    """Warn of truncated texts, with their number, if there are any."""
    if n_truncated:
        warn(
            f"{n_truncated} of {n_texts} {noun}s exceed the limit of {limit} tokens and were "
            f"truncated. {advice}",
            TruncationWarning,
        )
