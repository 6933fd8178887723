"""Losses of cross-encoders, which read a pair of texts together and give logits for it."""

from .binary_cross_entropy import BinaryCrossEntropy
from .cross_encoder_table import CROSS_ENCODER_LOSSES as CROSS_ENCODER_LOSSES
from .cross_encoder_table import PAIR_LOSSES as PAIR_LOSSES
from .cross_encoder_table import PAIR_SHAPES as PAIR_SHAPES
from .cross_entropy import CrossEntropy
from .in_batch_negatives import RandomNegatives
from .lambda_loss import LambdaLoss
from .list_net import ListNet
from .mean_squared_error import MeanSquaredError
from .rank_net import RankNet

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "LambdaLoss",
    "ListNet",
    "MeanSquaredError",
    "RandomNegatives",
    "RankNet",
]
