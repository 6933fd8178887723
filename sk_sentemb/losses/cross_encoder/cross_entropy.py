"""Pairs and the class of each."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..base import CLASSES, Batch, Loss, weighted_mean


@dataclass(frozen=True)
class CrossEntropyLoss(Loss):
    """Cross-entropy of the classes of pairs.

    With one logit for a pair, that of the second of two classes; the first one's is 0.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        The part of the probability that is spread over all classes, so that no logit has to grow
        without end.

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016,
       section 7, https://arxiv.org/abs/1512.00567; CrossEntropyLoss of sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses.cross_encoder import CrossEntropyLoss
    >>> CrossEntropyLoss(label_smoothing=0.1)
    CrossEntropyLoss(label_smoothing=0.1)
    """

    label_smoothing: float = 0.0

    data = (CLASSES,)

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"label_smoothing={self.label_smoothing!r}: pass a number from 0 to below 1."
            )

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        (logits,) = batch.columns
        if logits.shape[1] == 1:
            logits = F.pad(logits, (1, 0))
        losses = F.cross_entropy(
            logits, batch.target, reduction="none", label_smoothing=self.label_smoothing
        )
        return weighted_mean(losses, batch.weight)
