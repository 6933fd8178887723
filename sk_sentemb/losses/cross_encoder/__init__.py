"""Losses for fine-tuning cross-encoders, which output logits for a pair of texts."""

from .binary_cross_entropy import BinaryCrossEntropyLoss
from .cross_encoder_table import CROSS_ENCODER_LOSSES as CROSS_ENCODER_LOSSES
from .cross_encoder_table import PAIR_LOSSES as PAIR_LOSSES
from .cross_encoder_table import PAIR_SHAPES as PAIR_SHAPES
from .cross_entropy import CrossEntropyLoss
from .in_batch_negatives import MultipleNegativesRankingLoss
from .lambda_loss import LambdaLoss
from .list_net import ListNetLoss
from .mean_squared_error import MSELoss
from .rank_net import RankNetLoss

__all__ = [
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "LambdaLoss",
    "ListNetLoss",
    "MSELoss",
    "MultipleNegativesRankingLoss",
    "RankNetLoss",
]
