"""An anchor, what belongs to it, and what does not."""

from dataclasses import dataclass

from torch import Tensor

from .base import TRIPLETS, Batch, Loss, weighted_mean
from .distances import check_distance, check_positive, row_distance


@dataclass(frozen=True)
class TripletLoss(Loss):
    """The negative shall be farther from the anchor than the positive, by a margin.

    Parameters
    ----------
    margin : float, default=5.0
        By how much; with ``distance="cosine"``, which is 2 at most, take less.
    distance : {"euclidean", "cosine", "manhattan"}, default="euclidean"
        Of two vectors.

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

    data = (TRIPLETS,)

    def __post_init__(self) -> None:
        check_positive(margin=self.margin)
        check_distance(self.distance)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        anchor, positive, negative = batch.columns
        near = row_distance(self.distance, anchor, positive)
        far = row_distance(self.distance, anchor, negative)
        return weighted_mean((near - far + self.margin).relu(), batch.weight)
