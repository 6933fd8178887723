"""Triplet losses with triplets that are selected within a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Batch, DataFormat, Loss, require, weighted_mean
from .distances import check_distance, check_positive, pairwise_distances, same_class
from .needs import POSITIVES_AND_NEGATIVES


@dataclass(frozen=True)
class _BatchTripletLoss(Loss):
    """Base class of losses that select triplets within a batch."""

    margin: float = 5.0
    distance: str = "euclidean"

    formats = (DataFormat.LABELS,)
    groups_classes = True
    needs = POSITIVES_AND_NEGATIVES

    def __post_init__(self) -> None:
        check_positive(margin=self.margin)
        check_distance(self.distance, ("euclidean", "cosine"))


@dataclass(frozen=True)
class BatchHardTripletLoss(_BatchTripletLoss):
    """Triplet loss with the hardest positive and negative in the batch.

    For each text, these are the farthest text of the same class and the nearest text of another class.
    A text without another one of its class in the batch is its own positive.

    Parameters
    ----------
    margin : float, default=5.0
        Margin by which the negative should be farther than the positive.
    distance : {"euclidean", "cosine"}, default="euclidean"
        Distance between two embeddings.

    References
    ----------
    .. [1] A. Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017,
       https://arxiv.org/abs/1703.07737; BatchHardTripletLoss of sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import BatchHardTripletLoss
    >>> BatchHardTripletLoss(margin=0.5, distance="cosine")
    BatchHardTripletLoss(margin=0.5, distance='cosine')
    """

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        distances = pairwise_distances(self.distance, batch.row_embeddings)
        positive, negative = same_class(require(batch.target, "y"))
        farthest = (distances * positive).amax(dim=1)
        # Without another class in the batch, the negative is at the largest distance of all.
        beyond = distances.amax(dim=1, keepdim=True)
        nearest = torch.where(negative, distances, distances + beyond).amin(dim=1)
        return weighted_mean((farthest - nearest + self.margin).relu(), batch.weight)


@dataclass(frozen=True)
class BatchSemiHardTripletLoss(_BatchTripletLoss):
    """Triplet loss with semi-hard negatives from the batch.

    For each pair of texts of one class, the negative is the nearest text of another class that is
    farther away than the positive. If there is none, it is the farthest text of another class.

    Parameters
    ----------
    margin : float, default=5.0
        Margin by which the negative should be farther than the positive.
    distance : {"euclidean", "cosine"}, default="euclidean"
        Distance between two embeddings.

    References
    ----------
    .. [1] F. Schroff et al., "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR
       2015, https://arxiv.org/abs/1503.03832; BatchSemiHardTripletLoss of sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import BatchSemiHardTripletLoss
    >>> BatchSemiHardTripletLoss(margin=0.5, distance="cosine")
    BatchSemiHardTripletLoss(margin=0.5, distance='cosine')
    """

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        x = batch.row_embeddings
        distances = pairwise_distances(self.distance, x)
        positive, negative = same_class(require(batch.target, "y"))
        anchors, positives = positive.nonzero(as_tuple=True)
        usable = negative.any(dim=1)[anchors]
        anchors, positives = anchors[usable], positives[usable]
        if not len(anchors):
            return x.sum() * 0
        to_positive, to_all = distances[anchors, positives], distances[anchors]
        others = negative[anchors]
        outside = others & (to_all > to_positive[:, None])
        nearest_outside = to_all.masked_fill(~outside, torch.inf).amin(dim=1)
        farthest = to_all.masked_fill(~others, -torch.inf).amax(dim=1)
        to_negative = torch.where(outside.any(dim=1), nearest_outside, farthest)
        weight = None if batch.weight is None else batch.weight[anchors] * batch.weight[positives]
        return weighted_mean((to_positive - to_negative + self.margin).relu(), weight)
