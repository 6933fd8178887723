"""SetFit's pairs of texts, all those of a batch at once."""

from dataclasses import dataclass

from torch import Tensor

from .base import LABELS, Batch, Loss, weighted_mean
from .distances import cosine, same_class
from .needs import POSITIVES_AND_NEGATIVES


@dataclass(frozen=True)
class CosinePairsLoss(Loss):
    """The cosine of two texts shall be 1 in one class and 0 in two.

    All pairs of the batch are compared; those of one class and those of two count half each, which
    SetFit gets by drawing as many of either.

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

    data = (LABELS,)
    groups_classes = True
    needs = POSITIVES_AND_NEGATIVES

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        x = batch.joined
        cosines = cosine(x, x)
        weights = None if batch.weight is None else batch.weight[:, None] * batch.weight[None]
        parts = []
        for pairs, wanted in zip(same_class(batch.target), (1.0, 0.0), strict=True):
            if pairs.any():
                weight = None if weights is None else weights[pairs]
                parts.append(weighted_mean((cosines[pairs] - wanted).square(), weight))
        return sum(parts) / len(parts) if parts else x.sum() * 0  # type: ignore[return-value]
