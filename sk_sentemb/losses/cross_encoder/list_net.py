"""The order of a list as a distribution over its rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..base import LISTS, Batch, Loss, weighted_mean
from ..needs import GRADED_LIST
from .ranked_lists import read_lists


@dataclass(frozen=True)
class ListNetLoss(Loss):
    """The soft-max of a list's logits shall be that of its grades: cross-entropy.

    A list whose grades are all the same says nothing of an order, and its loss is 0. A row's weight
    counts for its list, whose is the mean of its rows'.

    References
    ----------
    .. [1] Z. Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007;
       ListNetLoss of sentence-transformers, where a list of equal grades counts as any other.

    Examples
    --------
    >>> from sk_sentemb.losses.cross_encoder import ListNetLoss
    >>> ListNetLoss()
    ListNetLoss()
    """

    data = (LISTS,)
    needs = GRADED_LIST

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        lists = read_lists(batch)
        # Not -inf, of which nothing is NaN.
        log_share = lists.logits.log_softmax(dim=1).masked_fill(~lists.filled, 0.0)
        losses = -(lists.grades.softmax(dim=1) * log_share).sum(dim=1)
        lowest = lists.grades.masked_fill(~lists.filled, torch.inf).amin(dim=1)
        return weighted_mean(losses * (lists.grades.amax(dim=1) > lowest), lists.weight)
