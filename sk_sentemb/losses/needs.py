"""What a batch must contain for a loss to learn from it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BatchRows:
    """The rows of a batch, as they are known before the model has read them."""

    n_columns: int
    n_rows: int
    target: np.ndarray | None = None
    lists: np.ndarray | None = None


@dataclass(frozen=True)
class Need:
    """A condition on a batch. Where it is not met, the loss says nothing about the model."""

    words: str
    is_met: Callable[[BatchRows], bool]


def _has_two_targets(rows: BatchRows) -> bool:
    return rows.target is not None and bool((rows.target != rows.target[0]).any())


def _has_positives(rows: BatchRows) -> bool:
    return rows.target is not None and len(np.unique(rows.target)) < rows.n_rows


def _has_positives_and_negatives(rows: BatchRows) -> bool:
    return _has_positives(rows) and _has_two_targets(rows)


def _has_graded_list(rows: BatchRows) -> bool:
    if rows.target is None or rows.lists is None:
        return False
    return any(np.ptp(rows.target[rows.lists == one]) > 0 for one in np.unique(rows.lists))


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
