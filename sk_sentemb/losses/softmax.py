"""Cross-entropy of a linear classifier that is trained along with the encoder."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Batch, DataFormat, Loss, require, weighted_mean


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

    formats = (DataFormat.LABELS, DataFormat.PAIR_LABELS)

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> nn.Module:
        """Return a linear layer with an output for each class."""
        n_parts = 3 if n_columns == 2 else n_columns
        return nn.Linear(n_parts * dim, n_outputs)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        head = require(batch.head, "head")
        features = batch.row_embeddings
        if len(batch.outputs) == 2:
            u, v = batch.outputs
            features = torch.cat([u, v, (u - v).abs()], dim=1)
        target = require(batch.target, "y")
        losses = F.cross_entropy(head(features), target, reduction="none")
        return weighted_mean(losses, batch.weight)
