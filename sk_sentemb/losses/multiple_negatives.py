"""Ranking losses with the other texts of the batch as negatives."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, DataFormat, Loss, weighted_mean
from .distances import check_positive, cosine_matrix
from .needs import ANOTHER_ROW, IN_BATCH_NEGATIVES


def _ranking_loss(outputs: Sequence[Tensor], scale: float, weight: Tensor | None) -> Tensor:
    """Return the cross-entropy of each anchor's positive against all candidates."""
    anchors, *candidates = outputs
    scores = cosine_matrix(anchors, torch.cat(candidates)) * scale
    own = torch.arange(len(anchors), device=scores.device)
    return weighted_mean(F.cross_entropy(scores, own, reduction="none"), weight)


@dataclass(frozen=True)
class MultipleNegativesRankingLoss(Loss):
    """Cross-entropy of each anchor's positive against all other candidates in the batch.

    The candidates are the positives of all rows, and their negatives if the data are triplets
    (multiple negatives ranking loss, InfoNCE). Rows with zero weight still serve as in-batch negatives.

    Parameters
    ----------
    scale : float, default=20.0
        Scale (inverse temperature) of the cosine similarities.
    symmetric : bool, default=False
        Whether to average the loss with that of the reverse direction, from each positive to its
        anchor.

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

    formats = (DataFormat.PAIRS, DataFormat.TRIPLETS)
    needs = IN_BATCH_NEGATIVES

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        forward = _ranking_loss(batch.outputs, self.scale, batch.weight)
        if not self.symmetric:
            return forward
        anchors, positives = batch.outputs[:2]
        backward = _ranking_loss([positives, anchors], self.scale, batch.weight)
        return (forward + backward) / 2


@dataclass(frozen=True)
class SimCSELoss(Loss):
    """Unsupervised SimCSE: contrastive loss between two dropout views of each text.

    The other texts of the batch are the negatives. In sentence-transformers, this is
    MultipleNegativesRankingLoss on pairs of identical texts.

    Parameters
    ----------
    scale : float, default=20.0
        Scale (inverse temperature) of the cosine similarities.

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

    formats = (DataFormat.TEXTS,)
    needs = ANOTHER_ROW

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        return _ranking_loss(batch.outputs, self.scale, batch.weight)
