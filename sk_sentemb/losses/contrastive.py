"""Contrastive losses for pairs of texts that belong together or not."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Batch, DataFormat, Loss, require, weighted_mean
from .distances import check_distance, check_positive, paired_distance
from .needs import ANOTHER_ROW


@dataclass(frozen=True)
class ContrastiveLoss(Loss):
    """Contrastive loss: squared distance of similar pairs, squared hinge of dissimilar pairs.

    Similar pairs (1 in ``y``) are pulled together. Dissimilar pairs (0) are pushed apart until their
    distance exceeds the margin.

    Parameters
    ----------
    margin : float, default=0.5
        Distance beyond which dissimilar pairs contribute no loss.
    distance : {"cosine", "euclidean", "manhattan"}, default="cosine"
        Distance between two embeddings.

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

    formats = (DataFormat.BINARY,)

    def __post_init__(self) -> None:
        check_positive(margin=self.margin)
        check_distance(self.distance)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        similar = require(batch.target, "y") > 0.5
        distances = paired_distance(self.distance, *batch.outputs)
        return weighted_mean(self._errors(distances, similar) / 2, batch.weight)

    def _errors(self, distances: Tensor, similar: Tensor) -> Tensor:
        return torch.where(similar, distances, (self.margin - distances).relu()).square()


@dataclass(frozen=True)
class OnlineContrastiveLoss(ContrastiveLoss):
    """Contrastive loss over the hard pairs of the batch (online mining), summed.

    Hard pairs are similar pairs that are farther apart than the nearest dissimilar pair, and
    dissimilar pairs that are nearer than the farthest similar pair.

    Parameters
    ----------
    margin : float, default=0.5
        Distance beyond which dissimilar pairs contribute no loss.
    distance : {"cosine", "euclidean", "manhattan"}, default="cosine"
        Distance between two embeddings.

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
        similar = require(batch.target, "y") > 0.5
        distances = paired_distance(self.distance, *batch.outputs)
        near, far = distances[similar], distances[~similar]
        # If all pairs are similar, or all dissimilar, they are compared with their mean distance.
        limit_near = far.min() if len(far) > 1 else near.mean()
        limit_far = near.max() if len(near) > 1 else far.mean()
        hard = torch.where(similar, distances > limit_near, distances < limit_far)
        weight = (
            1.0 if batch.weight is None else batch.weight / batch.weight.mean().clamp_min(1e-12)
        )
        return (self._errors(distances, similar) * hard * weight).sum()
