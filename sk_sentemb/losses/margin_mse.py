"""Mean squared error of score margins against those of a teacher."""

from dataclasses import dataclass

from torch import Tensor

from .base import Batch, DataFormat, Loss, require, single_logit, weighted_mean


@dataclass(frozen=True)
class MarginMSELoss(Loss):
    """Mean squared error between the margins of student and teacher.

    The margin of a triplet is the score of the positive minus that of the negative. The scores of an
    embedder are dot products, those of a cross-encoder its logits.

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

    formats = (DataFormat.MARGINS,)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        if len(batch.outputs) == 2:
            positive, negative = (single_logit(column) for column in batch.outputs)
        else:
            anchor, *candidates = batch.outputs
            positive, negative = ((anchor * candidate).sum(dim=1) for candidate in candidates)
        errors = (positive - negative - require(batch.target, "y")).square()
        return weighted_mean(errors, batch.weight)
