"""Losses for pairs of texts that belong together or not."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import BINARY, Batch, Loss, weighted_mean
from .distances import check_distance, check_positive, row_distance
from .needs import ANOTHER_ROW


@dataclass(frozen=True)
class ContrastiveLoss(Loss):
    """Pairs that belong together shall be near, others at least a margin apart.

    Parameters
    ----------
    margin : float, default=0.5
        Beyond which nothing is wrong.
    distance : {"cosine", "euclidean", "manhattan"}, default="cosine"
        Of the two vectors.

    References
    ----------
    .. [1] R. Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006;
       ContrastiveLoss of sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import ContrastiveLoss
    >>> ContrastiveLoss(margin=0.3)
    ContrastiveLoss(margin=0.3, distance='cosine')
    """

    margin: float = 0.5
    distance: str = "cosine"

    data = (BINARY,)

    def __post_init__(self) -> None:
        check_positive(margin=self.margin)
        check_distance(self.distance)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        distances = row_distance(self.distance, *batch.columns)
        return weighted_mean(self._errors(distances, batch.target > 0.5) / 2, batch.weight)

    def _errors(self, distances: Tensor, together: Tensor) -> Tensor:
        apart = (self.margin - distances).relu()
        return torch.where(together, distances, apart).square()


@dataclass(frozen=True)
class OnlineContrastiveLoss(ContrastiveLoss):
    """As Contrastive, and the sum over the hard pairs of the batch only.

    Hard are pairs that belong together and are farther apart than the nearest that do not, and
    those that do not and are nearer than the farthest that do.

    Parameters
    ----------
    margin : float, default=0.5
        Beyond which nothing is wrong.
    distance : {"cosine", "euclidean", "manhattan"}, default="cosine"
        Of the two vectors.

    References
    ----------
    .. [1] OnlineContrastiveLoss of sentence-transformers, https://sbert.net.

    Examples
    --------
    >>> from sk_sentemb.losses import OnlineContrastiveLoss
    >>> OnlineContrastiveLoss(margin=0.3)
    OnlineContrastiveLoss(margin=0.3, distance='cosine')
    """

    needs = ANOTHER_ROW

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        distances, together = row_distance(self.distance, *batch.columns), batch.target > 0.5
        near, far = distances[together], distances[~together]
        # With one kind of pair alone, the mean of its distances is what it is compared with.
        limit_near = far.min() if len(far) > 1 else near.mean()
        limit_far = near.max() if len(near) > 1 else far.mean()
        hard = torch.where(together, distances > limit_near, distances < limit_far)
        weight = (
            1.0 if batch.weight is None else batch.weight / batch.weight.mean().clamp_min(1e-12)
        )
        return (self._errors(distances, together) * hard * weight).sum()
