"""Which loss is for which data."""

from .base import BINARY, CLASSES, LABELS, MARGINS, PAIRS, SCORES, TEXTS, TRIPLETS, VECTORS, Loss
from .batch_triplet import BatchHardTripletLoss, BatchSemiHardTripletLoss
from .contrastive import ContrastiveLoss, OnlineContrastiveLoss
from .cosine_pairs import CosinePairsLoss
from .distillation import MSELoss
from .gist import GISTEmbedLoss
from .lookup import LossTable
from .margin_mse import MarginMSELoss
from .multiple_negatives import MultipleNegativesRankingLoss, SimCSELoss
from .similarity import AnglELoss, CoSENTLoss, CosineSimilarityLoss
from .softmax import SoftmaxLoss
from .supervised_contrastive import SupervisedContrastiveLoss
from .triplet import TripletLoss

LOSSES: dict[str, type[Loss]] = {
    "supervised_contrastive": SupervisedContrastiveLoss,
    "batch_hard_triplet": BatchHardTripletLoss,
    "batch_semi_hard_triplet": BatchSemiHardTripletLoss,
    "cosine_pairs": CosinePairsLoss,
    "softmax": SoftmaxLoss,
    "cosent": CoSENTLoss,
    "angle": AnglELoss,
    "cosine_similarity": CosineSimilarityLoss,
    "online_contrastive": OnlineContrastiveLoss,
    "contrastive": ContrastiveLoss,
    "multiple_negatives_ranking": MultipleNegativesRankingLoss,
    "gist_embed": GISTEmbedLoss,
    "triplet": TripletLoss,
    "margin_mse": MarginMSELoss,
    "simcse": SimCSELoss,
    "mse": MSELoss,
}

# The shape of the data -> in words, and the loss for it
SHAPES = {
    LABELS: ("columns of text and a class for each row", "supervised_contrastive"),
    SCORES: ("two columns and a similarity for each pair", "cosent"),
    BINARY: ("two columns and 0 or 1 for each pair", "online_contrastive"),
    CLASSES: ("two columns and a class for each pair", "softmax"),
    PAIRS: ("two columns and no y", "multiple_negatives_ranking"),
    TRIPLETS: ("three columns and no y", "multiple_negatives_ranking"),
    MARGINS: ("three columns and a margin for each triplet", "margin_mse"),
    TEXTS: ("one column of texts and no y", "simcse"),
    VECTORS: ("one column of texts and a vector for each", "mse"),
}

EMBEDDER_LOSSES = LossTable("SentenceEmbedder", LOSSES, SHAPES)
