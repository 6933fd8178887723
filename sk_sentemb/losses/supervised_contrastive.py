"""Supervised contrastive loss."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Batch, DataFormat, Loss, require, weighted_mean
from .distances import check_positive, cosine_matrix, same_class
from .needs import POSITIVES_AND_NEGATIVES


@dataclass(frozen=True)
class SupervisedContrastiveLoss(Loss):
    """Supervised contrastive loss (SupCon) over the texts of the batch.

    Cross-entropy of the other texts of the same class against all other texts. A text without another
    one of its class in the batch only serves as a negative. sentence-transformers has no such loss.

    Parameters
    ----------
    temperature : float, default=0.1
        Temperature: divides the cosine similarities.

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

    formats = (DataFormat.LABELS,)
    groups_classes = True
    needs = POSITIVES_AND_NEGATIVES

    def __post_init__(self) -> None:
        check_positive(temperature=self.temperature)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        x = batch.row_embeddings
        positive, _ = same_class(require(batch.target, "y"))
        diagonal = torch.eye(len(x), dtype=torch.bool, device=x.device)
        logits = (cosine_matrix(x, x) / self.temperature).masked_fill(diagonal, -1e12)
        log_probabilities = logits - logits.logsumexp(dim=1, keepdim=True)
        n_positive = positive.sum(dim=1)
        anchors = n_positive > 0
        if not anchors.any():
            return x.sum() * 0
        losses = -(log_probabilities * positive).sum(dim=1)[anchors] / n_positive[anchors]
        return weighted_mean(losses, None if batch.weight is None else batch.weight[anchors])
