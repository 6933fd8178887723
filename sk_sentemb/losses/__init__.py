"""Losses for fine-tuning embedders, with the class names of sentence-transformers."""

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
from .batch_triplet import BatchHardTripletLoss, BatchSemiHardTripletLoss
from .contrastive import ContrastiveLoss, OnlineContrastiveLoss
from .cosine_pairs import CosinePairsLoss
from .distillation import MSELoss
from .embedder_table import LOSSES as LOSSES
from .gist import GISTEmbedLoss
from .loss_registry import find_loss as find_loss
from .loss_registry import find_pair_loss as find_pair_loss
from .margin_mse import MarginMSELoss
from .matryoshka import MatryoshkaLoss
from .multiple_negatives import MultipleNegativesRankingLoss, SimCSELoss
from .needs import POSITIVES as POSITIVES
from .needs import BatchRows as BatchRows
from .needs import Need as Need
from .similarity import AnglELoss, CoSENTLoss, CosineSimilarityLoss
from .softmax import SoftmaxLoss
from .supervised_contrastive import SupervisedContrastiveLoss
from .triplet import TripletLoss

__all__ = [
    "AnglELoss",
    "Batch",
    "BatchHardTripletLoss",
    "BatchSemiHardTripletLoss",
    "CoSENTLoss",
    "ContrastiveLoss",
    "CosinePairsLoss",
    "CosineSimilarityLoss",
    "GISTEmbedLoss",
    "Loss",
    "MSELoss",
    "MarginMSELoss",
    "MatryoshkaLoss",
    "MultipleNegativesRankingLoss",
    "OnlineContrastiveLoss",
    "SimCSELoss",
    "SoftmaxLoss",
    "SupervisedContrastiveLoss",
    "TripletLoss",
]
