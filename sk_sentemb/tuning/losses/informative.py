"""What the rows of a batch must have in common, or not, for a loss to learn from them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BatchRows:
    """What is known of a batch before the model has read it.

    Attributes
    ----------
    n_columns : int
        Columns of what the model reads.
    n_rows : int
    target : ndarray of shape (n_rows,) or (n_rows, n_outputs), or None
    lists : ndarray of shape (n_rows,), int64, or None
        The list that each row is in.
    """

    n_columns: int
    n_rows: int
    target: np.ndarray | None = None
    lists: np.ndarray | None = None

    def has_other_rows(self) -> bool:
        """Return whether a row has another one to be compared with."""
        return self.n_rows > 1

    def has_two_targets(self) -> bool:
        """Return whether two rows have different targets."""
        return self.target is not None and bool((self.target != self.target[0]).any())

    def has_positives_and_negatives(self) -> bool:
        """Return whether two rows have one class, and a third one has another."""
        if self.target is None:
            return False
        _, sizes = np.unique(self.target, return_counts=True)
        return len(sizes) > 1 and sizes.max() > 1

    def has_a_graded_list(self) -> bool:
        """Return whether two rows of one list have different grades."""
        if self.target is None or self.lists is None:
            return False
        return any(np.ptp(self.target[self.lists == one]) > 0 for one in np.unique(self.lists))
