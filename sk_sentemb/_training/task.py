"""The tasks that models are fine-tuned for: their data formats, losses and outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils.multiclass import type_of_target

from .._inputs import TextColumns, make_pairs
from ..losses import CROSS_ENCODER_LOSSES, EMBEDDER_LOSSES, DataFormat, Loss

# The formats that an explicit loss supports; None if the data decide.
Requested = tuple[DataFormat, ...] | None

_WITHOUT_Y = {1: DataFormat.TEXTS, 2: DataFormat.PAIRS, 3: DataFormat.TRIPLETS}
_CLASS_FORMATS = (DataFormat.PAIR_LABELS, DataFormat.LABELS)

# The formats of text columns with a class, or a number, for each row, the most likely first. Two
# columns may be a pair with a class, or two texts of one row: the softmax loss uses both texts and their
# difference.
_WITH_CLASSES = {
    2: [DataFormat.PAIR_LABELS, DataFormat.BINARY, DataFormat.SCORES, DataFormat.LABELS],
    3: [DataFormat.LABELS, DataFormat.MARGINS],
}
_WITH_NUMBERS = {
    2: [DataFormat.SCORES, DataFormat.BINARY, DataFormat.PAIR_LABELS, DataFormat.LABELS],
    3: [DataFormat.MARGINS, DataFormat.LABELS],
}


@dataclass(frozen=True)
class Task:
    """The parts of fine-tuning that depend on the type of model."""

    # (n_columns, y, has_query_id, requested) -> the possible formats, the most likely first
    possible_formats: Callable[[int, Any, bool, Requested], list[DataFormat]]
    resolve_loss: Callable[..., Loss]  # (loss, format, n_classes) -> the loss for a parameter
    arrange: Callable[[TextColumns], TextColumns]  # X -> what the model encodes
    n_compared: int  # the number of output columns that `compare` takes
    compare: Callable[[Sequence[torch.Tensor]], torch.Tensor]  # output columns -> a score per row


def _embedding_formats(
    n_columns: int, y: Any, has_query_id: bool, requested: Requested
) -> list[DataFormat]:
    del has_query_id
    if y is None:
        if n_columns in _WITHOUT_Y:
            return [_WITHOUT_Y[n_columns]]
        raise ValueError(
            f"X has {n_columns} columns and y is None. Without y, fine-tuning requires one column of "
            "texts, two of pairs (anchor, positive) or three of triplets (anchor, positive, negative)."
        )
    if np.ndim(y) == 2 and np.shape(y)[1] > 1:
        return [_teacher_format(n_columns, y, requested)]
    if _has_classes(n_columns, y):
        formats = _WITH_CLASSES.get(n_columns, [DataFormat.LABELS])
    elif _type_of(y) not in ("binary", "multiclass", "continuous"):
        raise _no_loss(n_columns, y)
    else:
        formats = _WITH_NUMBERS.get(n_columns) or [_whole_float_format(n_columns, y, requested)]
    values = to_array(y)
    if values.dtype.kind not in "fiub":
        return [known for known in formats if known in _CLASS_FORMATS]
    if _type_of(y) == "continuous":  # fractions are never classes
        formats = [known for known in formats if known not in _CLASS_FORMATS]
    if not set(np.unique(values)) <= {0, 1}:
        return [known for known in formats if known != DataFormat.BINARY]
    return formats


def _whole_float_format(n_columns: int, y: Any, requested: Requested) -> DataFormat:
    """Return the format of floats without a loss for numbers: classes, if the loss says so."""
    if _type_of(y) == "continuous":
        raise _no_loss(n_columns, y)
    if requested is None or DataFormat.LABELS not in requested:
        raise ValueError(
            f"y has whole numbers as floats, such as {to_array(y).flat[0]}, which may be classes or "
            "numbers to predict. For classes, pass integers or strings, or a loss for classes such as "
            "'supervised_contrastive'; for numbers, fit a SentenceRegressor."
        )
    return DataFormat.LABELS


def _teacher_format(n_columns: int, y: Any, requested: Requested) -> DataFormat:
    """Return the format of several numbers for each row: the outputs of a teacher."""
    n_outputs = np.shape(y)[1]
    if n_columns == 1:
        data_format, advice = DataFormat.EMBEDDINGS, "loss='mse' for embeddings"
    elif n_columns == 3 and n_outputs == 2:
        data_format, advice = DataFormat.MARGINS, "loss='margin_mse' for scores"
    else:
        raise _no_loss(n_columns, y)
    if requested is not None and data_format in requested:
        return data_format
    if _type_of(y) == "multilabel-indicator":
        raise ValueError(
            f"y has 0 and 1 in {n_outputs} columns, as for several labels at once, which no loss "
            f"supports. Fit a SentenceClassifier; or, if these are a teacher's numbers, pass {advice}."
        )
    if to_array(y).dtype.kind != "f":
        raise ValueError(
            f"y has {n_outputs} columns, but not of floats. If these are a teacher's numbers, pass "
            f"{advice}; if they are classes, fit one estimator for each column."
        )
    return data_format


def _no_loss(n_columns: int, y: Any) -> ValueError:
    return ValueError(
        f"X has {n_columns} column(s) and y is {_type_of(y)!r}, which no loss supports. Pass classes as "
        "integers, strings or booleans for any number of columns; similarities for two columns; "
        "margins, or no y, for three (anchor, positive, negative); or a teacher's embeddings for one. "
        "For numbers to predict, fit a SentenceRegressor."
    )


def _pair_regression_formats(
    n_columns: int, y: Any, has_query_id: bool, requested: Requested
) -> list[DataFormat]:
    if n_columns not in (2, 3):
        raise ValueError(
            f"X has {n_columns} column(s). Fine-tuning requires two columns for pairs, or three for "
            "triplets (query, positive, negative)."
        )
    if y is None:
        return [_WITHOUT_Y[n_columns]]
    dtype = to_array(y).dtype.kind
    if dtype not in "fiub":
        raise ValueError(
            f"CrossEncoderScorer requires a numeric y, got {_type_of(y)!r} labels. Use "
            "CrossEncoderClassifier."
        )
    if n_columns == 3:
        if dtype != "f" and (requested is None or DataFormat.MARGINS not in requested):
            raise ValueError(
                "X has three columns, which are triplets (query, positive, negative), and y has "
                f"{'booleans' if dtype == 'b' else 'integers'}, but margins are floats. If they are "
                "margins, pass loss='margin_mse'; for scores or classes of pairs, pass two columns."
            )
        return [DataFormat.MARGINS]
    is_binary = set(np.unique(to_array(y))) <= {0, 1}
    formats = [DataFormat.BINARY, DataFormat.SCORES] if is_binary else [DataFormat.SCORES]
    return [DataFormat.LISTS, *formats] if has_query_id else [*formats, DataFormat.LISTS]


def _pair_classification_formats(
    n_columns: int, y: Any, has_query_id: bool, requested: Requested
) -> list[DataFormat]:
    del has_query_id, requested
    if n_columns != 2:
        raise ValueError(f"X has {n_columns} column(s), but pairs of texts are two columns.")
    if y is None:
        raise ValueError("y is None: pass the class of each pair.")
    if _type_of(y) not in ("binary", "multiclass"):
        raise ValueError(f"Unknown label type: {_type_of(y)!r}. Pass one class for each pair.")
    return [DataFormat.PAIR_LABELS]


def _has_classes(n_columns: int, y: Any) -> bool:
    """Return whether `y` has classes: no floats, except two whole numbers such as 0.0 and 1.0."""
    # The answer must not depend on the fold. Whole floats in one fold may have fractions in another, and
    # where floats can be numbers, even 0.0 and 5.0 may be the only scores of a fold.
    target, values = _type_of(y), to_array(y)
    if values.dtype.kind != "f":
        return target in ("binary", "multiclass")
    may_be_numbers = n_columns in _WITH_NUMBERS and not set(np.unique(values)) <= {0, 1}
    return target == "binary" and not may_be_numbers


def _type_of(y: Any) -> str:
    return type_of_target(y if issparse(y) else to_array(y))


def to_array(y: Any) -> np.ndarray:
    """Return an array with a dtype that follows from the values, also for an object array."""
    array = np.asarray(y)
    return np.asarray(array.tolist()) if array.dtype == object else array


def _unchanged(columns: TextColumns) -> TextColumns:
    return columns


def _cosine_similarity(outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    u, v = outputs
    return torch.cosine_similarity(u, v)


def _first_logit(outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    return outputs[0][:, 0]


def _log_odds(outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    (logits,) = outputs
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


EMBEDDING = Task(_embedding_formats, EMBEDDER_LOSSES.resolve, _unchanged, 2, _cosine_similarity)
PAIR_REGRESSION = Task(
    _pair_regression_formats, CROSS_ENCODER_LOSSES.resolve, make_pairs, 1, _first_logit
)
PAIR_CLASSIFICATION = Task(
    _pair_classification_formats, CROSS_ENCODER_LOSSES.resolve, make_pairs, 1, _log_odds
)


def end_to_end_task(head_loss: Loss, data_format: DataFormat) -> Task:
    """Return the task of training an encoder together with a head, whose loss is given."""

    def resolve_loss(loss: str | Loss, *_: Any) -> Loss:
        if loss != "auto":
            raise ValueError(
                f"loss={loss!r}: estimators with a head use the loss that follows from y; pass 'auto'."
            )
        return head_loss

    return Task(lambda *_: [data_format], resolve_loss, _unchanged, 0, _cosine_similarity)
