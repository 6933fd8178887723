"""Mean squared error of the scores of pairs."""

from dataclasses import dataclass

from torch import Tensor

from ..base import Batch, DataFormat, Loss, require, single_logit, weighted_mean


@dataclass(frozen=True)
class MSELoss(Loss):
    """Mean squared error between the logit of each pair and its score, such as that of a teacher.

    References
    ----------
    .. [1] MSELoss of sentence-transformers' cross-encoders, https://sbert.net.

    Examples
    --------
    >>> from sk_sentemb.losses.cross_encoder import MSELoss
    >>> MSELoss()
    MSELoss()
    """

    formats = (DataFormat.SCORES, DataFormat.BINARY)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        errors = (single_logit(batch.outputs[0]) - require(batch.target, "y")).square()
        return weighted_mean(errors, batch.weight)
