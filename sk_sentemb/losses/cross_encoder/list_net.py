"""ListNet: the order of a list as a distribution over its rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..base import Batch, DataFormat, Loss, weighted_mean
from ..needs import GRADED_LIST
from .ranked_lists import stack_lists


@dataclass(frozen=True)
class ListNetLoss(Loss):
    """ListNet: cross-entropy between the softmax of a list's grades and that of its logits.

    Lists whose grades are all equal contribute no loss. The weight of a list is the mean weight of its
    rows.

    References
    ----------
    .. [1] Z. Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007;
       ListNetLoss of sentence-transformers, where lists of equal grades contribute to the loss.

    Examples
    --------
    >>> from sk_sentemb.losses.cross_encoder import ListNetLoss
    >>> ListNetLoss()
    ListNetLoss()
    """

    formats = (DataFormat.LISTS,)
    needs = GRADED_LIST

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        lists = stack_lists(batch)
        # Not -inf, because 0 times it is NaN.
        log_softmax = lists.logits.log_softmax(dim=1).masked_fill(~lists.filled, 0.0)
        losses = -(lists.grades.softmax(dim=1) * log_softmax).sum(dim=1)
        lowest = lists.grades.masked_fill(~lists.filled, torch.inf).amin(dim=1)
        return weighted_mean(losses * (lists.grades.amax(dim=1) > lowest), lists.weight)
