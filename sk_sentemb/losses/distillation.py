"""The vectors of a teacher."""

from dataclasses import dataclass

from torch import Tensor

from .base import VECTORS, Batch, Loss, weighted_mean


@dataclass(frozen=True)
class MSELoss(Loss):
    """Each text shall have the vector that a teacher gives it: mean squared error.

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

    data = (VECTORS,)

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> None:
        """Need none, but vectors of the model's dimension."""
        if dim != n_outputs:
            raise ValueError(
                f"y has vectors of {n_outputs} dimensions, and the model gives {dim}. Reduce the "
                "teacher's vectors with PCA, or take a model that gives as many."
            )

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.target is not None
        errors = (batch.columns[0] - batch.target).square().mean(dim=1)
        return weighted_mean(errors, batch.weight)
