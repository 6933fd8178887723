"""What `X` and `y` are to a loss: the shape of the data, each text once, targets and weights."""

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils import check_array, column_or_1d, compute_class_weight
from sklearn.utils.validation import check_consistent_length

from .._inputs import MISSING, TextColumns, check_no_missing, check_query_id, unique_texts
from .._types import Text
from .._warn import warn
from ..exceptions import AmbiguousTargetWarning, MissingTextWarning
from ..losses import DataFormat
from .task import Task


@dataclass(frozen=True)
class TrainingDataset:
    """Rows to learn from."""

    shape: DataFormat
    texts: list[Text]
    columns: np.ndarray
    rows: np.ndarray
    target: np.ndarray | None = None
    classes: np.ndarray | None = None
    weight: np.ndarray | None = None
    lists: np.ndarray | None = None
    score_range: tuple[float, float] = (0.0, 1.0)
    features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_outputs(self) -> int:
        """Number of classes, or of dimensions of a target vector."""
        if self.classes is not None:
            return len(self.classes)
        return 1 if self.target is None or self.target.ndim == 1 else self.target.shape[1]

    def take(self, rows: np.ndarray) -> Self:
        """Return some of the rows."""

        def of(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return replace(
            self,
            columns=self.columns[:, rows],
            rows=self.rows[rows],
            target=of(self.target),
            weight=of(self.weight),
            lists=of(self.lists),
            features=of(self.features),
        )


def build_dataset(
    columns: TextColumns,
    y: Any,
    *,
    kind: Task,
    data: tuple[DataFormat, ...] | None,
    missing_is_empty: bool,
    sample_weight: Any = None,
    query_id: Any = None,
    classes: np.ndarray | None = None,
    features: np.ndarray | None = None,
    class_weight: Any = None,
    score_range: tuple[float, float] | None = None,
    n_own: int | None = None,
) -> TrainingDataset:
    """Find out what the data are, and check them."""
    n_rows, n_columns = columns.n_rows, columns.n_columns
    n_own = n_rows if n_own is None else n_own
    if y is not None:
        check_consistent_length(columns.missing, y)
        check_no_missing(y)
    possible = kind.possible_formats(n_columns, y, query_id is not None, data)
    shape = _choose_shape(possible, data, score_range)
    target, classes = _read_target(y, shape, classes)
    ends = (0.0, 1.0)
    if shape == DataFormat.SCORES and target is not None:
        target, ends = _scaled(target, score_range, n_own)
    distinct = unique_texts(kind.arrange(columns), missing_is_empty=missing_is_empty)
    kept = np.flatnonzero((distinct.inverse != MISSING).all(axis=0))
    if not (kept < n_own).any():
        raise ValueError("X has no row without a missing text: there is nothing to learn from.")
    if n_own < n_rows and not (kept >= n_own).any():
        raise ValueError("the X of validation_data has no row without a missing text.")
    examples = TrainingDataset(
        shape=shape,
        texts=distinct.texts,
        columns=distinct.inverse,
        rows=np.arange(n_rows),
        target=target,
        classes=classes,
        weight=_weights(target, classes, kept[kept < n_own], sample_weight, class_weight),
        lists=_lists(columns, query_id) if shape == DataFormat.LISTS else None,
        score_range=ends,
        features=features,
    )
    if len(kept) < n_rows:
        warn(
            f"{n_rows - len(kept)} of {n_rows} rows have a missing text, and nothing is learnt from "
            "them. Fill them, or pass missing='empty' or 'error'.",
            MissingTextWarning,
        )
    if examples.weight is not None:
        kept = kept[examples.weight[kept] > 0]
        _check_any_weight(kept, n_own, n_rows)
    return examples if len(kept) == n_rows else examples.take(kept)


def _check_any_weight(kept: np.ndarray, n_own: int, n_rows: int) -> None:
    """Raise if no row to learn from, or none to validate on, has a weight above 0."""
    if not (kept < n_own).any():
        raise ValueError(
            "sample_weight and class_weight leave no row of X with a text and a weight above 0: there "
            "is nothing to learn from."
        )
    if n_own < n_rows and not (kept >= n_own).any():
        raise ValueError("class_weight leaves no row of validation_data with a weight above 0.")


def _choose_shape(
    possible: list[DataFormat],
    data: tuple[DataFormat, ...] | None,
    score_range: tuple[float, float] | None,
) -> DataFormat:
    """Choose among what the data can be, by what the parameters say."""
    if score_range is not None and DataFormat.SCORES in possible:
        possible = [
            shape for shape in possible if shape not in (DataFormat.PAIR_LABELS, DataFormat.LABELS)
        ]
        if tuple(score_range) != (0, 1):
            # A fold may have nothing but 0 and 1 of scores that go further.
            possible = [shape for shape in possible if shape != DataFormat.BINARY]
    shape = next((shape for shape in possible if data is None or shape in data), possible[0])
    if data is None and shape == DataFormat.PAIR_LABELS and DataFormat.BINARY in possible:
        warn(
            "X has two columns of text and y is 0 or 1, which is read as the class of each row, "
            "loss='softmax'. If it says whether the two texts belong together, pass "
            "loss='online_contrastive'; otherwise name loss='softmax' or another one to say so.",
            AmbiguousTargetWarning,
        )
    return shape


def _read_target(
    y: Any, shape: DataFormat, classes: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the targets, and the classes that they are codes of."""
    if shape in (DataFormat.LABELS, DataFormat.PAIR_LABELS, DataFormat.ROW_LABELS):
        return _class_codes(column_or_1d(y, warn=True), classes)
    if shape in (DataFormat.SCORES, DataFormat.BINARY, DataFormat.LISTS):
        target = check_array(y, ensure_2d=False, dtype=np.float32, input_name="y").ravel()
        return target, None
    if shape == DataFormat.ROW_VALUES:
        return check_array(y, ensure_2d=False, dtype=np.float32, input_name="y"), None
    if shape == DataFormat.EMBEDDINGS:
        return check_array(y, dtype=np.float32, input_name="y"), None
    if shape == DataFormat.MARGINS:
        target = check_array(y, ensure_2d=False, dtype=np.float32, input_name="y")
        # A teacher's scores of the positive and the negative are a margin, too.
        is_scores = target.ndim == 2 and target.shape[1] == 2
        return (target[:, 0] - target[:, 1] if is_scores else column_or_1d(target)), None
    return None, None


def _class_codes(
    y: np.ndarray, classes: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    found, target = np.unique(y, return_inverse=True)
    if classes is not None:
        place = {label: code for code, label in enumerate(classes.tolist())}
        if unknown := [label for label in found.tolist() if label not in place]:
            raise ValueError(
                f"y has the classes {unknown}, which the model does not know: it has "
                f"{classes.tolist()}."
            )
        return np.array([place[label] for label in found.tolist()])[target], classes
    if len(found) < 2:
        raise ValueError(
            f"y has one class, {found[0]}: there is nothing to tell apart. Pass rows of two "
            "or more classes, or no y."
        )
    return target, found


def _lists(columns: TextColumns, query_id: Any) -> np.ndarray:
    """Return the number of each row's list: its query."""
    names = np.asarray(columns.texts[0], dtype=object)
    if query_id is not None:
        names = check_query_id(query_id, len(names))
    # In the order of the rows, so that the batches do not depend on the names.
    return pd.factorize(names)[0].astype(np.int64)


def _scaled(
    scores: np.ndarray, score_range: tuple[float, float] | None, n_own: int
) -> tuple[np.ndarray, tuple[float, float]]:
    """Scale similarities to 0..1, and return what was scaled to these."""
    if score_range is None:
        low, high = float(scores.min()), float(scores.max())
        if low >= 0 and high <= 1:
            return scores, (0.0, 1.0)
        if low == high:
            raise ValueError(
                f"y is {low:g} in all rows, which says nothing of a scale. Pass score_range, the "
                "numbers that mean 'nothing in common' and 'the same'."
            )
        warn(
            f"y goes from {low:g} to {high:g} and is scaled to 0 to 1. Pass "
            f"score_range=({low:g}, {high:g}) to say so, above all where not every fold has "
            "all of the range.",
            AmbiguousTargetWarning,
        )
    else:
        if len(score_range) != 2 or not all(isinstance(end, Real) for end in score_range):
            raise ValueError(
                f"score_range={score_range!r}: pass two numbers, the smaller one first."
            )
        # Numbers of Python, with which numpy compares arrays in the dtype of the scores.
        low, high = map(float, score_range)
    if low >= high:
        raise ValueError(
            f"similarities go from {low:g} to {high:g}: score_range must be two numbers, the smaller "
            "one first."
        )
    outside = np.flatnonzero((scores < low) | (scores > high))
    if len(outside):
        row = int(outside[0])
        place = f"y[{row}]" if row < n_own else f"row {row - n_own} of the y of validation_data"
        raise ValueError(
            f"{place} is {scores[row]:g}, outside of score_range=({low:g}, {high:g}). Pass a "
            "score_range that covers all of y; a warm start keeps the one of the first fit."
        )
    return (scores - low) / (high - low), (low, high)


def _weights(
    target: np.ndarray | None,
    classes: np.ndarray | None,
    learnt: np.ndarray,
    sample_weight: Any,
    class_weight: Any,
) -> np.ndarray | None:
    """Multiply the weights of rows and of classes, as these are among the rows to learn from."""
    weight = None if sample_weight is None else sample_weight.astype(np.float32)
    if class_weight is not None:
        if classes is None or target is None:
            raise ValueError(f"class_weight={class_weight!r}, but y holds no classes; pass None.")
        there = np.unique(target[learnt])
        of_class = np.ones(len(classes))
        of_class[there] = compute_class_weight(
            class_weight, classes=classes[there], y=classes[target[learnt]]
        )
        weight = of_class[target].astype(np.float32) * (1 if weight is None else weight)
    return weight
