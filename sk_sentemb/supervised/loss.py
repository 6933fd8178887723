"""The loss of a head that is trained together with the encoder."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from ..tuning.losses import ROWS_OF_CLASSES, ROWS_OF_VALUES, Batch, Loss
from ..tuning.losses.base import weighted_mean
from .fusion import HeadSpec


def _cross_entropy(outputs: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(outputs, target, reduction="none")


def _binary_cross_entropy(outputs: Tensor, target: Tensor) -> Tensor:
    losses = F.binary_cross_entropy_with_logits(outputs, target, reduction="none")
    return losses.mean(dim=1)


def _squared_error(outputs: Tensor, target: Tensor) -> Tensor:
    return (outputs - target.view(outputs.shape)).square().mean(dim=1)


# name -> from outputs and targets to a number for each row
ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "squared_error": _squared_error,
}


@dataclass(frozen=True)
class HeadLoss(Loss):
    """The error of a head's outputs.

    Parameters
    ----------
    spec : HeadSpec
        Of the head.
    error : str
        A name among `ERRORS`.
    begun : nn.Module or None
        The head to go on with; None for a new one.
    """

    spec: HeadSpec
    error: str
    begun: nn.Module | None = field(default=None, compare=False, repr=False)

    data = (ROWS_OF_CLASSES, ROWS_OF_VALUES)

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> nn.Module:
        """Return the head to train."""
        del n_columns  # as the head's own specification says
        if self.begun is not None:
            return deepcopy(self.begun).requires_grad_(True).train()
        return self.spec.make(dim, n_outputs)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert batch.head is not None
        assert batch.target is not None
        assert batch.features is not None
        outputs = batch.head(batch.columns, batch.features)
        return weighted_mean(ERRORS[self.error](outputs, batch.target), batch.weight)
