"""The loss of a head that is trained together with the encoder."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses import Batch, DataFormat, Loss, require, weighted_mean
from .fusion import Head, HeadSpec
from .linear_head import solve_linear_head


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
    """The error of a head's outputs."""

    spec: HeadSpec
    error: str
    begun: nn.Module | None = field(default=None, compare=False, repr=False)

    formats = (DataFormat.ROW_LABELS, DataFormat.ROW_VALUES)

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> nn.Module:
        """Return the head to train."""
        del n_columns  # as the head's own specification says
        if self.begun is not None:
            return deepcopy(self.begun).requires_grad_(True).train()
        return self.spec.make(dim, n_outputs)

    @property
    def solves_head(self) -> bool:
        """Whether the head is linear, so that its best weights can be solved for."""
        return self.spec.is_linear

    def solve_head(self, batch: Batch) -> None:
        """Put the best weights into a linear head."""
        head, layer = self._linear(batch)
        target = require(batch.target, "y").cpu().numpy()
        fused = head.fuse(batch.outputs, require(batch.features, "features")).cpu().numpy()
        sizes = [column.shape[1] for column in batch.outputs] + head.feature_sizes
        solution = solve_linear_head(
            self.error,
            fused,
            sizes,
            target,
            None if batch.weight is None else batch.weight.cpu().numpy(),
            head.n_outputs,
        )
        for parameter, value in zip((layer.weight, layer.bias), solution, strict=True):
            parameter.copy_(torch.from_numpy(value))

    def _linear(self, batch: Batch) -> tuple[Head, nn.Linear]:
        assert isinstance(batch.head, Head)
        assert isinstance(batch.head.follower, nn.Sequential)
        layer = batch.head.follower[-1]
        assert isinstance(layer, nn.Linear)
        return batch.head, layer

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        head = require(batch.head, "head")
        outputs = head(batch.outputs, require(batch.features, "features"))
        errors = ERRORS[self.error](outputs, require(batch.target, "y"))
        return weighted_mean(errors, batch.weight)
