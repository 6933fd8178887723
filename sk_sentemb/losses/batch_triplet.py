"""Triplets that are found within a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import LABELS, Batch, Loss, weighted_mean
from .distances import all_distances, check_distance, check_positive, same_class
from .needs import POSITIVES_AND_NEGATIVES


@dataclass(frozen=True)
class BatchHardTripletLoss(Loss):
    """The farthest text of its class and the nearest one of another, for each text.

    A class without a second text in the batch has the text itself as the farthest.

    Parameters
    ----------
    margin : float, default=5.0
        By how much the other class shall be farther.
    distance : {"euclidean", "cosine"}, default="euclidean"
        Of two vectors.

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

    margin: float = 5.0
    distance: str = "euclidean"

    data = (LABELS,)
    groups_classes = True
    needs = POSITIVES_AND_NEGATIVES

    def __post_init__(self) -> None:
        check_positive(margin=self.margin)
        check_distance(self.distance, ("euclidean", "cosine"))

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        x = batch.joined
        distances = all_distances(self.distance, x)
        positive, negative = same_class(batch.target)
        farthest = (distances * positive).amax(dim=1)
        # Where there is no other class, as far as anything is.
        beyond = distances.amax(dim=1, keepdim=True)
        nearest = torch.where(negative, distances, distances + beyond).amin(dim=1)
        return weighted_mean((farthest - nearest + self.margin).relu(), batch.weight)


@dataclass(frozen=True)
class BatchSemiHardTripletLoss(Loss):
    """For each two texts of a class, the nearest text of another that is farther than they are.

    Where there is none, the farthest of another class.

    Parameters
    ----------
    margin : float, default=5.0
        By how much the other class shall be farther.
    distance : {"euclidean", "cosine"}, default="euclidean"
        Of two vectors.

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

    margin: float = 5.0
    distance: str = "euclidean"

    data = (LABELS,)
    groups_classes = True
    needs = POSITIVES_AND_NEGATIVES

    def __post_init__(self) -> None:
        check_positive(margin=self.margin)
        check_distance(self.distance, ("euclidean", "cosine"))

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        x = batch.joined
        distances = all_distances(self.distance, x)
        positive, negative = same_class(batch.target)
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
