"""Pairs that belong together, among pairs that do not."""

from dataclasses import dataclass
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base import PAIRS, TRIPLETS, Batch, Loss, weighted_mean
from ..distances import check_positive
from ..logits import one_logit


@dataclass(frozen=True)
class MultipleNegativesRankingLoss(Loss):
    """Each query shall find its document among others, drawn by chance, and its negative if it has one.

    Parameters
    ----------
    n_negatives : int, default=4
        Documents of other rows that are drawn for each query; with triplets 0 is enough.
    scale : float, default=10.0
        Of the sigmoids of the logits.

    References
    ----------
    .. [1] M. Henderson et al., "Efficient Natural Language Response Suggestion for Smart Reply", 2017,
       https://arxiv.org/abs/1705.00652; MultipleNegativesRankingLoss of sentence-transformers'
       cross-encoders.

    Examples
    --------
    >>> from sk_sentemb.losses.cross_encoder import MultipleNegativesRankingLoss
    >>> MultipleNegativesRankingLoss(n_negatives=8)
    MultipleNegativesRankingLoss(n_negatives=8, scale=10.0)
    """

    n_negatives: int = 4
    scale: float = 10.0

    data = (PAIRS, TRIPLETS)
    activation = nn.Sigmoid

    def __post_init__(self) -> None:
        if not isinstance(self.n_negatives, Integral) or self.n_negatives < 0:
            raise ValueError(f"n_negatives={self.n_negatives!r}: pass an int, 0 or more.")
        check_positive(scale=self.scale)

    def for_data(self, shape: str) -> "MultipleNegativesRankingLoss":
        """Return it, if there is a negative."""
        if shape == PAIRS and self.n_negatives == 0:
            raise ValueError(
                "n_negatives=0, and pairs have no negative of their own: there is nothing to tell the "
                "document from. Pass 1 or more, or triplets."
            )
        return self

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        logits = torch.stack([one_logit(column) for column in batch.columns], dim=1)
        own = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        losses = F.cross_entropy(logits.sigmoid() * self.scale, own, reduction="none")
        return weighted_mean(losses, batch.weight)
