"""The training dataset: each distinct text once, and the rows as arrays."""

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils import check_array, column_or_1d, compute_class_weight
from sklearn.utils.validation import check_consistent_length

from .._inputs import MISSING, check_no_missing, check_query_id, unique_texts
from .._types import Text
from .._warn import warn
from ..exceptions import AmbiguousTargetWarning, MissingTextWarning
from ..losses import DataFormat
from .data import RawTrainingData
from .fine_tuner import FineTuner
from .task import Requested, Task


@dataclass(frozen=True)
class TrainingDataset:
    """Rows to train or to validate on."""

    format: DataFormat
    texts: list[Text]  # distinct
    text_ids: np.ndarray  # (n_columns, n_rows), indices into `texts`
    row_ids: np.ndarray  # rows of X; from `n_training_rows` on, of the X of validation_data
    n_training_rows: int
    target: np.ndarray | None = None
    classes: np.ndarray | None = None  # whose codes are in `target`
    weight: np.ndarray | None = None
    query_ids: np.ndarray | None = None  # the list of each row, if the loss is listwise
    score_range: tuple[float, float] = (0.0, 1.0)  # the values of y that were scaled to 0 and 1
    features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def n_outputs(self) -> int:
        """The number of classes, or the dimension of the targets."""
        if self.classes is not None:
            return len(self.classes)
        return 1 if self.target is None or self.target.ndim == 1 else self.target.shape[1]

    def take(self, rows: np.ndarray) -> Self:
        """Return a dataset of some of the rows, which are indices or a mask."""
        per_row = ("row_ids", "target", "weight", "query_ids", "features")
        values = {name: getattr(self, name) for name in per_row}
        taken: dict[str, Any] = {
            name: None if value is None else value[rows] for name, value in values.items()
        }
        return replace(self, text_ids=self.text_ids[:, rows], **taken)

    @property
    def is_training_row(self) -> np.ndarray:
        """The mask of rows that are not from `validation_data`."""
        return self.row_ids < self.n_training_rows


def requested_formats(fine_tuner: FineTuner, task: Task) -> Requested:
    """Return the formats that an explicit loss supports, or None if the data decide."""
    if fine_tuner.loss == "auto":
        return None
    loss = task.resolve_loss(fine_tuner.loss)
    return None if loss.follows_data else loss.formats


def build_dataset(
    raw: RawTrainingData, fine_tuner: FineTuner, task: Task, *, missing_is_empty: bool
) -> TrainingDataset:
    """Determine the format of the data, encode the targets, and drop rows that cannot be used."""
    n_training_rows, raw = raw.n_rows, raw.with_validation_data(fine_tuner)
    if raw.y is not None:
        check_consistent_length(raw.columns.missing, raw.y)
        check_no_missing(raw.y)
    requested = requested_formats(fine_tuner, task)
    n_columns, has_query_id = raw.columns.n_columns, raw.query_id is not None
    possible = task.possible_formats(n_columns, raw.y, has_query_id, requested)
    data_format = _select_format(possible, requested, fine_tuner.score_range)
    target, classes = _encode_target(raw, data_format)
    score_range = (0.0, 1.0)
    if data_format == DataFormat.SCORES and target is not None:
        target, score_range = _scale_scores(target, fine_tuner.score_range, n_training_rows)
    unique = unique_texts(task.arrange(raw.columns), missing_is_empty=missing_is_empty)
    dataset = TrainingDataset(
        format=data_format,
        texts=unique.texts,
        text_ids=unique.inverse,
        row_ids=np.arange(raw.n_rows),
        n_training_rows=n_training_rows,
        target=target,
        classes=classes,
        weight=None if raw.sample_weight is None else raw.sample_weight.astype(np.float32),
        query_ids=_number_lists(raw) if data_format == DataFormat.LISTS else None,
        score_range=score_range,
        features=raw.features,
    )
    dataset = _drop_missing(dataset)
    if fine_tuner.class_weight is not None:
        dataset = _with_class_weight(dataset, fine_tuner.class_weight)
    return _drop_zero_weight(dataset)


def _drop_missing(dataset: TrainingDataset) -> TrainingDataset:
    """Drop rows with a missing text, with a warning."""
    kept = dataset.take((dataset.text_ids != MISSING).all(axis=0))
    if not kept.is_training_row.any():
        raise ValueError("X has no row without a missing text: there is nothing to train on.")
    if not dataset.is_training_row.all() and kept.is_training_row.all():
        raise ValueError("the X of validation_data has no row without a missing text.")
    if len(kept) < len(dataset):
        warn(
            f"{len(dataset) - len(kept)} of {len(dataset)} rows have a missing text and are not used "
            "for training. Fill them, or pass missing='empty' or 'error'.",
            MissingTextWarning,
        )
    return kept


def _with_class_weight(dataset: TrainingDataset, class_weight: Any) -> TrainingDataset:
    """Multiply the weights of rows by those of their classes, as frequent as in the training rows."""
    target, classes = dataset.target, dataset.classes
    if classes is None or target is None:
        raise ValueError(f"class_weight={class_weight!r} requires classes in y; pass None.")
    trained = target[dataset.is_training_row]
    present = np.unique(trained)
    weights = np.ones(len(classes))
    weights[present] = compute_class_weight(
        class_weight, classes=classes[present], y=classes[trained]
    )
    own = 1 if dataset.weight is None else dataset.weight
    return replace(dataset, weight=weights[target].astype(np.float32) * own)


