"""Ranking loss with negatives that are sampled from other rows."""

from dataclasses import dataclass
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base import Batch, DataFormat, Loss, single_logit, weighted_mean
from ..distances import check_positive


@dataclass(frozen=True)
class MultipleNegativesRankingLoss(Loss):
    """Cross-entropy of each query's document against randomly sampled documents of other rows.

    With triplets, the given negative is a candidate, too.

    Parameters
    ----------
    n_negatives : int, default=4
        Number of documents that are sampled for each query. With triplets, 0 is allowed.
    scale : float, default=10.0
        Scale (inverse temperature) of the sigmoids of the logits.

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

    formats = (DataFormat.PAIRS, DataFormat.TRIPLETS)
    activation = nn.Sigmoid

    def __post_init__(self) -> None:
        if not isinstance(self.n_negatives, Integral) or self.n_negatives < 0:
            raise ValueError(f"n_negatives={self.n_negatives!r}: pass an int, 0 or more.")
        check_positive(scale=self.scale)

    def for_format(self, data_format: DataFormat) -> "MultipleNegativesRankingLoss":
        """Return the loss itself, or raise if there would be no negatives."""
        if data_format == DataFormat.PAIRS and self.n_negatives == 0:
            raise ValueError(
                "n_negatives=0 requires triplets, because pairs have no negatives of their own. Pass "
                "n_negatives of 1 or more, or triplets."
            )
        return self

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        logits = torch.stack([single_logit(column) for column in batch.outputs], dim=1)
        own = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        losses = F.cross_entropy(logits.sigmoid() * self.scale, own, reduction="none")
        return weighted_mean(losses, batch.weight)
