"""From a parameter to a loss, for embedders and for cross-encoders."""

from .base import Loss
from .cross_encoder import CROSS_ENCODER_LOSSES
from .embedder_table import EMBEDDER_LOSSES
from .lookup import look_up


def find_loss(loss: str | Loss, shape: str | None) -> Loss:
    """Return the loss of an embedder that a parameter stands for."""
    return look_up(loss, shape, EMBEDDER_LOSSES, CROSS_ENCODER_LOSSES)


def find_pair_loss(loss: str | Loss, shape: str | None) -> Loss:
    """Return the loss of a cross-encoder that a parameter stands for."""
    if isinstance(loss, Loss) and loss.of_dimensions:
        raise ValueError(
            f"loss={loss!r}: it is of the dimensions of vectors, and cross-encoders give none. For "
            f"{CROSS_ENCODER_LOSSES.estimators} pass 'auto', a Loss of your own, or one of "
            f"{CROSS_ENCODER_LOSSES.names(shape)}."
        )
    return look_up(loss, shape, CROSS_ENCODER_LOSSES, EMBEDDER_LOSSES)
