"""Each two rows of a list in the right order, the more so the more it matters to NDCG."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..base import LISTS, Batch, Loss, weighted_mean
from ..distances import check_positive
from ..needs import GRADED_LIST
from .ranked_lists import Lists, Pairs, check_k, graded_pairs, order_losses, read_lists

WEIGHTINGS = ("ndcg2++", "ndcg2", "lambdarank")


@dataclass(frozen=True)
class LambdaLoss(Loss):
    """As RankNetLoss, each two rows weighted by what NDCG loses if they change places.

    The gain of a grade g is 2**g - 1; grades below 0 gain nothing, and those above 30 are refused.

    Parameters
    ----------
    weighting : {"ndcg2++", "ndcg2", "lambdarank"}, default="ndcg2++"
        ``"lambdarank"``: by how much NDCG changes; ``"ndcg2"``: a tighter bound of it, by how far the
        two are from each other; ``"ndcg2++"``: the sum of both.
    mu : float, default=10.0
        How much ``"ndcg2"`` counts in ``"ndcg2++"``.
    sigma : float, default=1.0
        Of the differences of logits.
    k : int, default=None
        Compare two rows only if one is among the first k of its list, in the order of the logits;
        None for all.

    References
    ----------
    .. [1] X. Wang et al., "The LambdaLoss Framework for Ranking Metric Optimization", CIKM 2018,
       https://doi.org/10.1145/3269206.3271784; LambdaLoss of sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses.cross_encoder import LambdaLoss
    >>> LambdaLoss("lambdarank", k=10)
    LambdaLoss(weighting='lambdarank', mu=10.0, sigma=1.0, k=10)
    """

    weighting: str = "ndcg2++"
    mu: float = 10.0
    sigma: float = 1.0
    k: int | None = None

    data = (LISTS,)
    # As in LightGBM: beyond it, the gain of a grade leaves nothing of those below.
    max_grade = 30
    needs = GRADED_LIST

    def __post_init__(self) -> None:
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"weighting={self.weighting!r}: pass one of {list(WEIGHTINGS)}.")
        check_positive(mu=self.mu, sigma=self.sigma)
        check_k(self.k)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        lists = read_lists(batch)
        pairs = graded_pairs(lists, self.k)
        losses = self._importance(lists, pairs) * order_losses(lists, pairs, self.sigma)
        return weighted_mean(losses, lists.weight[pairs[0]])

    def _importance(self, lists: Lists, pairs: Pairs) -> Tensor:
        """Return the difference of the two gains times that of the two discounts, for each pair."""
        which, first, second = pairs
        gains = normalized_gains(lists.grades, self.k)
        ranks = lists.ranks
        a, b = ranks[which, first], ranks[which, second]
        apart = (a - b).abs()
        by_place = (discount(a) - discount(b)).abs()
        by_distance = discount(apart) - discount(apart + 1)
        discounts = {
            "lambdarank": by_place,
            "ndcg2": by_distance,
            "ndcg2++": by_place + self.mu * by_distance,
        }
        return (gains[which, first] - gains[which, second]) * discounts[self.weighting]


def discount(rank: Tensor) -> Tensor:
    """Return what a gain counts at a place, from 1."""
    return 1 / torch.log2(1.0 + rank)


def normalized_gains(grades: Tensor, k: int | None) -> Tensor:
    """Return the gain of each row, divided by the DCG of the best order of its list."""
    gains = torch.exp2(grades.clamp_min(0)) - 1
    places = torch.arange(1, gains.shape[1] + 1, device=gains.device)
    best = gains.sort(dim=1, descending=True).values * discount(places)
    return gains / best[:, :k].sum(dim=1, keepdim=True).clamp_min(1e-10)
