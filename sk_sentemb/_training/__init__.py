"""Fine-tuning: `FineTuner`, and what trains an encoder with its parameters."""

from .automatic import most_epochs
from .data import Data, find_shapes, seed_of
from .fine_tune import FineTuningResult, tune
from .fine_tuner import FineTuner
from .step import seeded
from .task import EMBEDDING, PAIR_CLASSIFICATION, PAIR_REGRESSION, Kind, end_to_end_task

__all__ = [
    "EMBEDDING",
    "PAIR_CLASSIFICATION",
    "PAIR_REGRESSION",
    "Data",
    "FineTuner",
    "FineTuningResult",
    "Kind",
    "end_to_end_task",
    "find_shapes",
    "most_epochs",
    "seed_of",
    "seeded",
    "tune",
]
