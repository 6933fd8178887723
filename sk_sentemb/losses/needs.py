"""The requirements on a batch: without them, the gradient of a loss is zero or undefined."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BatchRows:
    """The rows of a batch, before the forward pass."""

    n_columns: int
    n_rows: int
    target: np.ndarray | None = None
    query_ids: np.ndarray | None = None


@dataclass(frozen=True)
class Need:
    """A requirement on a batch, in words and as a function."""

    words: str
    is_met: Callable[[BatchRows], bool]


def _has_two_targets(rows: BatchRows) -> bool:
    return rows.target is not None and bool((rows.target != rows.target[0]).any())


def _has_positives(rows: BatchRows) -> bool:
    return rows.target is not None and len(np.unique(rows.target)) < rows.n_rows


def _has_positives_and_negatives(rows: BatchRows) -> bool:
    return _has_positives(rows) and _has_two_targets(rows)


def _has_graded_list(rows: BatchRows) -> bool:
    target, query_ids = rows.target, rows.query_ids
    if target is None or query_ids is None:
        return False
    return any(np.ptp(target[query_ids == query]) > 0 for query in np.unique(query_ids))


NOTHING = Need("a row", lambda rows: rows.n_rows > 0)
ANOTHER_ROW = Need("two rows", lambda rows: rows.n_rows > 1)
IN_BATCH_NEGATIVES = Need(
    "two rows without a text in common", lambda rows: rows.n_rows > 1 or rows.n_columns > 2
)
TWO_TARGETS = Need("two rows with different numbers in y", _has_two_targets)
POSITIVES = Need("two rows of one class", _has_positives)
POSITIVES_AND_NEGATIVES = Need(
    "two rows of one class and one of another", _has_positives_and_negatives
)
GRADED_LIST = Need("a list with two grades", _has_graded_list)
