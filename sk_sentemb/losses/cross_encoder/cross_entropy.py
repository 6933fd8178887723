"""Cross-entropy of the classes of pairs."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..base import Batch, DataFormat, Loss, require, weighted_mean


@dataclass(frozen=True)
class CrossEntropyLoss(Loss):
    """Cross-entropy between the softmax of each pair's logits and its class.

    A model with one logit outputs that of the second of two classes; the logit of the first is 0.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        Fraction of the target probability that is distributed evenly over all classes, which keeps
        logits from growing without limit.

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

    formats = (DataFormat.PAIR_LABELS,)

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"label_smoothing={self.label_smoothing!r}: pass a number from 0 to below 1."
            )

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        (logits,) = batch.outputs
        if logits.shape[1] == 1:
            logits = F.pad(logits, (1, 0))
        losses = F.cross_entropy(
            logits,
            require(batch.target, "y"),
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        return weighted_mean(losses, batch.weight)
