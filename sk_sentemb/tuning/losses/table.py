"""Which loss is for which data."""

from .base import (
    BINARY,
    CLASSES,
    LABELS,
    PAIRS,
    SCORES,
    TEXTS,
    TRIPLETS,
    VECTORS,
    Loss,
)
from .batch_triplet import BatchHardTriplet, BatchSemiHardTriplet
from .contrastive import Contrastive, OnlineContrastive
from .cosine_pairs import CosinePairs
from .distillation import MSE
from .gist import GIST
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
    "simcse": SimCSE,
    "mse": MSE,
}

# The shape of the data -> in words, and the loss for it
SHAPES = {
    LABELS: ("one column of texts and a class for each", "supervised_contrastive"),
    SCORES: ("two columns and a similarity for each pair", "cosent"),
    BINARY: ("two columns and 0 or 1 for each pair", "online_contrastive"),
    CLASSES: ("two columns and a class for each pair", "pair_softmax"),
    PAIRS: ("two columns and no y", "multiple_negatives"),
    TRIPLETS: ("three columns and no y", "multiple_negatives"),
    TEXTS: ("one column of texts and no y", "simcse"),
    VECTORS: ("one column of texts and a vector for each", "mse"),
}


def find_loss(loss: str | Loss, shape: str | None) -> Loss:
    """Return the loss that a parameter stands for.

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
        If there is no such loss, or it is not for such data.
    """
    if isinstance(loss, str):
        if loss == "softmax" and shape == CLASSES:
            loss = "pair_softmax"
        name = SHAPES[shape][1] if loss == "auto" and shape is not None else loss
        if name not in LOSSES:
            raise ValueError(f"loss={loss!r}: pass 'auto', a Loss, or one of {[*LOSSES]}.")
        loss = LOSSES[name]()
    if shape is None:
        return loss
    if shape not in loss.data:
        fitting = [name for name, kind in LOSSES.items() if shape in kind.data]
        raise ValueError(
            f"loss={loss}: it is not for {SHAPES[shape][0]}, which X and y are. Pass 'auto' or one of "
            f"{fitting}."
        )
    return loss.for_data(shape)
