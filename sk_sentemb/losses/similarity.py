"""Losses for pairs of texts and how similar they are."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import BINARY, SCORES, Batch, Loss, weighted_mean
from .distances import check_positive, rank_loss
from .needs import TWO_TARGETS


@dataclass(frozen=True)
class CoSENTLoss(Loss):
    """Pairs that are more similar shall have a higher cosine than those that are less.

    Only the order of the similarities matters.

    Parameters
    ----------
    scale : float, default=20.0
        Of the cosines.

    References
    ----------
    .. [1] J. Su, "CoSENT: a scheme of sentence vectors more effective than Sentence-BERT", 2022,
       https://kexue.fm/archives/8847; CoSENTLoss of sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import CoSENTLoss
    >>> CoSENTLoss(scale=10.0)
    CoSENTLoss(scale=10.0)
    """

    scale: float = 20.0

    data = (SCORES, BINARY)
    needs = TWO_TARGETS

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        return rank_loss(self._scores(*batch.columns), batch.target, self.scale, batch.weight)

    def _scores(self, u: Tensor, v: Tensor) -> Tensor:
        return torch.cosine_similarity(u, v)


@dataclass(frozen=True)
class AnglELoss(CoSENTLoss):
    """As CoSENTLoss, of angles in complex space, which do not saturate where cosines do.

    Parameters
    ----------
    scale : float, default=20.0
        The factor of the angles. The embeddings must have an even number of dimensions.

    References
    ----------
    .. [1] X. Li and J. Li, "AnglE-optimized Text Embeddings", ACL 2024,
       https://arxiv.org/abs/2309.12871; AnglELoss of sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import AnglELoss
    >>> AnglELoss(scale=10.0)
    AnglELoss(scale=10.0)
    """

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 2) -> None:
        """Need none, but embeddings that can be halved."""
        if dim % 2:
            raise ValueError(
                f"loss={self} takes half of the dimensions as imaginary parts, and there are {dim}, an "
                "odd number. Pass loss='cosent', or, to Matryoshka, even dims."
            )

    def _scores(self, u: Tensor, v: Tensor) -> Tensor:
        (a, b), (c, d) = u.chunk(2, dim=1), v.chunk(2, dim=1)
        # u / v as complex numbers, each divided by its length over the whole vector.
        squares = (c.square() + d.square()).sum(dim=1, keepdim=True)
        real, imaginary = (a * c + b * d) / squares, (b * c - a * d) / squares
        lengths = ((a.square() + b.square()).sum(dim=1, keepdim=True) / squares).sqrt()
        return (torch.cat([real, imaginary], dim=1) / lengths).sum(dim=1).abs()


@dataclass(frozen=True)
class CosineSimilarityLoss(Loss):
    """The cosine of a pair shall be its similarity: mean squared error.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019, https://arxiv.org/abs/1908.10084; CosineSimilarityLoss of
       sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import CosineSimilarityLoss
    >>> CosineSimilarityLoss()
    CosineSimilarityLoss()
    """

    data = (SCORES, BINARY)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        u, v = batch.columns
        errors = (torch.cosine_similarity(u, v) - batch.target).square()
        return weighted_mean(errors, batch.weight)
