"""A head over several parts of a row: the vectors of its texts, its table, its images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}

# Makes what follows the fusion, from the number of its inputs and outputs.
HeadFactory = Callable[[int, int], nn.Module]


@dataclass(frozen=True)
class HeadSpec:
    """What a head is made of."""

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

    def make(self, dim: int, n_outputs: int) -> "Head":
        """Make a head, with random weights, for vectors of so many dimensions."""
        sizes = [dim] * self.n_texts + list(self.feature_sizes)
        fusion: Any = FUSIONS[self.fusion](sizes, dim)
        if self.factory is not None:
            follower = _made(self.factory, fusion.out_dim, n_outputs)
            return Head(fusion, follower, self.feature_sizes, n_outputs)
        widths = [fusion.out_dim, *self.hidden_layer_sizes]
        layers: list[nn.Module] = [nn.Dropout(self.dropout)]
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), ACTIVATIONS[self.activation]()]
            layers.append(nn.Dropout(self.dropout))
        layers.append(nn.Linear(widths[-1], n_outputs))
        return Head(fusion, nn.Sequential(*layers), self.feature_sizes, n_outputs)


def _made(factory: HeadFactory, n_inputs: int, n_outputs: int) -> nn.Module:
    """Let a user's function make a module."""
    if isinstance(factory, nn.Module):
        raise TypeError(
            f"head is the module {factory}. Pass what makes one from the numbers of inputs and outputs, "
            "such as torch.nn.Linear or a function."
        )
    follower = factory(n_inputs, n_outputs)
    if not isinstance(follower, nn.Module):
        raise TypeError(
            f"head({n_inputs}, {n_outputs}) returned {follower!r}; it must make a torch.nn.Module."
        )
    return follower


class Head(nn.Module):
    """The fusion of the parts, and what follows it."""

    def __init__(
        self,
        fusion: nn.Module,
        follower: nn.Module,
        feature_sizes: Sequence[int],
        n_outputs: int,
    ) -> None:
        super().__init__()
        self.fusion, self.follower = fusion, follower
        self.feature_sizes, self.n_outputs = list(feature_sizes), n_outputs

    def fuse(self, columns: Sequence[Tensor], features: Tensor) -> Tensor:
        """Return one vector, (n_rows, fused_dim), of the parts of each row."""
        others = features.split(self.feature_sizes, dim=1) if self.feature_sizes else ()
        return self.fusion([*columns, *others])

    def forward(self, columns: Sequence[Tensor], features: Tensor) -> Tensor:
        """Return the outputs, (n_rows, n_outputs)."""
        outputs = self.follower(self.fuse(columns, features))
        expected = (len(columns[0]), self.n_outputs)
        if tuple(outputs.shape) != expected:
            raise ValueError(
                f"the head returns numbers of shape {tuple(outputs.shape)}, and {expected} are needed: "
                f"{self.n_outputs} for each row."
            )
        return outputs


class Concatenation(nn.Module):
    """The parts side by side."""

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        del dim
        self.out_dim = sum(sizes)

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Return (n_rows, out_dim)."""
        return torch.cat(list(parts), dim=1)


class Gate(nn.Module):
    """A weighted sum of the parts, whose weights depend on all of them.

    J. Arevalo et al., "Gated Multimodal Units for Information Fusion", 2017,
    https://arxiv.org/abs/1702.01992, for any number of parts.
    """

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        self.out_dim = dim
        self.projections = nn.ModuleList(nn.Linear(size, dim) for size in sizes)
        self.gates = nn.Linear(sum(sizes), len(sizes) * dim)

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Return (n_rows, out_dim)."""
        projected = [p(x).tanh() for p, x in zip(self.projections, parts, strict=True)]
        gates = self.gates(torch.cat(list(parts), dim=1)).unflatten(1, (len(parts), -1))
        return (gates.softmax(dim=1) * torch.stack(projected, dim=1)).sum(dim=1)


class Attention(nn.Module):
    """What a learned query finds in the parts, each of which is a token of its own."""

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        self.out_dim = dim
        self.projections = nn.ModuleList(nn.Linear(size, dim) for size in sizes)
        self.query = nn.Parameter(torch.randn(1, 1, dim) * dim**-0.5)
        n_heads = next(n for n in (8, 4, 2, 1) if dim % n == 0)
        self.attention = nn.MultiheadAttention(dim, n_heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Return (n_rows, out_dim)."""
        tokens = torch.stack([p(x) for p, x in zip(self.projections, parts, strict=True)], dim=1)
        query = self.query.expand(len(tokens), -1, -1)
        found, _ = self.attention(query, tokens, tokens, need_weights=False)
        return self.norm(found[:, 0] + tokens.mean(dim=1))


FUSIONS: dict[str, type[nn.Module]] = {
    "concat": Concatenation,
    "gated": Gate,
    "attention": Attention,
}
