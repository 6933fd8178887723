"""Triplet loss for given triplets."""

from dataclasses import dataclass

from torch import Tensor

from .base import Batch, DataFormat, Loss, weighted_mean
from .distances import check_distance, check_positive, paired_distance


@dataclass(frozen=True)
class TripletLoss(Loss):
    """Triplet loss: the negative should be farther from the anchor than the positive, by a margin.

    Parameters
    ----------
    margin : float, default=5.0
        Margin by which the negative should be farther than the positive. The cosine distance is at
        most 2, so pass a smaller margin with it.
    distance : {"euclidean", "cosine", "manhattan"}, default="euclidean"
        Distance between two embeddings.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019, https://arxiv.org/abs/1908.10084; TripletLoss of
       sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import TripletLoss
    >>> TripletLoss(margin=0.5, distance="cosine")
    TripletLoss(margin=0.5, distance='cosine')
    """

    margin: float = 5.0
    distance: str = "euclidean"

    formats = (DataFormat.TRIPLETS,)

    def __post_init__(self) -> None:
        check_positive(margin=self.margin)
        check_distance(self.distance)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        anchor, positive, negative = batch.outputs
        near = paired_distance(self.distance, anchor, positive)
        far = paired_distance(self.distance, anchor, negative)
        return weighted_mean((near - far + self.margin).relu(), batch.weight)
