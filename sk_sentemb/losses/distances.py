"""What losses share that compare rows with each other."""

import torch
import torch.nn.functional as F
from torch import Tensor

DISTANCES = ("cosine", "euclidean", "manhattan")


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of each row of one with each row of the other."""
    return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T


def row_distance(name: str, a: Tensor, b: Tensor) -> Tensor:
    """Return the distance of each row of one to the same row of the other."""
    if name == "cosine":
        return 1 - torch.cosine_similarity(a, b)
    return torch.linalg.vector_norm(a - b + 1e-6, ord=2 if name == "euclidean" else 1, dim=1)


def all_distances(name: str, x: Tensor) -> Tensor:
    """Return the distance of each row to each other row."""
    if name == "cosine":
        return 1 - cosine(x, x)
    squares = (x[:, None] - x[None]).square().sum(dim=2)
    # The root has no slope at zero, where every row is at itself.
    is_zero = squares == 0
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, squares).sqrt())


def same_class(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pairs of rows have one class, without rows with themselves, and which have two."""
    same = target[:, None] == target[None]
    return same & ~torch.eye(len(target), dtype=torch.bool, device=target.device), ~same


def rank_loss(scores: Tensor, target: Tensor, scale: float, weight: Tensor | None) -> Tensor:
    """Return log(1 + sum(exp(scale * (s_low - s_high)))) over pairs of rows in the wrong order or not.

    Rows with a lower target should have a lower score. The weight of a pair of rows is the product of
    their weights, relative to the mean.
    """
    scores = scores * scale
    differences = scores[None] - scores[:, None]
    comparable = target[None] < target[:, None]
    if weight is not None:
        relative = weight / weight.mean().clamp_min(1e-12)
        differences = differences + (relative[None] * relative[:, None]).log()
    # Not -inf, whose gradient is NaN where nothing is comparable.
    differences = differences.clamp_min(-1e12).masked_fill(~comparable, -1e12)
    return torch.logsumexp(F.pad(differences.flatten(), (1, 0)), dim=0)


def check_positive(**parameters: float) -> None:
    """Raise for a parameter of a loss that is not above zero."""
    for name, value in parameters.items():
        if not value > 0:
            raise ValueError(f"{name}={value!r}: pass a number above 0.")


def check_distance(distance: str, known: tuple[str, ...] = DISTANCES) -> None:
    """Raise for the name of a distance that is not known."""
    if distance not in known:
        raise ValueError(f"distance={distance!r}: pass one of {list(known)}.")
