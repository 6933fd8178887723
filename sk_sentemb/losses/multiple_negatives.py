"""Pairs that belong together, among the others of the batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import PAIRS, TEXTS, TRIPLETS, Batch, Loss, weighted_mean
from .distances import check_positive, cosine
from .needs import ANOTHER_ROW, IN_BATCH_NEGATIVES


def ranking(columns: Sequence[Tensor], scale: float, weight: Tensor | None) -> Tensor:
    """Return the cross-entropy of finding each anchor's own positive among all candidates."""
    anchors, *candidates = columns
    scores = cosine(anchors, torch.cat(candidates)) * scale
    own = torch.arange(len(anchors), device=scores.device)
    return weighted_mean(F.cross_entropy(scores, own, reduction="none"), weight)


@dataclass(frozen=True)
class MultipleNegativesRankingLoss(Loss):
    """Each anchor shall find its positive among those of the batch, and the negatives if there are.

    A row of weight zero still has a text that others are compared with.

    Parameters
    ----------
    scale : float, default=20.0
        Of the cosines.
    symmetric : bool, default=False
        Whether each positive shall find its anchor, too; half of the loss each.

    References
    ----------
    .. [1] M. Henderson et al., "Efficient Natural Language Response Suggestion for Smart Reply", 2017,
       https://arxiv.org/abs/1705.00652; MultipleNegativesRankingLoss and
       MultipleNegativesSymmetricRankingLoss of sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import MultipleNegativesRankingLoss
    >>> MultipleNegativesRankingLoss(symmetric=True)
    MultipleNegativesRankingLoss(scale=20.0, symmetric=True)
    """

    scale: float = 20.0
    symmetric: bool = False

    data = (PAIRS, TRIPLETS)
    needs = IN_BATCH_NEGATIVES

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        forward = ranking(batch.columns, self.scale, batch.weight)
        if not self.symmetric:
            return forward
        back = ranking([batch.columns[1], batch.columns[0]], self.scale, batch.weight)
        return (forward + back) / 2


@dataclass(frozen=True)
class SimCSELoss(Loss):
    """Each text shall find itself in the batch, after dropout made it another one.

    Parameters
    ----------
    scale : float, default=20.0
        Of the cosines.

    References
    ----------
    .. [1] T. Gao et al., "SimCSE: Simple Contrastive Learning of Sentence Embeddings", EMNLP 2021,
       https://arxiv.org/abs/2104.08821

    Examples
    --------
    >>> from sk_sentemb.losses import SimCSELoss
    >>> SimCSELoss()
    SimCSELoss(scale=20.0)
    """

    scale: float = 20.0

    data = (TEXTS,)
    needs = ANOTHER_ROW

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        return ranking(batch.columns, self.scale, batch.weight)
