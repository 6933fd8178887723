"""What `X` and `y` are to a loss: the shape of the data, each text once, targets and weights."""

import warnings
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils import check_array, column_or_1d, compute_class_weight
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_consistent_length

from ..columns import TextColumns
from ..distinct import NO_TEXT, distinct_texts
from .losses import BINARY, CLASSES, LABELS, PAIRS, SCORES, TEXTS, TRIPLETS, VECTORS

_WITHOUT_Y = {1: TEXTS, 2: PAIRS, 3: TRIPLETS}


@dataclass(frozen=True)
class Examples:
    """Rows to learn from.

    Attributes
    ----------
    shape : str
        Which of the shapes that losses are for.
    texts : list of str
        Each once.
    columns : ndarray of shape (n_columns, n_rows), intp
        Which text stands where.
    rows : ndarray of shape (n_rows,)
        Which rows of `X` they are; those without text are left out.
    target : ndarray of shape (n_rows,) or (n_rows, n_outputs), or None
        Class codes (int64), numbers or vectors (float32).
    classes : ndarray or None
        The classes that codes stand for.
    weight : ndarray of shape (n_rows,), float32, or None
        How much each row counts.
    """

    shape: str
    texts: list[str]
    columns: np.ndarray
    rows: np.ndarray
    target: np.ndarray | None = None
    classes: np.ndarray | None = None
    weight: np.ndarray | None = None

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
        )


def read_examples(
    columns: TextColumns,
    y: Any,
    *,
    data: tuple[str, ...] | None,
    missing_is_empty: bool,
    sample_weight: Any = None,
    class_weight: Any = None,
    score_range: tuple[float, float] | None = None,
) -> Examples:
    """Find out what the data are, and check them.

    Parameters
    ----------
    columns : TextColumns
        The texts.
    y : array-like of shape (n_rows,) or (n_rows, n_outputs), or None
        The targets.
    data : tuple of str or None
        The shapes that the loss is for; None where it is yet to be chosen.
    missing_is_empty : bool
        Whether a missing cell is the empty text; otherwise its row is left out, with a warning.
    sample_weight : array-like of shape (n_rows,), default=None
        How much each row counts.
    class_weight : dict or "balanced", default=None
        How much each class counts.
    score_range : (float, float), default=None
        The numbers that mean "nothing in common" and "the same"; None for the smallest and the
        largest in ``y``.

    Returns
    -------
    rows : Examples
        Those without a missing text.

    Raises
    ------
    ValueError
        If there is no loss for such data, or ``y`` or a weight is not as it should be.
    """
    n_rows, n_columns = columns.missing.shape
    if y is not None:
        _check_no_missing(y)
    shape = _shape(n_columns, y, data)
    target, classes = None, None
    if shape in (LABELS, CLASSES):
        classes, target = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"y has one class, {classes[0]}: there is nothing to tell apart. Pass rows of two "
                "or more classes, or no y."
            )
    elif shape in (SCORES, BINARY):
        target = check_array(y, ensure_2d=False, dtype=np.float32, input_name="y").ravel()
    elif shape == VECTORS:
        target = check_array(y, dtype=np.float32, input_name="y")
    if target is not None:
        check_consistent_length(columns.missing, target)
    if shape == SCORES and target is not None:
        target = _scaled(target, score_range)
    weight = _weights(columns, target, classes, sample_weight, class_weight)
    distinct = distinct_texts(columns, missing_is_empty=missing_is_empty)
    examples = Examples(
        shape, distinct.texts, distinct.which, np.arange(n_rows), target, classes, weight
    )
    kept = np.flatnonzero((distinct.which != NO_TEXT).all(axis=0))
    if len(kept) == n_rows:
        return examples
    if not len(kept):
        raise ValueError("X has no row without a missing text: there is nothing to learn from.")
    warnings.warn(
        f"{n_rows - len(kept)} of {n_rows} rows have a missing text, and nothing is learnt from them. "
        "Fill them, or pass missing='empty' or 'error'.",
        UserWarning,
        stacklevel=2,
    )
    return examples.take(kept)


