"""SetFit's loss, over all pairs of texts in a batch."""

from dataclasses import dataclass

from torch import Tensor

from .base import Batch, DataFormat, Loss, require, weighted_mean
from .distances import cosine_matrix, same_class
from .needs import POSITIVES_AND_NEGATIVES


@dataclass(frozen=True)
class CosinePairsLoss(Loss):
    """Squared error of the cosine similarity against 1 (same class) or 0 (different classes).

    All pairs of texts in the batch are compared. Pairs of the same class and pairs of different
    classes have the same total weight, as in SetFit [1]_, which samples equal numbers of both.
    sentence-transformers has no such loss: there, CosineSimilarityLoss is given explicit pairs.

    References
    ----------
    .. [1] L. Tunstall et al., "Efficient Few-Shot Learning Without Prompts", 2022,
       https://arxiv.org/abs/2209.11055

    Examples
    --------
    >>> from sk_sentemb.losses import CosinePairsLoss
    >>> CosinePairsLoss()
    CosinePairsLoss()
    """

    formats = (DataFormat.LABELS,)
    groups_classes = True
    needs = POSITIVES_AND_NEGATIVES

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        x = batch.row_embeddings
        cosines = cosine_matrix(x, x)
        weights = None if batch.weight is None else batch.weight[:, None] * batch.weight[None]
        parts = []
        for pairs, wanted in zip(same_class(require(batch.target, "y")), (1.0, 0.0), strict=True):
            if pairs.any():
                weight = None if weights is None else weights[pairs]
                parts.append(weighted_mean((cosines[pairs] - wanted).square(), weight))
        return sum(parts) / len(parts) if parts else x.sum() * 0  # type: ignore[return-value]
