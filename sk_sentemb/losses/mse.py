"""Mean squared error against the embeddings of a teacher."""

from dataclasses import dataclass

from torch import Tensor

from .base import Batch, DataFormat, Loss, require, weighted_mean


@dataclass(frozen=True)
class MSELoss(Loss):
    """Mean squared error between the embeddings and those of a teacher (knowledge distillation).

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Making Monolingual Sentence Embeddings Multilingual using
       Knowledge Distillation", EMNLP 2020, https://arxiv.org/abs/2004.09813; MSELoss of
       sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import MSELoss
    >>> MSELoss()
    MSELoss()
    """

    formats = (DataFormat.EMBEDDINGS,)

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> None:
        """Return None, or raise if the teacher's embeddings have another dimension."""
        del n_columns
        if dim != n_outputs:
            raise ValueError(
                f"y has embeddings of {n_outputs} dimensions, but the model outputs {dim}. Reduce the "
                f"teacher's embeddings with PCA, or use a model with {n_outputs} dimensions."
            )

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        errors = (batch.outputs[0] - require(batch.target, "y")).square().mean(dim=1)
        return weighted_mean(errors, batch.weight)
