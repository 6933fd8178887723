"""Fusion of the parts of a row, such as the embeddings of its texts, into one vector."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Concatenation(nn.Module):
    """Concatenate the parts."""

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        del dim
        self.out_dim = sum(sizes)

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Fuse the parts into (n_rows, out_dim)."""
        return torch.cat(list(parts), dim=1)


class Gate(nn.Module):
    """Gated multimodal unit: a weighted sum of the parts, with weights that depend on all parts."""

    # J. Arevalo et al., "Gated Multimodal Units for Information Fusion", 2017,
    # https://arxiv.org/abs/1702.01992, for any number of parts.

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        self.out_dim = dim
        self.projections = nn.ModuleList(nn.Linear(size, dim) for size in sizes)
        self.gates = nn.Linear(sum(sizes), len(sizes) * dim)

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Fuse the parts into (n_rows, out_dim)."""
        projected = [p(x).tanh() for p, x in zip(self.projections, parts, strict=True)]
        gates = self.gates(torch.cat(list(parts), dim=1)).unflatten(1, (len(parts), -1))
        return (gates.softmax(dim=1) * torch.stack(projected, dim=1)).sum(dim=1)


class Attention(nn.Module):
    """Attention pooling of the parts with a learned query."""

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        self.out_dim = dim
        self.projections = nn.ModuleList(nn.Linear(size, dim) for size in sizes)
        self.query = nn.Parameter(torch.randn(1, 1, dim) * dim**-0.5)
        n_heads = next(n for n in (8, 4, 2, 1) if dim % n == 0)
        self.attention = nn.MultiheadAttention(dim, n_heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Fuse the parts into (n_rows, out_dim)."""
        tokens = torch.stack([p(x) for p, x in zip(self.projections, parts, strict=True)], dim=1)
        query = self.query.expand(len(tokens), -1, -1)
        attended, _ = self.attention(query, tokens, tokens, need_weights=False)
        return self.norm(attended[:, 0] + tokens.mean(dim=1))


FUSIONS: dict[str, type[nn.Module]] = {
    "concat": Concatenation,
    "gated": Gate,
    "attention": Attention,
}
