"""Seeds that leave the global random generators as they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import torch

from .encoder import ForkSafeLock

# Dropout draws from torch's global generator, so that trainings in threads take turns, step by step.
_ONE_AT_A_TIME = ForkSafeLock()


def draw_seed(random_state: Any) -> int:
    """Return a seed for a `random_state`, without numpy's global generator."""
    if isinstance(random_state, Integral):
        return int(random_state)
    generator = np.random.RandomState() if random_state is None else random_state
    return int(generator.randint(2**31 - 1))


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed torch within a context, and restore its generators."""
    devices = range(torch.cuda.device_count())
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
