"""Fine-tuning: `FineTuner`, and what trains an encoder with its parameters."""

from .auto_parameters import max_epochs
from .data import EncodingOptions, RawTrainingData
from .dataset import requested_formats
from .fine_tuner import FineTuner
from .loop import TrainingState
from .task import EMBEDDING, PAIR_CLASSIFICATION, PAIR_REGRESSION, Task, end_to_end_task
from .training import FineTuningResult, fine_tune

__all__ = [
    "EMBEDDING",
    "PAIR_CLASSIFICATION",
    "PAIR_REGRESSION",
    "EncodingOptions",
    "FineTuner",
    "FineTuningResult",
    "RawTrainingData",
    "Task",
    "TrainingState",
    "end_to_end_task",
    "fine_tune",
    "max_epochs",
    "requested_formats",
]
