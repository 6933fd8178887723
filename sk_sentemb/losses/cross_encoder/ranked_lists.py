"""The lists of a batch as matrices, and the pairs of their rows."""

import math
from dataclasses import dataclass
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor

from ..base import Batch
from ..logits import one_logit


@dataclass(frozen=True)
class Lists:
    """Lists below each other, the shorter ones filled up."""

    logits: Tensor
    grades: Tensor
    weight: Tensor

    @property
    def filled(self) -> Tensor:
        """Where there are rows."""
        return self.grades > -torch.inf

    @property
    def ranks(self) -> Tensor:
        """Each row's place in the order of the logits, from 1."""
        return self.logits.argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1


# Of each pair, the number of its list and the places in it of its two rows.
Pairs = tuple[Tensor, Tensor, Tensor]


def read_lists(batch: Batch) -> Lists:
    """Put the rows of each list of a batch beside each other."""
    assert batch.target is not None
    assert batch.lists is not None
    logits = one_logit(batch.columns[0])
    _, row, sizes = torch.unique_consecutive(batch.lists, return_inverse=True, return_counts=True)
    column = torch.arange(len(row), device=row.device) - (sizes.cumsum(0) - sizes)[row]

    def matrix(values: Tensor, empty: float = -torch.inf) -> Tensor:
        filled = logits.new_full((len(sizes), int(sizes.max())), empty)
        return filled.index_put((row, column), values.to(logits))

    weight = torch.ones_like(logits) if batch.weight is None else batch.weight
    mean_weight = matrix(weight, empty=0.0).sum(dim=1) / sizes
    return Lists(matrix(logits), matrix(batch.target), mean_weight)


def graded_pairs(lists: Lists, k: int | None) -> Pairs:
    """Find each two rows of a list of which the first has the higher grade."""
    grades, filled = lists.grades, lists.filled
    wanted = (grades[:, :, None] > grades[:, None, :]) & filled[:, None, :]
    if k is not None:
        first = lists.ranks <= k
        wanted = wanted & (first[:, :, None] | first[:, None, :])
    return wanted.nonzero(as_tuple=True)  # type: ignore[return-value]


def order_losses(lists: Lists, pairs: Pairs, sigma: float) -> Tensor:
    """Return -log2(sigmoid(sigma * (s_first - s_second))) of each pair."""
    # Picked after the subtraction, so that each is picked once: the gradient of an element that is
    # picked often is a sum in any order, where there are threads.
    differences = (lists.logits[:, :, None] - lists.logits[:, None, :])[pairs]
    return -F.logsigmoid(sigma * differences) / math.log(2)


def check_k(k: int | None) -> None:
    """Raise for a number of rows that is not one."""
    if k is not None and not (isinstance(k, Integral) and k > 0):
        raise ValueError(f"k={k!r}: pass an int above 0, or None for all rows of a list.")
