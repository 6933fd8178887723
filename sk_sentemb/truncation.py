"""Truncated texts, counted in cells of X by every estimator."""

import warnings
from typing import NamedTuple

import numpy as np

from .distinct import NO_TEXT
from .encoder import TruncationWarning


class CellCounts(NamedTuple):
    """Cells of X that have a text, and those of them whose text is truncated."""

    n_texts: int
    n_truncated: int


def count_truncated(which: np.ndarray, truncated: np.ndarray) -> CellCounts:
    """Count the cells whose texts are truncated; a text that stands in three cells counts three times.

    Parameters
    ----------
    which : ndarray of shape (n_columns, n_rows), intp
        The number of the text of each cell, or `NO_TEXT`.
    truncated : ndarray of shape (n_texts,), bool
        Which of the distinct texts are truncated.

    Returns
    -------
    CellCounts
        Without the cells that have no text.
    """
    cells = which[which != NO_TEXT]
    return CellCounts(len(cells), int(truncated[cells].sum()))


def warn_truncated(
    counts: CellCounts, *, unit: str, limit: int | None, advice: str, stacklevel: int
) -> None:
    """Say how many cells were truncated, if any were.

    Parameters
    ----------
    counts : CellCounts
        From `count_truncated`.
    unit : str
        What a cell holds: a text or a pair.
    limit : int or None
        The most tokens that are read.
    advice : str
        What became of the rest, and what to do.
    stacklevel : int
        As of :func:`warnings.warn`, counted from the caller.
    """
    if counts.n_truncated:
        warnings.warn(
            f"{counts.n_truncated} of {counts.n_texts} {unit}s are longer than {limit} tokens, and "
            f"{advice}",
            TruncationWarning,
            stacklevel=stacklevel + 1,
        )
