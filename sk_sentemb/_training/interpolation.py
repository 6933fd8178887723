"""Interpolate between the weights before training and those after it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .checkpointing import set_weights, weights_of
from .step import TrainingStep


@dataclass(frozen=True)
class Interpolation:
    """Weights on the line from those before training to those after it (WiSE-FT).

    M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022,
    https://arxiv.org/abs/2109.01903.
    """

    start: dict[str, torch.Tensor]
    ratio: float

    def apply(self, trainer: TrainingStep) -> None:
        """Interpolate the weights of a trainer."""
        if self.ratio == 1:
            return
        mixed = {
            name: self.start[name].lerp(weight, self.ratio)
            # Counters of normalization layers stay integers.
            if weight.is_floating_point()
            else weight
            for name, weight in weights_of(trainer).items()
        }
        set_weights(trainer, mixed)

    @contextmanager
    def applied(self, trainer: TrainingStep) -> Iterator[None]:
        """Interpolate the weights of a trainer within a context."""
        if self.ratio == 1:
            yield
            return
        latest = weights_of(trainer)
        self.apply(trainer)
        try:
            yield
        finally:
            set_weights(trainer, latest)
