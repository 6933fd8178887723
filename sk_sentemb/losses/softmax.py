"""Cross-entropy of a linear classifier that is trained along with the encoder."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import CLASSES, LABELS, Batch, Loss, weighted_mean


@dataclass(frozen=True)
class SoftmaxLoss(Loss):
    """Cross-entropy of a linear classifier on the embeddings, which is discarded after training.

    The features of the classifier depend on the number of text columns:

    - two columns u and v, such as premise and hypothesis: u, v and ``|u - v|``, as in [1]_;
    - any other number: the concatenated embeddings of the columns.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019, https://arxiv.org/abs/1908.10084; SoftmaxLoss of
       sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import SoftmaxLoss
    >>> SoftmaxLoss()
    SoftmaxLoss()
    """

    data = (LABELS, CLASSES)

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> nn.Module:
        """Return a linear layer with an output for each class."""
        n_parts = 3 if n_columns == 2 else n_columns
        return nn.Linear(n_parts * dim, n_outputs)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.head is not None
        assert batch.target is not None
        features = batch.joined
        if len(batch.columns) == 2:
            u, v = batch.columns
            features = torch.cat([u, v, (u - v).abs()], dim=1)
        losses = F.cross_entropy(batch.head(features), batch.target, reduction="none")
        return weighted_mean(losses, batch.weight)
