"""The share of the exact nearest neighbors that an approximate index finds."""

import numpy as np

from .._warn import warn
from ..exceptions import IndexWarning

# Number of documents whose neighbors are compared, and the recall below which there is a warning.
_N_SAMPLES = 200
_LEAST_RECALL = 0.95


def sample_rows(rows: np.ndarray) -> np.ndarray:
    """Return rows at equal distances, the same ones in each call."""
    n_samples = min(_N_SAMPLES, len(rows))
    return rows[np.arange(n_samples) * len(rows) // n_samples]


def measure_recall(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the mean share of the exact neighbors, one row per query, that were found."""
    shares = [np.isin(b, a).mean() for a, b in zip(found, exact, strict=True)]
    return float(np.mean(shares))


def warn_low_recall(recall: float, index: str) -> None:
    """Warn of an index that misses many neighbors."""
    if recall < _LEAST_RECALL:
        warn(
            f"index={index!r} finds {recall:.1%} of the exact nearest neighbors of a sample of the "
            "documents. Pass a larger rescore, another index, or 'exact'.",
            IndexWarning,
        )