def _check_no_missing(y: Any) -> None:
    missing = pd.isna(np.asarray(y, dtype=object))
    if missing.any():
        row = int(np.argwhere(missing)[0, 0])
        raise ValueError(f"y[{row}] is missing (NaN or None). Leave such rows out.")


def _shape(n_columns: int, y: Any, data: tuple[str, ...] | None) -> str:
    """Return the shape of the data; where two are possible, the one that the loss is for."""
    possible = _possible_shapes(n_columns, y)
    wanted = [shape for shape in possible if data is None or shape in data]
    return (wanted or possible)[0]


def _possible_shapes(n_columns: int, y: Any) -> list[str]:
    """Return what the data can be taken for, the likeliest first."""
    if y is None:
        if n_columns in _WITHOUT_Y:
            return [_WITHOUT_Y[n_columns]]
        raise ValueError(
            f"X has {n_columns} columns and y is None: fine-tuning takes one column of texts, two of "
            "pairs (anchor, positive) or three of triplets (anchor, positive, negative)."
        )
    # Of numbers in an object array, such as a column of a frame with mixed types, as well.
    kind = type_of_target(np.asarray(y).tolist() if np.asarray(y).dtype == object else y)
    numeric = np.asarray(y).dtype.kind in "fiub"
    if n_columns == 1 and np.ndim(y) == 2 and np.shape(y)[1] > 1:
        return [VECTORS]
    if n_columns == 1 and kind in ("binary", "multiclass"):
        return [LABELS]
    if n_columns == 2 and kind in ("binary", "multiclass", "continuous"):
        if not numeric:
            return [CLASSES]
        if kind == "continuous":
            return [SCORES]
        if set(np.unique(y)) <= {0, 1}:
            return [BINARY, SCORES, CLASSES]
        # Grades as floats are similarities; as integers they may be codes of classes.
        both = [SCORES, CLASSES]
        return both if np.asarray(y).dtype.kind == "f" else both[::-1]
    raise ValueError(
        f"X has {n_columns} column(s) and y is {kind!r}: there is no loss for that. Pass one column "
        "with classes or with vectors, or two columns with similarities or classes; three columns "
        "(anchor, positive, negative) take no y."
    )


def _scaled(scores: np.ndarray, score_range: tuple[float, float] | None) -> np.ndarray:
    """Scale similarities to 0..1."""
    if score_range is None:
        low, high = float(scores.min()), float(scores.max())
        if low >= 0 and high <= 1:
            return scores
        warnings.warn(
            f"y goes from {low:g} to {high:g} and is scaled to 0 to 1. Pass "
            f"score_range=({low:g}, {high:g}) to say so, above all where not every fold has "
            "all of the range.",
            UserWarning,
            stacklevel=3,
        )
    else:
        if len(score_range) != 2 or not all(isinstance(end, Real) for end in score_range):
            raise ValueError(
                f"score_range={score_range!r}: pass two numbers, the smaller one first."
            )
        low, high = score_range
    if low >= high:
        raise ValueError(
            f"similarities go from {low:g} to {high:g}: score_range must be two numbers, the smaller "
            "one first."
        )
    if scores.min() < low or scores.max() > high:
        row = int(np.flatnonzero((scores < low) | (scores > high))[0])
        raise ValueError(
            f"y[{row}] is {scores[row]:g}, outside of score_range=({low:g}, {high:g})."
        )
    return (scores - low) / (high - low)


def _weights(
    columns: TextColumns,
    target: np.ndarray | None,
    classes: np.ndarray | None,
    sample_weight: Any,
    class_weight: Any,
) -> np.ndarray | None:
    weight = None if sample_weight is None else sample_weight.astype(np.float32)
    if class_weight is not None:
        if classes is None or target is None:
            raise ValueError(f"class_weight={class_weight!r}, but y holds no classes; pass None.")
        of_class = compute_class_weight(class_weight, classes=classes, y=classes[target])
        weight = of_class[target].astype(np.float32) * (1 if weight is None else weight)
    return weight
