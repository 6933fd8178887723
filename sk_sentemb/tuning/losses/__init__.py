"""Losses: what fine-tuning makes smaller. `table` says which is for which data."""

from .base import (
    BINARY,
    CLASSES,
    LABELS,
    LISTS,
    MARGINS,
    PAIRS,
    ROWS_OF_CLASSES,
    ROWS_OF_VALUES,
    SCORES,
    TEXTS,
    TRIPLETS,
    VECTORS,
    Batch,
    Loss,
)
from .batch_triplet import BatchHardTriplet, BatchSemiHardTriplet
from .contrastive import Contrastive, OnlineContrastive
from .cosine_pairs import CosinePairs
from .distillation import MSE
from .gist import GIST
from .margin_mse import MarginMSE
from .matryoshka import Matryoshka
from .multiple_negatives import MultipleNegatives, SimCSE
from .similarity import AnglE, CoSENT, CosineMSE
from .softmax import PairSoftmax, Softmax
from .supervised_contrastive import SupervisedContrastive
from .table import LOSSES
from .triplet import Triplet

__all__ = [
    "BINARY",
    "CLASSES",
    "GIST",
    "LABELS",
    "LISTS",
    "LOSSES",
    "MARGINS",
    "MSE",
    "PAIRS",
    "ROWS_OF_CLASSES",
    "ROWS_OF_VALUES",
    "SCORES",
    "TEXTS",
    "TRIPLETS",
    "VECTORS",
    "AnglE",
    "Batch",
    "BatchHardTriplet",
    "BatchSemiHardTriplet",
    "CoSENT",
    "Contrastive",
    "CosineMSE",
    "CosinePairs",
    "Loss",
    "MarginMSE",
    "Matryoshka",
    "MultipleNegatives",
    "OnlineContrastive",
    "PairSoftmax",
    "SimCSE",
    "Softmax",
    "SupervisedContrastive",
    "Triplet",
]
