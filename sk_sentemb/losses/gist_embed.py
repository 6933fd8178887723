"""Multiple negatives ranking loss without the false negatives that a guide model finds."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, DataFormat, Loss, require, weighted_mean
from .distances import check_positive, cosine_matrix
from .needs import IN_BATCH_NEGATIVES


@dataclass(frozen=True)
class GISTEmbedLoss(Loss):
    """Multiple negatives ranking loss that masks false negatives with a guide model.

    The guide is the model before training. A text that the guide finds more similar to an anchor than
    the anchor's own positive is not used as a negative.

    Parameters
    ----------
    scale : float, default=100.0
        Scale (inverse temperature) of the cosine similarities.

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

    formats = (DataFormat.PAIRS, DataFormat.TRIPLETS)
    guided = True
    needs = IN_BATCH_NEGATIVES

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        guide = require(batch.guide, "embeddings of a guide")
        sides = [(0, 1), (0, 0), (1, 1), *((0, k) for k in range(2, len(batch.outputs)))]
        own = guide[0].mul(guide[1]).sum(dim=1, keepdim=True)
        diagonal = torch.eye(len(own), dtype=torch.bool, device=own.device)
        scores = []
        for a, b in sides:
            cosines = cosine_matrix(batch.outputs[a], batch.outputs[b])
            masked = cosine_matrix(guide[a], guide[b]) > own
            if (a, b) == (0, 1):
                masked = masked & ~diagonal  # an anchor's own positive is always a candidate
            elif a == b:
                masked = masked | diagonal  # a text is never its own candidate
            scores.append(cosines.masked_fill(masked, -1e12))
        logits = torch.cat(scores, dim=1) * self.scale
        target = torch.arange(len(own), device=own.device)
        return weighted_mean(F.cross_entropy(logits, target, reduction="none"), batch.weight)
