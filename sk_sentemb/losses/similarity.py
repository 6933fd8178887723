"""Losses for pairs of texts with a similarity."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Batch, DataFormat, Loss, require, weighted_mean
from .distances import check_positive, pairwise_rank_loss
from .needs import TWO_TARGETS


@dataclass(frozen=True)
class CoSENTLoss(Loss):
    """CoSENT: ranking loss over the cosine similarities of the pairs in a batch.

    Pairs with a higher target should have a higher cosine similarity than pairs with a lower one.
    Only the order of the targets matters.

    Parameters
    ----------
    scale : float, default=20.0
        Scale (inverse temperature) of the cosine similarities.

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

    formats = (DataFormat.SCORES, DataFormat.BINARY)
    needs = TWO_TARGETS

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        scores = self._scores(*batch.outputs)
        return pairwise_rank_loss(scores, require(batch.target, "y"), self.scale, batch.weight)

    def _scores(self, u: Tensor, v: Tensor) -> Tensor:
        return torch.cosine_similarity(u, v)


@dataclass(frozen=True)
class AnglELoss(CoSENTLoss):
    """AnglE: CoSENT with angles in complex space instead of cosine similarities.

    The gradient of angles does not vanish where cosines saturate. Embeddings must have an even number
    of dimensions: the second half are the imaginary parts.

    Parameters
    ----------
    scale : float, default=20.0
        Scale (inverse temperature) of the angles.

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
        """Return None, or raise if the embeddings cannot be split in halves."""
        del n_outputs, n_columns
        if dim % 2:
            raise ValueError(
                f"loss={self} requires an even number of dimensions, got {dim}. Pass loss='cosent', or "
                "even dims to MatryoshkaLoss."
            )

    def _scores(self, u: Tensor, v: Tensor) -> Tensor:
        (a, b), (c, d) = u.chunk(2, dim=1), v.chunk(2, dim=1)
        # u / v as complex numbers, both normalized over the whole embedding.
        squares = (c.square() + d.square()).sum(dim=1, keepdim=True)
        real, imaginary = (a * c + b * d) / squares, (b * c - a * d) / squares
        lengths = ((a.square() + b.square()).sum(dim=1, keepdim=True) / squares).sqrt()
        return (torch.cat([real, imaginary], dim=1) / lengths).sum(dim=1).abs()


@dataclass(frozen=True)
class CosineSimilarityLoss(Loss):
    """Mean squared error between the cosine similarity of each pair and its target.

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

    formats = (DataFormat.SCORES, DataFormat.BINARY)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        u, v = batch.outputs
        errors = (torch.cosine_similarity(u, v) - require(batch.target, "y")).square()
        return weighted_mean(errors, batch.weight)
