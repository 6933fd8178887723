"""Count the truncated cells of X and warn of them, in the same way for every estimator."""

from typing import NamedTuple

import numpy as np

from ._inputs import NO_TEXT
from ._warn import warn
from .exceptions import TruncationWarning


class CellCounts(NamedTuple):
    """Cells of X that have a text, and those of them whose text is truncated."""

    n_texts: int
    n_truncated: int


def count_truncated(which: np.ndarray, truncated: np.ndarray) -> CellCounts:
    """Count the cells with a truncated text; a text in three cells counts three times.

    Parameters
    ----------
    which : ndarray of shape (n_columns, n_rows), intp
        The number of the text of each cell, or `NO_TEXT`.
    truncated : ndarray of shape (n_texts,), bool
        Whether each of the distinct texts is truncated.

    Returns
    -------
    CellCounts
        The counts, without the cells that have no text.
    """
    cells = which[which != NO_TEXT]
    return CellCounts(len(cells), int(truncated[cells].sum()))


def warn_truncated(counts: CellCounts, *, unit: str, limit: int | None, advice: str) -> None:
    """Warn of truncated cells, with their number, if there are any.

    Parameters
    ----------
    counts : CellCounts
        The counts from `count_truncated`.
    unit : str
        The word for the content of a cell: "text" or "pair".
    limit : int or None
        The token limit.
    advice : str
        The end of the message: what happens to the rest, and what to do.
    """
    if counts.n_truncated:
        warn(
            f"{counts.n_truncated} of {counts.n_texts} {unit}s are longer than {limit} tokens, and "
            f"{advice}",
            TruncationWarning,
        )
