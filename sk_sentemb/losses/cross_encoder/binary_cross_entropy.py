"""Pairs that belong together, or how much they do, as a probability."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ..base import BINARY, SCORES, Batch, Loss, weighted_mean
from ..logits import one_logit


@dataclass(frozen=True)
class BinaryCrossEntropyLoss(Loss):
    """The sigmoid of a pair's logit shall be its score, from 0 to 1: cross-entropy.

    References
    ----------
    .. [1] BinaryCrossEntropyLoss of sentence-transformers, https://sbert.net.

    Examples
    --------
    >>> from sk_sentemb.losses.cross_encoder import BinaryCrossEntropyLoss
    >>> BinaryCrossEntropyLoss()
    BinaryCrossEntropyLoss()
    """

    data = (SCORES, BINARY)
    activation = nn.Sigmoid

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        logits = one_logit(batch.columns[0])
        losses = F.binary_cross_entropy_with_logits(
            logits, batch.target.to(logits), reduction="none"
        )
        return weighted_mean(losses, batch.weight)
