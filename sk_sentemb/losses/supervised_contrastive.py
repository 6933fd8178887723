"""Texts of one class together, all others apart."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import LABELS, Batch, Loss, weighted_mean
from .distances import check_positive, cosine, same_class
from .needs import POSITIVES_AND_NEGATIVES


@dataclass(frozen=True)
class SupervisedContrastiveLoss(Loss):
    """Supervised contrastive loss over the batch (SupCon).

    Each text shall be nearer to the others of its class than to all the rest. One whose class has no
    other text in the batch is only what others are compared with.

    Parameters
    ----------
    temperature : float, default=0.1
        Divides the cosines.

    References
    ----------
    .. [1] P. Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, the loss "out",
       https://arxiv.org/abs/2004.11362

    Examples
    --------
    >>> from sk_sentemb.losses import SupervisedContrastiveLoss
    >>> SupervisedContrastiveLoss(temperature=0.2)
    SupervisedContrastiveLoss(temperature=0.2)
    """

    temperature: float = 0.1

    data = (LABELS,)
    groups_classes = True
    needs = POSITIVES_AND_NEGATIVES

    def __post_init__(self) -> None:
        check_positive(temperature=self.temperature)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        x = batch.joined
        positive, _ = same_class(batch.target)
        itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
        logits = (cosine(x, x) / self.temperature).masked_fill(itself, -1e12)
        log_share = logits - logits.logsumexp(dim=1, keepdim=True)
        n_positive = positive.sum(dim=1)
        anchors = n_positive > 0
        if not anchors.any():
            return x.sum() * 0
        losses = -(log_share * positive).sum(dim=1)[anchors] / n_positive[anchors]
        return weighted_mean(losses, None if batch.weight is None else batch.weight[anchors])
