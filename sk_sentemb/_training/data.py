"""The rows to learn from, those to validate on, and the loss that is for them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .._inputs import TextColumns, check_no_missing, read_text_columns
from .._warn import warn
from ..exceptions import FineTuningWarning, IgnoredParameterWarning
from ..losses import DataFormat, Loss
from ..losses.cross_encoder import LambdaLoss
from .auto_parameters import choose_loss
from .dataset import TrainingDataset, build_dataset
from .evaluation import Metric
from .fine_tuner import FineTuner
from .task import EMBEDDING, Task, as_array


@dataclass(frozen=True)
class RawTrainingData:
    """Rows to learn from, as an estimator has them."""

    columns: TextColumns
    y: Any = None
    sample_weight: Any = None
    query_id: Any = None
    classes: np.ndarray | None = None
    features: np.ndarray | None = None
    held_out: "RawTrainingData | None" = None

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return self.columns.n_rows


def prepare_data(
    fine_tuner: FineTuner, data: RawTrainingData, *, kind: Task, missing_is_empty: bool
) -> tuple[TrainingDataset, Loss]:
    """Read the rows and, after them, those of `validation_data`, so that all are read alike."""
    held_out = data.held_out
    if held_out is None and fine_tuner.validation_data is not None:
        given = fine_tuner.validation_data
        if len(given) != 2:
            raise ValueError(f"validation_data has {len(given)} items; pass (X, y), or (X, None).")
        held_out = _read_validation_data(*given)
    n_own = data.n_rows
    if held_out is not None:
        data = _appended(data, held_out)
    examples = build_dataset(
        data.columns,
        data.y,
        kind=kind,
        data=requested_formats(fine_tuner, kind),
        missing_is_empty=missing_is_empty,
        sample_weight=data.sample_weight,
        query_id=data.query_id,
        classes=data.classes,
        features=data.features,
        class_weight=fine_tuner.class_weight,
        score_range=fine_tuner.score_range,
        n_own=n_own,
    )
    loss = choose_loss(fine_tuner, kind, examples)
    compares_rows = loss.groups_classes or (
        examples.shape in (DataFormat.PAIRS, DataFormat.TEXTS) and kind is EMBEDDING
    )
    if fine_tuner.batch_size == 1 and compares_rows:
        raise ValueError("batch_size=1, but the loss compares the rows of a batch; pass 2 or more.")
    if data.query_id is not None and examples.lists is None:
        warn(
            f"query_id has no effect: loss={loss} does not compare the rows of a list.",
            IgnoredParameterWarning,
        )
    if examples.lists is not None:
        _check_grades(examples, loss, n_own)
        _check_lists(examples.take(np.flatnonzero(examples.rows < n_own)), loss)
    _check_metric(fine_tuner.metric, examples, kind)
    return examples, loss


def requested_formats(fine_tuner: FineTuner, kind: Task) -> tuple[DataFormat, ...] | None:
    """Return the shapes of data that a named loss is for; None where the data decide."""
    if fine_tuner.loss == "auto":
        return None
    loss = kind.resolve_loss(fine_tuner.loss)
    return None if loss.follows_data else loss.formats


def _read_validation_data(X: Any, y: Any) -> RawTrainingData:
    columns = read_text_columns(X, "the X of validation_data")
    if y is not None:
        check_no_missing(y, "validation_data[1]")
        if (n_targets := len(y)) != columns.n_rows:
            raise ValueError(
                f"validation_data has {columns.n_rows} rows of X and {n_targets} of y; pass a "
                "target for each row."
            )
    return RawTrainingData(columns, y)


def _check_grades(examples: TrainingDataset, loss: Loss, n_own: int) -> None:
    """Raise for a grade that is too high for the loss."""
    assert examples.target is not None
    if loss.max_grade is None or examples.target.max() <= loss.max_grade:
        return
    at = examples.target.argmax()
    row = examples.rows[at]
    place = f"y[{row}]" if row < n_own else f"row {row - n_own} of the y of validation_data"
    raise ValueError(
        f"{place} is {examples.target[at]:g}, and loss={loss} takes grades up to {loss.max_grade:g}, "
        "since the gain of a grade g is 2**g - 1. Pass small grades such as 0 to 4, or "
        "loss='ranknet' or 'listnet'."
    )


def _check_lists(examples: TrainingDataset, loss: Loss) -> None:
    """Say how many lists have one grade, of which a loss learns nothing."""
    assert examples.target is not None
    assert examples.lists is not None
    # To LambdaLoss, grades below 0 are 0.
    grades = np.maximum(examples.target, 0) if isinstance(loss, LambdaLoss) else examples.target
    by_list = pd.Series(grades).groupby(examples.lists).nunique()
    n_useless = int((by_list < 2).sum())
    if n_useless == len(by_list):
        raise ValueError(
            f"no list has two grades, and loss={loss} compares the rows of a list: there is nothing to "
            "learn. Pass query_id, the query that each row belongs to, or a loss of single rows such as "
            "'binary_cross_entropy'."
        )
    if n_useless:
        warn(
            f"{n_useless} of {len(by_list)} lists have one grade, and nothing is learnt from them.",
            FineTuningWarning,
        )


def _check_metric(metric: str | Metric, examples: TrainingDataset, kind: Task) -> None:
    """Raise if it cannot be of such data."""
    target = examples.target if len(examples.columns) == kind.n_compared else None
    is_of_many = examples.classes is not None and examples.n_outputs > 2
    if is_of_many or (kind is EMBEDDING and examples.shape == DataFormat.LABELS):
        target = None
    if metric in ("spearman", "average_precision") and target is None:
        raise ValueError(
            f"metric={metric!r} is of pairs of texts and a number for each; pass 'auto', 'loss' or a "
            "function."
        )
    if metric == "average_precision" and target is not None and not set(target.tolist()) <= {0, 1}:
        raise ValueError(
            "metric='average_precision' is of 0 and 1, and y has other numbers; pass 'auto', "
            "'spearman' or another."
        )
    if metric == "ndcg" and examples.lists is None:
        raise ValueError("metric='ndcg' is of lists, for losses of lists; pass 'auto' or another.")


def check_classes(examples: TrainingDataset) -> None:
    """Say how many classes have no two texts, of which a loss compares texts of a class."""
    assert examples.target is not None
    _, sizes = np.unique(examples.target, return_counts=True)
    n_single = int((sizes == 1).sum())
    if n_single == len(sizes):
        raise ValueError(
            "no class in y has two texts, and the loss compares texts of a class. Pass more texts, "
            "fewer classes, or loss='softmax'."
        )
    if n_single:
        warn(
            f"{n_single} of {len(sizes)} classes have one text: other classes are kept apart from it, "
            "and nothing is pulled to it.",
            FineTuningWarning,
        )


def _appended(data: RawTrainingData, more: RawTrainingData) -> RawTrainingData:
    """Put the rows that are held out below the others."""
    n_columns, n_more = data.columns.n_columns, more.columns.n_columns
    if n_more != n_columns:
        raise ValueError(
            f"X has {n_columns} columns and that of validation_data has {n_more}; pass as many."
        )
    if (data.y is None) != (more.y is None):
        raise ValueError("of y and the y of validation_data, one is None; pass both or neither.")
    columns = TextColumns(
        [a + b for a, b in zip(data.columns.texts, more.columns.texts, strict=True)],
        np.concatenate([data.columns.missing, more.columns.missing]),
        data.columns.names,
    )
    queries = data.query_id
    if queries is not None:
        # The lists of the rows that are held out are those of their queries.
        numbered = (queries, np.asarray(more.columns.texts[0], dtype=object))
        own, other = (pd.factorize(np.asarray(of))[0] for of in numbered)
        queries = np.concatenate([own, own.max() + 1 + other])
    weight = data.sample_weight
    if weight is not None:
        weight = np.concatenate([weight, np.ones(more.n_rows)])
    features = data.features
    if features is not None and more.features is not None:
        features = np.concatenate([features, more.features])
    if data.y is not None and np.ndim(data.y) != np.ndim(more.y):
        raise ValueError(
            f"y has the shape {np.shape(data.y)} and that of validation_data {np.shape(more.y)}; pass "
            "arrays of as many dimensions."
        )
    if data.y is not None:
        _check_same_type(data.y, more.y)
    y = None if data.y is None else np.concatenate([data.y, more.y])
    return replace(
        data, columns=columns, y=y, sample_weight=weight, query_id=queries, features=features
    )


def _check_same_type(y: Any, more: Any) -> None:
    """Raise if one is of strings and the other of numbers, of which numpy would make strings."""
    kinds = ["strings" if as_array(of).dtype.kind in "US" else "numbers" for of in (y, more)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"y has {kinds[0]} and the y of validation_data has {kinds[1]}; pass the same classes in "
            "both."
        )
