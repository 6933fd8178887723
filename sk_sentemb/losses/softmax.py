"""A linear classifier on top of the vectors, trained along and then left behind."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import CLASSES, LABELS, Batch, Loss, weighted_mean


@dataclass(frozen=True)
class Softmax(Loss):
    """Cross-entropy of a linear classifier of texts, or of rows with several texts.

    Examples
    --------
    >>> from sk_sentemb._training import Softmax
    >>> Softmax()
    Softmax()
    """

    data: ClassVar[tuple[str, ...]] = (LABELS, CLASSES)

    def for_data(self, shape: str) -> "Softmax":
        """Return the loss of pairs for pairs and their classes."""
        return PairSoftmaxLoss() if shape == CLASSES else self

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> nn.Module:
        """Return a linear layer with an output for each class."""
        return nn.Linear(n_columns * dim, n_outputs)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.head is not None
        assert batch.target is not None
        losses = F.cross_entropy(batch.head(self._features(batch)), batch.target, reduction="none")
        return weighted_mean(losses, batch.weight)

    def _features(self, batch: Batch) -> Tensor:
        return batch.joined


@dataclass(frozen=True)
class PairSoftmaxLoss(Softmax):
    """Cross-entropy of a linear classifier of pairs, from u, v and ``|u - v|``.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019, https://arxiv.org/abs/1908.10084; SoftmaxLoss of
       sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb._training import PairSoftmaxLoss
    >>> PairSoftmaxLoss()
    PairSoftmaxLoss()
    """

    data = (CLASSES,)

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 2) -> nn.Module:
        """Return a linear layer with an output for each class."""
        return nn.Linear((n_columns + 1) * dim, n_outputs)

    def _features(self, batch: Batch) -> Tensor:
        u, v = batch.columns
        return torch.cat([u, v, (u - v).abs()], dim=1)
