"""Losses for fine-tuning cross-encoders, which output logits for a pair of texts."""

from .binary_cross_entropy import BinaryCrossEntropyLoss
from .cross_entropy import CrossEntropyLoss
from .lambda_loss import LambdaLoss
from .list_net import ListNetLoss
from .mean_squared_error import MSELoss
from .rank_net import RankNetLoss
from .sampled_negatives import MultipleNegativesRankingLoss

__all__ = [
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "LambdaLoss",
    "ListNetLoss",
    "MSELoss",
    "MultipleNegativesRankingLoss",
    "RankNetLoss",
]
