"""Fine-tuning: `FineTuner`, and what trains an encoder with its parameters."""

from .auto_parameters import max_epochs
from .data import RawTrainingData, requested_formats
from .fine_tuner import FineTuner
from .task import EMBEDDING, PAIR_CLASSIFICATION, PAIR_REGRESSION, Task, end_to_end_task
from .training import FineTuningResult, fine_tune

__all__ = [
    "EMBEDDING",
    "PAIR_CLASSIFICATION",
    "PAIR_REGRESSION",
    "FineTuner",
    "FineTuningResult",
    "RawTrainingData",
    "Task",
    "end_to_end_task",
    "fine_tune",
    "max_epochs",
    "requested_formats",
]
