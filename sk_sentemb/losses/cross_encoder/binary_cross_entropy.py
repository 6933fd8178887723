"""Binary cross-entropy of pairs."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ..base import Batch, DataFormat, Loss, require, single_logit, weighted_mean


@dataclass(frozen=True)
class BinaryCrossEntropyLoss(Loss):
    """Binary cross-entropy between the sigmoid of each pair's logit and its score from 0 to 1.

    References
    ----------
    .. [1] BinaryCrossEntropyLoss of sentence-transformers, https://sbert.net.

    Examples
    --------
    >>> from sk_sentemb.losses.cross_encoder import BinaryCrossEntropyLoss
    >>> BinaryCrossEntropyLoss()
    BinaryCrossEntropyLoss()
    """

    formats = (DataFormat.SCORES, DataFormat.BINARY)
    activation = nn.Sigmoid

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        logits = single_logit(batch.outputs[0])
        target = require(batch.target, "y").to(logits)
        losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return weighted_mean(losses, batch.weight)
