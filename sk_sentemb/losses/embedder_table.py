"""Which loss is for which data."""

from .base import BINARY, CLASSES, LABELS, MARGINS, PAIRS, SCORES, TEXTS, TRIPLETS, VECTORS, Loss
from .batch_triplet import BatchHardTriplet, BatchSemiHardTriplet
from .contrastive import Contrastive, OnlineContrastive
from .cosine_pairs import CosinePairs
from .distillation import MSE
from .gist import GIST
from .lookup import LossTable
from .margin_mse import MarginMSE
from .multiple_negatives import MultipleNegatives, SimCSE
from .similarity import AnglE, CoSENT, CosineMSE
from .softmax import PairSoftmax, Softmax
from .supervised_contrastive import SupervisedContrastive
from .triplet import Triplet

LOSSES: dict[str, type[Loss]] = {
    "supervised_contrastive": SupervisedContrastive,
    "batch_hard_triplet": BatchHardTriplet,
    "batch_semi_hard_triplet": BatchSemiHardTriplet,
    "cosine_pairs": CosinePairs,
    "softmax": Softmax,
    "pair_softmax": PairSoftmax,
    "cosent": CoSENT,
    "angle": AnglE,
    "cosine": CosineMSE,
    "online_contrastive": OnlineContrastive,
    "contrastive": Contrastive,
    "multiple_negatives": MultipleNegatives,
    "gist": GIST,
    "triplet": Triplet,
    "margin_mse": MarginMSE,
    "simcse": SimCSE,
    "mse": MSE,
}

# The shape of the data -> in words, and the loss for it
SHAPES = {
    LABELS: ("columns of text and a class for each row", "supervised_contrastive"),
    SCORES: ("two columns and a similarity for each pair", "cosent"),
    BINARY: ("two columns and 0 or 1 for each pair", "online_contrastive"),
    CLASSES: ("two columns and a class for each pair", "pair_softmax"),
    PAIRS: ("two columns and no y", "multiple_negatives"),
    TRIPLETS: ("three columns and no y", "multiple_negatives"),
    MARGINS: ("three columns and a margin for each triplet", "margin_mse"),
    TEXTS: ("one column of texts and no y", "simcse"),
    VECTORS: ("one column of texts and a vector for each", "mse"),
}

EMBEDDER_LOSSES = LossTable("SentenceEmbedder", LOSSES, SHAPES)
