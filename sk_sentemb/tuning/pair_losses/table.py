"""Which loss of a cross-encoder is for which data."""

from ..losses.base import BINARY, CLASSES, LISTS, MARGINS, PAIRS, SCORES, TRIPLETS, Loss
from ..losses.lookup import LossTable, look_up
from ..losses.margin_mse import MarginMSE
from ..losses.matryoshka import Matryoshka
from ..losses.table import EMBEDDER_LOSSES
from .binary_cross_entropy import BinaryCrossEntropy
from .cross_entropy import CrossEntropy
from .lambda_loss import LambdaLoss
from .list_net import ListNet
from .mean_squared_error import MeanSquaredError
from .random_negatives import RandomNegatives
from .rank_net import RankNet

PAIR_LOSSES: dict[str, type[Loss]] = {
    "binary_cross_entropy": BinaryCrossEntropy,
    "mean_squared_error": MeanSquaredError,
    "cross_entropy": CrossEntropy,
    "multiple_negatives": RandomNegatives,
    "margin_mse": MarginMSE,
    "lambda": LambdaLoss,
    "ranknet": RankNet,
    "listnet": ListNet,
}

# The shape of the data -> in words, and the loss for it
PAIR_SHAPES = {
    SCORES: ("two columns and a score for each pair", "binary_cross_entropy"),
    BINARY: ("two columns and 0 or 1 for each pair", "binary_cross_entropy"),
    CLASSES: ("two columns and a class for each pair", "cross_entropy"),
    PAIRS: ("two columns and no y", "multiple_negatives"),
    TRIPLETS: ("three columns and no y", "multiple_negatives"),
    MARGINS: ("three columns and a margin for each triplet", "margin_mse"),
    LISTS: ("two columns and a grade for each pair, in lists", "lambda"),
}

CROSS_ENCODER_LOSSES = LossTable(
    "CrossEncoderScorer and CrossEncoderClassifier", PAIR_LOSSES, PAIR_SHAPES
)


def find_pair_loss(loss: str | Loss, shape: str | None) -> Loss:
    """Return the loss of a cross-encoder that a parameter stands for.

    Parameters
    ----------
    loss : str or Loss
        A name, ``"auto"`` or a loss.
    shape : str or None
        The shape of the data; None where it is not known yet.

    Returns
    -------
    Loss
        For such data.

    Raises
    ------
    ValueError
        If there is no such loss, or it is not for such data or for embedders only.
    """
    if isinstance(loss, Matryoshka):
        raise ValueError(
            f"loss={loss!r}: it is of the dimensions of vectors, and cross-encoders give none. For "
            f"{CROSS_ENCODER_LOSSES.estimators} pass 'auto', a Loss of your own, or one of "
            f"{CROSS_ENCODER_LOSSES.names(shape)}."
        )
    return look_up(loss, shape, CROSS_ENCODER_LOSSES, EMBEDDER_LOSSES)
