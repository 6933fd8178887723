"""Count the truncated cells of X and warn of them, in the same way for every estimator."""

from typing import NamedTuple

import numpy as np

from ._inputs import MISSING
from ._warn import warn
from .exceptions import TruncationWarning


class CellCounts(NamedTuple):
    """Cells of X that have a text, and those of them whose text is truncated."""

    n_texts: int
    n_truncated: int


def count_truncated(which: np.ndarray, truncated: np.ndarray) -> CellCounts:
    """Count the cells with a truncated text; a text in three cells counts three times."""
    cells = which[which != MISSING]
    return CellCounts(len(cells), int(truncated[cells].sum()))


def warn_truncated(counts: CellCounts, *, unit: str, limit: int | None, advice: str) -> None:
    """Warn of truncated cells, with their number, if there are any."""
    if counts.n_truncated:
        warn(
            f"{counts.n_truncated} of {counts.n_texts} {unit}s are longer than {limit} tokens, and "
            f"{advice}",
            TruncationWarning,
        )
