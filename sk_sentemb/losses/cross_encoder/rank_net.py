"""Each two rows of a list in the right order."""

from dataclasses import dataclass

from torch import Tensor

from ..base import LISTS, Batch, Loss, weighted_mean
from ..distances import check_positive
from ..needs import GRADED_LIST
from .ranked_lists import check_k, graded_pairs, order_losses, read_lists


@dataclass(frozen=True)
class RankNetLoss(Loss):
    """Of each two rows of a list, the one with the higher grade shall have the higher logit.

    A list whose grades are all the same has no such two, and counts nothing. A row's weight counts
    for its list, whose is the mean of its rows'.

    Parameters
    ----------
    sigma : float, default=1.0
        Of the differences of logits.
    k : int, default=None
        Compare two rows only if one is among the first k of its list, in the order of the logits;
        None for all.

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

    data = (LISTS,)
    needs = GRADED_LIST

    def __post_init__(self) -> None:
        check_positive(sigma=self.sigma)
        check_k(self.k)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        lists = read_lists(batch)
        pairs = graded_pairs(lists, self.k)
        return weighted_mean(order_losses(lists, pairs, self.sigma), lists.weight[pairs[0]])
