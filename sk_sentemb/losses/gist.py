"""In-batch negatives without those that a guide takes for positives."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import PAIRS, TRIPLETS, Batch, Loss, weighted_mean
from .distances import check_positive, cosine
from .needs import IN_BATCH_NEGATIVES


@dataclass(frozen=True)
class GISTEmbedLoss(Loss):
    """Multiple negatives ranking loss that masks false negatives with a guide model.

    What the guide, the model before it is trained, finds nearer than an anchor's own positive is no
    negative.

    Parameters
    ----------
    scale : float, default=100.0
        Of the cosines.

    References
    ----------
    .. [1] A. Solatorio, "GISTEmbed: Guided In-sample Selection of Training Negatives for Text
       Embedding Fine-tuning", 2024, https://arxiv.org/abs/2402.16829; GISTEmbedLoss of
       sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import GISTEmbedLoss
    >>> GISTEmbedLoss()
    GISTEmbedLoss(scale=100.0)
    """

    scale: float = 100.0

    data = (PAIRS, TRIPLETS)
    guided = True
    needs = IN_BATCH_NEGATIVES

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.guide is not None
        sides = [(0, 1), (0, 0), (1, 1), *((0, k) for k in range(2, len(batch.columns)))]
        own = batch.guide[0].mul(batch.guide[1]).sum(dim=1, keepdim=True)
        diagonal = torch.eye(len(own), dtype=torch.bool, device=own.device)
        scores = []
        for a, b in sides:
            found = cosine(batch.columns[a], batch.columns[b])
            false = cosine(batch.guide[a], batch.guide[b]) > own
            # A text is no candidate for itself, and an anchor's own positive always is one.
            hidden = false & ~diagonal if (a, b) == (0, 1) else false
            hidden = hidden | diagonal if a == b else hidden
            scores.append(found.masked_fill(hidden, -1e12))
        logits = torch.cat(scores, dim=1) * self.scale
        target = torch.arange(len(own), device=own.device)
        return weighted_mean(F.cross_entropy(logits, target, reduction="none"), batch.weight)
