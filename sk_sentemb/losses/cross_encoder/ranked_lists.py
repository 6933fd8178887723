"""The ranked lists of a batch as matrices, and the pairs of their rows."""

import math
from dataclasses import dataclass
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor

from ..base import Batch, require, single_logit


@dataclass(frozen=True)
class RankedLists:
    """Lists of a batch as rows of matrices, padded to the longest list."""

    logits: Tensor
    grades: Tensor  # -inf is padding
    weight: Tensor  # of each list

    @property
    def filled(self) -> Tensor:
        """The mask of what is not padding."""
        return self.grades > -torch.inf

    @property
    def ranks(self) -> Tensor:
        """The rank of each row in its list by its logit, from 1."""
        return self.logits.argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1


# The index of the list, and the positions of the two rows in it, for each pair.
RowPairs = tuple[Tensor, Tensor, Tensor]


def stack_lists(batch: Batch) -> RankedLists:
    """Arrange the rows of each list of a batch as a row of a matrix."""
    logits = single_logit(batch.outputs[0])
    query_ids = require(batch.query_ids, "query_id")
    _, row, sizes = torch.unique_consecutive(query_ids, return_inverse=True, return_counts=True)
    column = torch.arange(len(row), device=row.device) - (sizes.cumsum(0) - sizes)[row]

    def matrix(values: Tensor, padding: float = -torch.inf) -> Tensor:
        empty = logits.new_full((len(sizes), int(sizes.max())), padding)
        return empty.index_put((row, column), values.to(logits))

    weight = torch.ones_like(logits) if batch.weight is None else batch.weight
    mean_weight = matrix(weight, padding=0.0).sum(dim=1) / sizes
    return RankedLists(matrix(logits), matrix(require(batch.target, "y")), mean_weight)


def graded_pairs(lists: RankedLists, k: int | None) -> RowPairs:
    """Find the pairs of rows of a list of which the first has the higher grade."""
    grades, filled = lists.grades, lists.filled
    wanted = (grades[:, :, None] > grades[:, None, :]) & filled[:, None, :]
    if k is not None:
        first = lists.ranks <= k
        wanted = wanted & (first[:, :, None] | first[:, None, :])
    return wanted.nonzero(as_tuple=True)  # type: ignore[return-value]


def pairwise_losses(lists: RankedLists, pairs: RowPairs, sigma: float) -> Tensor:
    """Return -log2(sigmoid(sigma * (s_first - s_second))) for each pair."""
    # Indexed after the subtraction, so that each element is selected once: the gradient of one that
    # is selected repeatedly is summed in an order that depends on threads.
    differences = (lists.logits[:, :, None] - lists.logits[:, None, :])[pairs]
    return -F.logsigmoid(sigma * differences) / math.log(2)


def check_k(k: int | None) -> None:
    """Raise unless k is a positive integer or None."""
    if k is not None and not (isinstance(k, Integral) and k > 0):
        raise ValueError(f"k={k!r}: pass an int above 0, or None for all rows of a list.")
