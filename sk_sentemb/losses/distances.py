"""Distances and rank losses between the rows of a batch."""

from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

DISTANCES = ("cosine", "euclidean", "manhattan")


def cosine_matrix(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine similarity of each row of `a` and each row of `b`."""
    return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T


def paired_distance(name: str, a: Tensor, b: Tensor) -> Tensor:
    """Return the distance of each row of `a` and the same row of `b`."""
    if name == "cosine":
        return 1 - torch.cosine_similarity(a, b)
    return torch.linalg.vector_norm(a - b + 1e-6, ord=2 if name == "euclidean" else 1, dim=1)


def pairwise_distances(name: str, x: Tensor) -> Tensor:
    """Return the cosine or Euclidean distance of each two rows."""
    if name == "cosine":
        return 1 - cosine_matrix(x, x)
    squares = (x[:, None] - x[None]).square().sum(dim=2)
    # The gradient of the root is infinite at zero, the distance of each row from itself.
    is_zero = squares == 0
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, squares).sqrt())


def same_class(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return masks of the pairs of rows of the same class, without the diagonal, and of all others."""
    same = target[:, None] == target[None]
    return same & ~torch.eye(len(target), dtype=torch.bool, device=target.device), ~same


def pairwise_rank_loss(
    scores: Tensor, target: Tensor, scale: float, weight: Tensor | None
) -> Tensor:
    """Return log(1 + sum(exp(scale * (s_low - s_high)))) over pairs of rows with t_low < t_high."""
    scores = scores * scale
    differences = scores[None] - scores[:, None]
    comparable = target[None] < target[:, None]
    if weight is not None:
        # The weight of a pair is the product of those of its rows, relative to the mean.
        relative = weight / weight.mean().clamp_min(1e-12)
        differences = differences + (relative[None] * relative[:, None]).log()
    # Not -inf, whose gradient is NaN where nothing is comparable.
    differences = differences.clamp_min(-1e12).masked_fill(~comparable, -1e12)
    return torch.logsumexp(F.pad(differences.flatten(), (1, 0)), dim=0)


def check_positive(**parameters: float) -> None:
    """Raise unless all parameters of a loss are positive."""
    for name, value in parameters.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not value > 0:
            raise ValueError(f"{name}={value!r}: pass a number above 0.")


def check_distance(distance: str, known: tuple[str, ...] = DISTANCES) -> None:
    """Raise unless the distance is one of those that a loss supports."""
    if distance not in known:
        raise ValueError(f"distance={distance!r}: pass one of {list(known)}.")
