"""Fine-tuning: its parameters, and the losses they choose from."""

from .automatic import most_epochs
from .data import Data, find_shapes, seed_of
from .fine_tune import Tuned, tune
from .fine_tuner import FineTuner
from .step import seeded
from .task import OF_CLASSES, OF_SCORES, OF_TEXTS, Kind, of_rows

__all__ = [
    "OF_CLASSES",
    "OF_SCORES",
    "OF_TEXTS",
    "Data",
    "FineTuner",
    "Kind",
    "Tuned",
    "find_shapes",
    "most_epochs",
    "of_rows",
    "seed_of",
    "seeded",
    "tune",
]
