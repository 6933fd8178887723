"""Losses of cross-encoders, which read a pair of texts together and give logits for it."""

from .binary_cross_entropy import BinaryCrossEntropy
from .cross_entropy import CrossEntropy
from .lambda_loss import LambdaLoss
from .list_net import ListNet
from .mean_squared_error import MeanSquaredError
from .random_negatives import RandomNegatives
from .rank_net import RankNet
from .table import PAIR_LOSSES, PAIR_SHAPES

__all__ = [
    "PAIR_LOSSES",
    "PAIR_SHAPES",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "LambdaLoss",
    "ListNet",
    "MeanSquaredError",
    "RandomNegatives",
    "RankNet",
]
