"""What each kind of model learns from: the shapes that its data can have, and its losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils.multiclass import type_of_target

from .._inputs import TextColumns, make_pairs
from ..losses import CROSS_ENCODER_LOSSES, EMBEDDER_LOSSES, DataFormat, Loss

# The shapes that the loss is for, where one is named.
Asked = tuple[DataFormat, ...] | None


@dataclass(frozen=True)
class Task:
    """How a kind of model is fine-tuned."""

    possible_formats: Callable[[int, Any, bool, Asked], list[DataFormat]]
    resolve_loss: Callable[..., Loss]
    arrange: Callable[[TextColumns], TextColumns]
    n_compared: int
    compare: Callable[[Sequence[torch.Tensor]], torch.Tensor]


_WITHOUT_Y = {1: DataFormat.TEXTS, 2: DataFormat.PAIRS, 3: DataFormat.TRIPLETS}

# The shapes that columns of text may have with a class, or a number, for each row, the likeliest first.
# Two columns may be a pair of which the class is told, or two texts of one row: the softmax loss
# sees both the texts and their difference.
_WITH_CLASSES = {
    2: [DataFormat.PAIR_LABELS, DataFormat.BINARY, DataFormat.SCORES, DataFormat.LABELS],
    3: [DataFormat.LABELS, DataFormat.MARGINS],
}
_WITH_NUMBERS = {
    2: [DataFormat.SCORES, DataFormat.BINARY, DataFormat.PAIR_LABELS, DataFormat.LABELS],
    3: [DataFormat.MARGINS, DataFormat.LABELS],
}


def _shapes_of_texts(n_columns: int, y: Any, in_lists: bool, asked: Asked) -> list[DataFormat]:
    del in_lists
    if y is None:
        if n_columns in _WITHOUT_Y:
            return [_WITHOUT_Y[n_columns]]
        raise ValueError(
            f"X has {n_columns} columns and y is None: fine-tuning takes one column of texts, two of "
            "pairs (anchor, positive) or three of triplets (anchor, positive, negative)."
        )
    if np.ndim(y) == 2 and np.shape(y)[1] > 1:
        return [_shape_of_outputs(n_columns, y, asked)]
    if _are_classes(n_columns, y):
        shapes = _WITH_CLASSES.get(n_columns, [DataFormat.LABELS])
    elif _type_of(y) not in ("binary", "multiclass", "continuous"):
        raise _no_loss(n_columns, y)
    else:
        shapes = _WITH_NUMBERS.get(n_columns) or [_shape_of_numbers(n_columns, y, asked)]
    values = as_array(y)
    if values.dtype.kind not in "fiub":
        return [shape for shape in shapes if shape in (DataFormat.PAIR_LABELS, DataFormat.LABELS)]
    if _type_of(y) == "continuous":  # fractions are no classes, whatever the loss
        shapes = [
            shape for shape in shapes if shape not in (DataFormat.PAIR_LABELS, DataFormat.LABELS)
        ]
    if not set(np.unique(values)) <= {0, 1}:
        return [shape for shape in shapes if shape != DataFormat.BINARY]
    return shapes


def _shape_of_numbers(n_columns: int, y: Any, asked: Asked) -> DataFormat:
    """Return the shape of columns beside floats, which are classes only if the loss says so."""
    if _type_of(y) == "continuous":
        raise _no_loss(n_columns, y)
    if asked is None or DataFormat.LABELS not in asked:
        raise ValueError(
            f"y has whole numbers as floats, such as {as_array(y).flat[0]}, which may be classes or "
            "numbers to predict. For classes, pass integers or strings, or a loss of classes such as "
            "'supervised_contrastive'; for numbers, fit a SentenceRegressor."
        )
    return DataFormat.LABELS


def _shape_of_outputs(n_columns: int, y: Any, asked: Asked) -> DataFormat:
    """Return the shape of columns beside several numbers for each row: those of a teacher."""
    shape = {1: DataFormat.EMBEDDINGS, 3: DataFormat.MARGINS if np.shape(y)[1] == 2 else None}.get(
        n_columns
    )
    if shape is None:
        raise _no_loss(n_columns, y)
    if asked is not None and shape in asked:
        return shape
    name = (
        "loss='mse' for embeddings"
        if shape == DataFormat.EMBEDDINGS
        else "loss='margin_mse' for scores"
    )
    if _type_of(y) == "multilabel-indicator":
        raise ValueError(
            f"y has 0 and 1 in {np.shape(y)[1]} columns, as for several labels at once, and no loss "
            f"learns from that. Fit a SentenceClassifier; or, if these are a teacher's numbers, pass "
            f"{name}."
        )
    if as_array(y).dtype.kind != "f":
        raise ValueError(
            f"y has {np.shape(y)[1]} columns, and no floats in them. If these are a teacher's numbers, "
            f"pass {name}; if they are classes, fit one estimator for each column."
        )
    return shape


def _no_loss(n_columns: int, y: Any) -> ValueError:
    return ValueError(
        f"X has {n_columns} column(s) and y is {_type_of(y)!r}: there is no loss for that. Pass classes "
        "as integers, strings or booleans for any number of columns; similarities for two columns; "
        "margins, or no y, for three (anchor, positive, negative); or a teacher's embeddings for one. "
        "For numbers to predict, fit a SentenceRegressor."
    )


def _shapes_of_scores(n_columns: int, y: Any, in_lists: bool, asked: Asked) -> list[DataFormat]:
    if n_columns not in (2, 3):
        raise ValueError(
            f"X has {n_columns} column(s): fine-tuning takes two of pairs, or three of triplets (query, "
            "positive, negative)."
        )
    if y is None:
        return [_WITHOUT_Y[n_columns]]
    if as_array(y).dtype.kind not in "fiub":
        raise ValueError(
            f"y is {_type_of(y)!r} and not of numbers: a score is one. Pass numbers, or fit a "
            "CrossEncoderClassifier on classes."
        )
    if n_columns == 3:
        if as_array(y).dtype.kind != "f" and (asked is None or DataFormat.MARGINS not in asked):
            raise ValueError(
                "X has three columns, which are triplets (query, positive, negative), and y has "
                f"{'booleans' if as_array(y).dtype.kind == 'b' else 'integers'}, where margins are "
                "floats. If they are margins, pass loss='margin_mse'; for scores or classes of pairs, "
                "pass two columns."
            )
        return [DataFormat.MARGINS]
    shapes = (
        [DataFormat.BINARY, DataFormat.SCORES]
        if set(np.unique(as_array(y))) <= {0, 1}
        else [DataFormat.SCORES]
    )
    return [DataFormat.LISTS, *shapes] if in_lists else [*shapes, DataFormat.LISTS]


def _shapes_of_classes(n_columns: int, y: Any, in_lists: bool, asked: Asked) -> list[DataFormat]:
    del in_lists, asked
    if n_columns != 2:
        raise ValueError(f"X has {n_columns} column(s): pairs of texts are two.")
    if y is None:
        raise ValueError("y is None: pass the class of each pair.")
    if _type_of(y) not in ("binary", "multiclass"):
        raise ValueError(f"Unknown label type: {_type_of(y)!r}. Pass one class for each pair.")
    return [DataFormat.PAIR_LABELS]


def _are_classes(n_columns: int, y: Any) -> bool:
    """Return whether `y` has classes: no floats, unless these are two whole numbers such as 0.0 and 1.0.

    Other whole floats are numbers, or else a fold without fractions would be read in another way. Where
    floats can be numbers, even two such as 0.0 and 5.0 are: a fold may have no others.
    """
    target, values = _type_of(y), as_array(y)
    if values.dtype.kind != "f":
        return target in ("binary", "multiclass")
    may_be_numbers = n_columns in _WITH_NUMBERS and not set(np.unique(values)) <= {0, 1}
    return target == "binary" and not may_be_numbers


def _type_of(y: Any) -> str:
    return type_of_target(y if issparse(y) else as_array(y))


def as_array(y: Any) -> np.ndarray:
    """Return an array, also of the numbers in an object array, such as a column of mixed types."""
    array = np.asarray(y)
    return np.asarray(array.tolist()) if array.dtype == object else array


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


EMBEDDING = Task(_shapes_of_texts, EMBEDDER_LOSSES.resolve, _as_they_are, 2, _cosines)
PAIR_REGRESSION = Task(
    _shapes_of_scores, CROSS_ENCODER_LOSSES.resolve, make_pairs, 1, _first_logits
)
PAIR_CLASSIFICATION = Task(
    _shapes_of_classes, CROSS_ENCODER_LOSSES.resolve, make_pairs, 1, _second_over_first
)


def end_to_end_task(loss: Loss, shape: DataFormat) -> Task:
    """Return the kind of a model with a head of its own, over texts and other features."""

    def resolve(asked: str | Loss, *_: Any) -> Loss:
        if asked != "auto":
            raise ValueError(
                f"loss={asked!r}: the loss of an estimator with a head of its own follows from y; pass "
                "'auto'."
            )
        return loss

    return Task(lambda n_columns, y, in_lists, asked: [shape], resolve, _as_they_are, 0, _cosines)
