"""Interpolation between the weights before and after training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .step import TrainingStep


@dataclass(frozen=True)
class Interpolation:
    """Weights on the line from those before training to those after it (WiSE-FT)."""

    # M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022,
    # https://arxiv.org/abs/2109.01903.
    start: dict[str, torch.Tensor]
    ratio: float  # 1 for the weights after training

    def apply(self, step: TrainingStep) -> None:
        """Replace the trained weights by interpolated ones."""
        if self.ratio == 1:
            return
        interpolated = {
            name: self.start[name].lerp(weight, self.ratio)
            # Counters of normalization layers stay integers.
            if weight.is_floating_point()
            else weight
            for name, weight in step.copy_weights().items()
        }
        step.set_weights(interpolated)

    @contextmanager
    def applied(self, step: TrainingStep) -> Iterator[None]:
        """Interpolate the weights within a context."""
        if self.ratio == 1:
            yield
            return
        latest = step.copy_weights()
        self.apply(step)
        try:
            yield
        finally:
            step.set_weights(latest)
