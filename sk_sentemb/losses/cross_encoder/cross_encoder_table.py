"""Which loss of a cross-encoder is for which data."""

from ..base import BINARY, CLASSES, LISTS, MARGINS, PAIRS, SCORES, TRIPLETS, Loss
from ..lookup import LossTable
from ..margin_mse import MarginMSELoss
from .binary_cross_entropy import BinaryCrossEntropyLoss
from .cross_entropy import CrossEntropyLoss
from .in_batch_negatives import MultipleNegativesRankingLoss
from .lambda_loss import LambdaLoss
from .list_net import ListNetLoss
from .mean_squared_error import MSELoss
from .rank_net import RankNetLoss

PAIR_LOSSES: dict[str, type[Loss]] = {
    "binary_cross_entropy": BinaryCrossEntropyLoss,
    "mse": MSELoss,
    "cross_entropy": CrossEntropyLoss,
    "multiple_negatives_ranking": MultipleNegativesRankingLoss,
    "margin_mse": MarginMSELoss,
    "lambda": LambdaLoss,
    "ranknet": RankNetLoss,
    "listnet": ListNetLoss,
}

# The shape of the data -> in words, and the loss for it
PAIR_SHAPES = {
    SCORES: ("two columns and a score for each pair", "binary_cross_entropy"),
    BINARY: ("two columns and 0 or 1 for each pair", "binary_cross_entropy"),
    CLASSES: ("two columns and a class for each pair", "cross_entropy"),
    PAIRS: ("two columns and no y", "multiple_negatives_ranking"),
    TRIPLETS: ("three columns and no y", "multiple_negatives_ranking"),
    MARGINS: ("three columns and a margin for each triplet", "margin_mse"),
    LISTS: ("two columns and a grade for each pair, in lists", "lambda"),
}

CROSS_ENCODER_LOSSES = LossTable(
    "CrossEncoderScorer and CrossEncoderClassifier", PAIR_LOSSES, PAIR_SHAPES
)