def _drop_zero_weight(dataset: TrainingDataset) -> TrainingDataset:
    if dataset.weight is None:
        return dataset
    kept = dataset.take(dataset.weight > 0)
    if not kept.is_training_row.any():
        raise ValueError(
            "sample_weight and class_weight leave no row of X with a text and a weight above 0: there "
            "is nothing to train on."
        )
    if not dataset.is_training_row.all() and kept.is_training_row.all():
        raise ValueError("class_weight leaves no row of validation_data with a weight above 0.")
    return kept


def _select_format(
    possible: list[DataFormat], requested: Requested, score_range: tuple[float, float] | None
) -> DataFormat:
    """Select one of the possible formats by the parameters."""
    is_binary = DataFormat.BINARY in possible
    if score_range is not None and DataFormat.SCORES in possible:
        # A fold of other scores may contain only 0 and 1.
        excluded = {DataFormat.PAIR_LABELS, DataFormat.LABELS}
        excluded |= set() if tuple(score_range) == (0, 1) else {DataFormat.BINARY}
        possible = [known for known in possible if known not in excluded]
    selected = next((f for f in possible if requested is None or f in requested), possible[0])
    if requested is None and selected == DataFormat.PAIR_LABELS and is_binary:
        warn(
            "X has two columns of text and y is 0 or 1, which is interpreted as the class of each row, "
            "loss='softmax'. If it says whether the two texts belong together, pass "
            "loss='online_contrastive'; otherwise pass loss='softmax' to silence this warning.",
            AmbiguousTargetWarning,
        )
    return selected


def _encode_target(
    raw: RawTrainingData, data_format: DataFormat
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the targets as an array, and the classes whose codes it contains."""
    match data_format:
        case DataFormat.LABELS | DataFormat.PAIR_LABELS | DataFormat.ROW_LABELS:
            return _encode_classes(column_or_1d(raw.y, warn=True), raw.classes)
        case DataFormat.SCORES | DataFormat.BINARY | DataFormat.LISTS:
            return _check_numbers(raw.y).ravel(), None
        case DataFormat.ROW_VALUES:
            return _check_numbers(raw.y), None
        case DataFormat.EMBEDDINGS:
            return _check_numbers(raw.y, ensure_2d=True), None
        case DataFormat.MARGINS:
            target = _check_numbers(raw.y)
            if target.ndim == 2 and target.shape[1] == 2:  # a teacher's two scores
                return target[:, 0] - target[:, 1], None
            return column_or_1d(target), None
    return None, None


def _check_numbers(y: Any, *, ensure_2d: bool = False) -> np.ndarray:
    return check_array(y, ensure_2d=ensure_2d, dtype=np.float32, input_name="y")


def _encode_classes(y: np.ndarray, classes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    found, target = np.unique(y, return_inverse=True)
    if classes is not None:
        codes = {label: code for code, label in enumerate(classes.tolist())}
        if unknown := [label for label in found.tolist() if label not in codes]:
            raise ValueError(
                f"y has the classes {unknown}, which the model does not have: its classes are "
                f"{classes.tolist()}."
            )
        return np.array([codes[label] for label in found.tolist()])[target], classes
    if len(found) < 2:
        label = found.tolist()[0]
        raise ValueError(f"y contains a single class ({label!r}); at least two are required.")
    return target, found


def _number_lists(raw: RawTrainingData) -> np.ndarray:
    """Return the number of each row's list: that of its query."""
    names = np.asarray(raw.columns.texts[0], dtype=object)
    if raw.query_id is not None:
        names = check_query_id(raw.query_id, len(names))
    # In order of appearance, so that batches do not depend on the names.
    return pd.factorize(names)[0].astype(np.int64)


def _scale_scores(
    scores: np.ndarray, score_range: tuple[float, float] | None, n_training_rows: int
) -> tuple[np.ndarray, tuple[float, float]]:
    """Scale scores to 0 to 1, and return the range that was scaled."""
    if score_range is None:
        low, high = float(scores.min()), float(scores.max())
        if low >= 0 and high <= 1:
            return scores, (0.0, 1.0)
        if low == high:
            raise ValueError(
                f"y is {low:g} in all rows, so that its range is unknown. Pass score_range, the lowest "
                "and the highest possible similarity."
            )
        ends = f"({_format_exactly(low)}, {_format_exactly(high)})"
        warn(
            f"y goes from {low:g} to {high:g} and is scaled to 0 to 1. Pass score_range={ends} to "
            "silence this warning, above all if not every fold has the whole range.",
            AmbiguousTargetWarning,
        )
    else:
        if len(score_range) != 2 or not all(isinstance(end, Real) for end in score_range):
            raise ValueError(f"score_range={score_range!r}: pass two numbers, the smaller first.")
        # As Python floats, which numpy compares in the dtype of the scores.
        low, high = map(float, score_range)
    if low >= high:
        raise ValueError(f"score_range={score_range!r}: pass two numbers, the smaller first.")
    if (outside := (scores < low) | (scores > high)).any():
        row = int(outside.argmax())
        raise ValueError(
            f"{describe_target(row, n_training_rows)} is {_format_exactly(scores[row])}, outside of "
            f"score_range=({_format_exactly(low)}, {_format_exactly(high)}). Pass a score_range that "
            "covers all of y; a warm start keeps that of the first fit."
        )
    return (scores - low) / (high - low), (low, high)


def _format_exactly(score: float) -> str:
    """Return the shortest number that equals a score, which is a float32."""
    return np.format_float_positional(np.float32(score), trim="-")


def describe_target(row: int, n_training_rows: int) -> str:
    """Return the position of a row's target, for error messages."""
    if row < n_training_rows:
        return f"y[{row}]"
    return f"row {row - n_training_rows} of the y of validation_data"
