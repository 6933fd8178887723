"""The margins of a teacher."""

from dataclasses import dataclass

from torch import Tensor

from .base import MARGINS, Batch, Loss, weighted_mean
from .logits import one_logit


@dataclass(frozen=True)
class MarginMSELoss(Loss):
    """By how much the positive is better shall be what a teacher says: mean squared error.

    The scores are dot products of an embedder's vectors, or the logits of a cross-encoder.

    References
    ----------
    .. [1] S. Hofstätter et al., "Improving Efficient Neural Ranking Models with Cross-Architecture
       Knowledge Distillation", 2020, https://arxiv.org/abs/2010.02666; MarginMSELoss of
       sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import MarginMSELoss
    >>> MarginMSELoss()
    MarginMSELoss()
    """

    data = (MARGINS,)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        if len(batch.columns) == 2:
            better, worse = (one_logit(column) for column in batch.columns)
        else:
            anchor, *candidates = batch.columns
            better, worse = ((anchor * candidate).sum(dim=1) for candidate in candidates)
        return weighted_mean((better - worse - batch.target).square(), batch.weight)
