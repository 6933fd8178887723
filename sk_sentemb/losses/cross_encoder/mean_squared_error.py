"""Scores as they are, such as a teacher's."""

from dataclasses import dataclass

from torch import Tensor

from ..base import BINARY, SCORES, Batch, Loss, weighted_mean
from ..logits import one_logit


@dataclass(frozen=True)
class MSELoss(Loss):
    """The logit of a pair shall be its score: mean squared error.

    References
    ----------
    .. [1] MSELoss of sentence-transformers' cross-encoders, https://sbert.net.

    Examples
    --------
    >>> from sk_sentemb.losses.cross_encoder import MSELoss
    >>> MSELoss()
    MSELoss()
    """

    data = (SCORES, BINARY)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        errors = (one_logit(batch.columns[0]) - batch.target).square()
        return weighted_mean(errors, batch.weight)
