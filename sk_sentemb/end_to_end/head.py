"""The head over the parts of a row: how it is built, its loss, and how it is pickled."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn

from .._random import torch_seed
from ..losses import Batch, DataFormat, Loss, require, weighted_mean
from .fusion import FUSIONS
from .linear_head import solve_linear_head

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}

# Builds the module after the fusion from the number of its inputs and outputs.
HeadFactory = Callable[[int, int], nn.Module]


@dataclass(frozen=True)
class HeadSpec:
    """The parameters that a head is built from."""

    n_texts: int
    feature_sizes: tuple[int, ...]
    fusion: str
    hidden_layer_sizes: tuple[int, ...]
    activation: str
    dropout: float
    factory: HeadFactory | None = None

    @property
    def is_linear(self) -> bool:
        """Whether the outputs are linear in the parts."""
        return self.fusion == "concat" and not self.hidden_layer_sizes and self.factory is None

    def build(self, dim: int, n_outputs: int) -> "Head":
        """Build a head with random weights for embeddings of a dimension."""
        sizes = [dim] * self.n_texts + list(self.feature_sizes)
        fusion: Any = FUSIONS[self.fusion](sizes, dim)
        if self.factory is not None:
            layers = _call_factory(self.factory, fusion.out_dim, n_outputs)
        else:
            layers = self._build_layers(fusion.out_dim, n_outputs)
        return Head(fusion, layers, self.feature_sizes, n_outputs)

    def _build_layers(self, n_inputs: int, n_outputs: int) -> nn.Sequential:
        widths = [n_inputs, *self.hidden_layer_sizes]
        layers: list[nn.Module] = [nn.Dropout(self.dropout)]
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), ACTIVATIONS[self.activation]()]
            layers.append(nn.Dropout(self.dropout))
        layers.append(nn.Linear(widths[-1], n_outputs))
        return nn.Sequential(*layers)


def _call_factory(factory: HeadFactory, n_inputs: int, n_outputs: int) -> nn.Module:
    """Build the layers with a function of the user."""
    if isinstance(factory, nn.Module):
        raise TypeError(
            f"head is the module {factory}. Pass a callable that builds one from the numbers of inputs "
            "and outputs, such as torch.nn.Linear."
        )
    layers = factory(n_inputs, n_outputs)
    if not isinstance(layers, nn.Module):
        raise TypeError(
            f"head({n_inputs}, {n_outputs}) returned {layers!r}. It must return a torch.nn.Module."
        )
    return layers


class Head(nn.Module):
    """The fusion of the parts of a row, and the layers after it."""

    def __init__(
        self, fusion: nn.Module, layers: nn.Module, feature_sizes: Sequence[int], n_outputs: int
    ) -> None:
        super().__init__()
        self.fusion, self.layers = fusion, layers
        self.feature_sizes, self.n_outputs = list(feature_sizes), n_outputs

    def fuse(self, embeddings: Sequence[Tensor], features: Tensor) -> Tensor:
        """Fuse the parts into one vector for each row, (n_rows, fused_dim)."""
        others = features.split(self.feature_sizes, dim=1) if self.feature_sizes else ()
        return self.fusion([*embeddings, *others])

    def forward(self, embeddings: Sequence[Tensor], features: Tensor) -> Tensor:
        """Compute the outputs, (n_rows, n_outputs)."""
        outputs = self.layers(self.fuse(embeddings, features))
        expected = (len(embeddings[0]), self.n_outputs)
        if tuple(outputs.shape) != expected:
            raise ValueError(
                f"The head returned an output of shape {tuple(outputs.shape)}, expected {expected}: "
                f"{self.n_outputs} numbers for each row."
            )
        return outputs


def _cross_entropy(outputs: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(outputs, target, reduction="none")


def _binary_cross_entropy(outputs: Tensor, target: Tensor) -> Tensor:
    losses = F.binary_cross_entropy_with_logits(outputs, target, reduction="none")
    return losses.mean(dim=1)


def _squared_error(outputs: Tensor, target: Tensor) -> Tensor:
    return (outputs - target.view(outputs.shape)).square().mean(dim=1)


# Name -> function of outputs and targets that returns the error of each row.
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
    initial_head: nn.Module | None = field(default=None, compare=False, repr=False)

    formats = (DataFormat.ROW_LABELS, DataFormat.ROW_VALUES)

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> nn.Module:
        """Build the head to train, or copy that of the last fit."""
        del n_columns  # the specification of the head has it
        if self.initial_head is not None:
            return deepcopy(self.initial_head).requires_grad_(True).train()
        return self.spec.build(dim, n_outputs)

    @property
    def solves_head(self) -> bool:
        """Whether the head is linear, so that its best weights can be solved for."""
        return self.spec.is_linear

    def solve_head(self, batch: Batch) -> None:
        """Solve for the weights of a linear head."""
        head, layer = batch.head, batch.head.layers[-1]  # type: ignore[union-attr, index]
        assert isinstance(head, Head)
        assert isinstance(layer, nn.Linear)
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

    def __call__(self, batch: Batch) -> Tensor:
        """Compute the loss of a batch."""
        head = require(batch.head, "head")
        outputs = head(batch.outputs, require(batch.features, "features"))
        errors = ERRORS[self.error](outputs, require(batch.target, "y"))
        return weighted_mean(errors, batch.weight)


def head_to_state(head: Head) -> dict[str, Any]:
    """Return plain data for pickles and skops files, from which `head_from_state` builds the head."""
    state = head.state_dict()
    # Copies, because safetensors takes no two tensors in one piece of memory.
    tensors = {name: t.detach().cpu().clone() for name, t in state.items() if hasattr(t, "detach")}
    if others := sorted(state.keys() - tensors.keys()):
        raise TypeError(
            f"The head's state {others[0]!r} is of type {type(state[others[0]]).__name__}, but only "
            "tensors can be saved. Return a tensor from the module's get_extra_state."
        )
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return {"n_outputs": head.n_outputs, "tensors": save(contiguous)}


def head_from_state(state: dict[str, Any], spec: HeadSpec, dim: int) -> Head:
    """Build a head from plain data, on the CPU."""
    with torch_seed(0):  # the random initial weights leave torch's generators as they are
        head = spec.build(dim, state["n_outputs"])
    try:
        head.load_state_dict(load(state["tensors"]))
    except RuntimeError as error:
        raise ValueError(
            f"head={spec.factory!r} builds a module that differs from the trained one: {error}"
        ) from error
    return head.eval().requires_grad_(False)
