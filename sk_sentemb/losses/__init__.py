"""Losses: what fine-tuning makes smaller. `table` says which is for which data."""

from .base import BINARY as BINARY
from .base import CLASSES as CLASSES
from .base import LABELS as LABELS
from .base import LISTS as LISTS
from .base import MARGINS as MARGINS
from .base import PAIRS as PAIRS
from .base import ROWS_OF_CLASSES as ROWS_OF_CLASSES
from .base import ROWS_OF_VALUES as ROWS_OF_VALUES
from .base import SCORES as SCORES
from .base import TEXTS as TEXTS
from .base import TRIPLETS as TRIPLETS
from .base import VECTORS as VECTORS
from .base import Batch, Loss
from .base import weighted_mean as weighted_mean
from .batch_triplet import BatchHardTriplet, BatchSemiHardTriplet
from .contrastive import Contrastive, OnlineContrastive
from .cosine_pairs import CosinePairs
from .distillation import MSE
from .embedder_table import LOSSES as LOSSES
from .gist import GIST
from .margin_mse import MarginMSE
from .matryoshka import Matryoshka
from .multiple_negatives import MultipleNegatives, SimCSE
from .needs import POSITIVES as POSITIVES
from .needs import BatchRows as BatchRows
from .needs import Need as Need
from .registry import find_loss as find_loss
from .registry import find_pair_loss as find_pair_loss
from .similarity import AnglE, CoSENT, CosineMSE
from .softmax import PairSoftmax, Softmax
from .supervised_contrastive import SupervisedContrastive
from .triplet import Triplet

__all__ = [
    "GIST",
    "MSE",
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
