"""LambdaLoss: pairwise ranking weighted by the effect on NDCG."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..base import Batch, DataFormat, Loss, weighted_mean
from ..distances import check_positive
from ..needs import GRADED_LIST
from .ranked_lists import (
    RankedLists,
    RowPairs,
    check_k,
    graded_pairs,
    pairwise_losses,
    stack_lists,
)

WEIGHTINGS = ("ndcg2++", "ndcg2", "lambdarank")


@dataclass(frozen=True)
class LambdaLoss(Loss):
    """RankNet loss weighted by the change of NDCG when the two documents are swapped.

    The gain of a grade g is 2**g - 1. Grades below 0 have no gain; grades above 30 raise an error.

    Parameters
    ----------
    weighting : {"ndcg2++", "ndcg2", "lambdarank"}, default="ndcg2++"
        How pairs of documents are weighted:

        - ``"lambdarank"``: the change of NDCG;
        - ``"ndcg2"``: a tighter bound of it, from the difference of the two ranks;
        - ``"ndcg2++"``: the sum of both.
    mu : float, default=10.0
        Weight of ``"ndcg2"`` in ``"ndcg2++"``.
    sigma : float, default=1.0
        Scale of the differences of logits.
    k : int, default=None
        Compare two documents only if one of them is among the first k of its list, in the order of the
        logits. If None, compare all.

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

    formats = (DataFormat.LISTS,)
    # As in LightGBM: in float32, larger gains would round away those of lower grades.
    max_grade = 30
    needs = GRADED_LIST

    def __post_init__(self) -> None:
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"weighting={self.weighting!r}: pass one of {list(WEIGHTINGS)}.")
        check_positive(mu=self.mu, sigma=self.sigma)
        check_k(self.k)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        lists = stack_lists(batch)
        pairs = graded_pairs(lists, self.k)
        losses = self._pair_weights(lists, pairs) * pairwise_losses(lists, pairs, self.sigma)
        return weighted_mean(losses, lists.weight[pairs[0]])

    def _pair_weights(self, lists: RankedLists, pairs: RowPairs) -> Tensor:
        """Return the difference of the two gains times that of the two discounts, for each pair."""
        at, first, second = pairs
        gains, ranks = normalized_gains(lists.grades, self.k), lists.ranks
        a, b = ranks[at, first], ranks[at, second]
        apart = (a - b).abs()
        by_rank = (discount(a) - discount(b)).abs()
        by_difference = discount(apart) - discount(apart + 1)
        discounts = {
            "lambdarank": by_rank,
            "ndcg2": by_difference,
            "ndcg2++": by_rank + self.mu * by_difference,
        }
        return (gains[at, first] - gains[at, second]) * discounts[self.weighting]


def discount(rank: Tensor) -> Tensor:
    """Return the discount of a gain at a rank, from 1."""
    return 1 / torch.log2(1.0 + rank)


def normalized_gains(grades: Tensor, k: int | None) -> Tensor:
    """Return the gain of each row, divided by the ideal DCG of its list."""
    gains = torch.exp2(grades.clamp_min(0)) - 1
    ranks = torch.arange(1, gains.shape[1] + 1, device=gains.device)
    best = gains.sort(dim=1, descending=True).values * discount(ranks)
    return gains / best[:, :k].sum(dim=1, keepdim=True).clamp_min(1e-10)
