"""RankNet: pairwise ranking within lists."""

from dataclasses import dataclass

from torch import Tensor

from ..base import Batch, DataFormat, Loss, weighted_mean
from ..distances import check_positive
from ..needs import GRADED_LIST
from .ranked_lists import check_k, graded_pairs, pairwise_losses, stack_lists


@dataclass(frozen=True)
class RankNetLoss(Loss):
    """RankNet: logistic loss of the logit differences of each two documents of different grades.

    Lists whose grades are all equal contribute no loss. The weight of a list is the mean weight of its
    rows.

    Parameters
    ----------
    sigma : float, default=1.0
        Scale of the differences of logits.
    k : int, default=None
        Compare two documents only if one of them is among the first k of its list, in the order of the
        logits. If None, compare all.

    References
    ----------
    .. [1] C. Burges et al., "Learning to Rank using Gradient Descent", ICML 2005; RankNetLoss of
       sentence-transformers, with its logarithm to base 2.

    Examples
    --------
    >>> from sk_sentemb.losses.cross_encoder import RankNetLoss
    >>> RankNetLoss(k=10)
    RankNetLoss(sigma=1.0, k=10)
    """

    sigma: float = 1.0
    k: int | None = None

    formats = (DataFormat.LISTS,)
    needs = GRADED_LIST

    def __post_init__(self) -> None:
        check_positive(sigma=self.sigma)
        check_k(self.k)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        lists = stack_lists(batch)
        pairs = graded_pairs(lists, self.k)
        return weighted_mean(pairwise_losses(lists, pairs, self.sigma), lists.weight[pairs[0]])
