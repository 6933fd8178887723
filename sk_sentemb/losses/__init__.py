"""Losses for fine-tuning embedders, with the class names of sentence-transformers."""

from .base import Batch, DataFormat, Loss
from .base import require as require
from .base import weighted_mean as weighted_mean
from .batch_triplet import BatchHardTripletLoss, BatchSemiHardTripletLoss
from .contrastive import ContrastiveLoss, OnlineContrastiveLoss
from .cosine_pairs import CosinePairsLoss
from .gist_embed import GISTEmbedLoss
from .loss_registry import CROSS_ENCODER_LOSSES as CROSS_ENCODER_LOSSES
from .loss_registry import EMBEDDER_LOSSES as EMBEDDER_LOSSES
from .loss_registry import LossRegistry as LossRegistry
from .margin_mse import MarginMSELoss
from .matryoshka import MatryoshkaLoss
from .mse import MSELoss
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
    "DataFormat",
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
