"""What each kind of model learns from: the shapes that its data can have, and its losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.utils.multiclass import type_of_target

from ..columns import TextColumns
from ..distinct import pair_columns
from .finding import find_loss, find_pair_loss
from .losses import (
    BINARY,
    CLASSES,
    LABELS,
    LISTS,
    MARGINS,
    PAIRS,
    SCORES,
    TEXTS,
    TRIPLETS,
    VECTORS,
    Loss,
)


@dataclass(frozen=True)
class Kind:
    """How a kind of model is fine-tuned.

    Attributes
    ----------
    possible_shapes : callable
        From the number of text columns, `y`, and whether rows are in lists, to what the data can be
        taken for, the likeliest first.
    find_loss : callable
        From a parameter and a shape to a loss.
    arrange : callable
        From columns of text to columns of what the model reads.
    n_compared : int
        How many columns of what the model reads make one number for each row.
    compare : callable
        From what the model makes of these columns to that number, by which rows are ranked; of
        classes, where there are two.
    """

    possible_shapes: Callable[[int, Any, bool], list[str]]
    find_loss: Callable[[str | Loss, str | None], Loss]
    arrange: Callable[[TextColumns], TextColumns]
    n_compared: int
    compare: Callable[[Sequence[torch.Tensor]], torch.Tensor]


_WITHOUT_Y = {1: TEXTS, 2: PAIRS, 3: TRIPLETS}


def _shapes_of_texts(n_columns: int, y: Any, in_lists: bool) -> list[str]:
    del in_lists
    if y is None:
        if n_columns in _WITHOUT_Y:
            return [_WITHOUT_Y[n_columns]]
        raise ValueError(
            f"X has {n_columns} columns and y is None: fine-tuning takes one column of texts, two of "
            "pairs (anchor, positive) or three of triplets (anchor, positive, negative)."
        )
    kind = _kind_of(y)
    if n_columns == 1 and np.ndim(y) == 2 and np.shape(y)[1] > 1:
        return [VECTORS]
    if n_columns == 1 and kind in ("binary", "multiclass"):
        return [LABELS]
    if n_columns == 2 and kind in ("binary", "multiclass", "continuous"):
        if not _is_numeric(y):
            return [CLASSES]
        if kind == "continuous":
            return [SCORES]
        if set(np.unique(y)) <= {0, 1}:
            return [BINARY, SCORES, CLASSES]
        # Grades as floats are similarities; as integers they may be codes of classes.
        both = [SCORES, CLASSES]
        return both if np.asarray(y).dtype.kind == "f" else both[::-1]
    if n_columns == 3 and _is_numeric(y):
        return [MARGINS]
    raise ValueError(
        f"X has {n_columns} column(s) and y is {kind!r}: there is no loss for that. Pass one column "
        "with classes or with vectors, two columns with similarities or classes, or three columns "
        "(anchor, positive, negative) with margins or without y."
    )


def _shapes_of_scores(n_columns: int, y: Any, in_lists: bool) -> list[str]:
    if n_columns not in (2, 3):
        raise ValueError(
            f"X has {n_columns} column(s): fine-tuning takes two of pairs, or three of triplets (query, "
            "positive, negative)."
        )
    if y is None:
        return [_WITHOUT_Y[n_columns]]
    if not _is_numeric(y):
        raise ValueError(
            f"y is {_kind_of(y)!r} and not of numbers: a score is one. Pass numbers, or fit a "
            "CrossEncoderClassifier on classes."
        )
    if n_columns == 3:
        return [MARGINS]
    shapes = [BINARY, SCORES] if set(np.unique(y)) <= {0, 1} else [SCORES]
    return [LISTS, *shapes] if in_lists else [*shapes, LISTS]


def _shapes_of_classes(n_columns: int, y: Any, in_lists: bool) -> list[str]:
    del in_lists
    if n_columns != 2:
        raise ValueError(f"X has {n_columns} column(s): pairs of texts are two.")
    if y is None:
        raise ValueError("y is None: pass the class of each pair.")
    if _kind_of(y) not in ("binary", "multiclass"):
        raise ValueError(f"Unknown label type: {_kind_of(y)!r}. Pass one class for each pair.")
    return [CLASSES]


def _kind_of(y: Any) -> str:
    # Of numbers in an object array, such as a column of a frame with mixed types, as well.
    return type_of_target(np.asarray(y).tolist() if np.asarray(y).dtype == object else y)


def _is_numeric(y: Any) -> bool:
    return np.asarray(y).dtype.kind in "fiub"


def _as_they_are(columns: TextColumns) -> TextColumns:
    return columns


def _cosines(columns: Sequence[torch.Tensor]) -> torch.Tensor:
    a, b = columns
    return torch.cosine_similarity(a, b)


def _first_logits(columns: Sequence[torch.Tensor]) -> torch.Tensor:
    return columns[0][:, 0]


def _second_over_first(columns: Sequence[torch.Tensor]) -> torch.Tensor:
    (logits,) = columns
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


OF_TEXTS = Kind(_shapes_of_texts, find_loss, _as_they_are, 2, _cosines)
OF_SCORES = Kind(_shapes_of_scores, find_pair_loss, pair_columns, 1, _first_logits)
OF_CLASSES = Kind(_shapes_of_classes, find_pair_loss, pair_columns, 1, _second_over_first)


def of_rows(loss: Loss, shape: str) -> Kind:
    """Return the kind of a model with a head of its own, over texts and other features.

    Parameters
    ----------
    loss : Loss
        That trains the head along.
    shape : str
        Of the data.

    Returns
    -------
    Kind
        With that loss alone.
    """

    def find(asked: str | Loss, _: str | None) -> Loss:
        if asked != "auto":
            raise ValueError(
                f"loss={asked!r}: the loss of an estimator with a head of its own follows from y; pass "
                "'auto'."
            )
        return loss

    return Kind(lambda n_columns, y, in_lists: [shape], find, _as_they_are, 0, _cosines)
