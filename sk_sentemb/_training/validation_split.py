"""Split the rows into those to train on and those to validate on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.utils.extmath import _approximate_mode

from .._warn import warn
from ..exceptions import FineTuningWarning
from ..losses import DataFormat, Loss
from .dataset import TrainingDataset
from .fine_tuner import FineTuner
from .task import EMBEDDING, Task

# The default fraction with early stopping.
_VALIDATION_FRACTION = 0.1

# The fewest rows to validate on if they are compared with each other.
_MIN_COMPARED_ROWS = 6

# The most bins that numbers are stratified by.
_MAX_BINS = 10


@dataclass(frozen=True)
class Units:
    """The units that are held out as a whole: rows, pairs of rows of one class, or lists."""

    rows: list[np.ndarray]
    strata: np.ndarray
    n_wanted: int
    n_kept: int = 1


def split(
    fine_tuner: FineTuner, examples: TrainingDataset, loss: Loss, kind: Task, n_rows: int, seed: int
) -> tuple[TrainingDataset, TrainingDataset | None]:
    """Split the rows into a training set and a validation set."""
    if fine_tuner.validation_data is not None:
        own = examples.rows < n_rows
        return examples.take(np.flatnonzero(own)), examples.take(np.flatnonzero(~own))
    fraction = fine_tuner.validation_fraction
    if fraction is None and fine_tuner.early_stopping:
        fraction = _VALIDATION_FRACTION
    if fraction is None:
        return examples, None
    n_parts = len(examples) if examples.lists is None else len(np.unique(examples.lists))
    if n_parts < 2:
        what = "row" if examples.lists is None else "list"
        raise ValueError(
            f"validation_fraction={fraction}, but there is one {what}, and none is left to learn from. "
            "Pass validation_data, or neither validation_fraction nor early_stopping."
        )
    n_wanted = n_asked = min(int(np.ceil(fraction * n_parts)), n_parts - 1)
    if examples.lists is None and _compares_rows(fine_tuner, examples, loss, kind):
        n_wanted = max(n_asked, min(_MIN_COMPARED_ROWS, n_parts // 2))
    if n_wanted > n_asked and fine_tuner.validation_fraction is not None:
        warn(
            f"validation_fraction={fraction} is {n_asked} of {n_parts} rows, and {n_wanted} are held "
            "out, which the metric compares with each other. Pass a larger fraction, or "
            "validation_data.",
            FineTuningWarning,
        )
    rng = np.random.RandomState(seed)
    held_out = _hold_out(_make_units(examples, loss, n_wanted, rng), rng)
    learnt = np.setdiff1d(np.arange(len(examples)), held_out)
    return examples.take(learnt), examples.take(held_out)


def _compares_rows(
    fine_tuner: FineTuner, examples: TrainingDataset, loss: Loss, kind: Task
) -> bool:
    """Return whether one row, or two, would have the same score whatever the model is."""
    if loss.groups_classes or fine_tuner.metric in ("spearman", "average_precision"):
        return True
    compared = (
        (DataFormat.SCORES, DataFormat.BINARY, DataFormat.PAIRS, DataFormat.TEXTS)
        if kind is EMBEDDING
        else (DataFormat.SCORES, DataFormat.BINARY)
    )
    return examples.shape in compared


def _make_units(
    examples: TrainingDataset, loss: Loss, n_wanted: int, rng: np.random.RandomState
) -> Units:
    """Group the rows into units that stay together, and the units into strata."""
    target, lists = examples.target, examples.lists
    if lists is not None:
        assert target is not None
        graded = pd.Series(target.clip(min=0)).groupby(lists).nunique().to_numpy() > 1
        rows = [np.flatnonzero(lists == one) for one in np.unique(lists)]
        return Units(rows, graded.astype(np.intp), n_wanted)
    if loss.groups_classes and target is not None:
        pairs = _pairs_of_classes(target, n_wanted, rng)
        if pairs is not None:
            return pairs
    rows = list(np.arange(len(examples))[:, None])
    return Units(rows, _strata(examples, n_wanted), n_wanted)


def _strata(examples: TrainingDataset, n_wanted: int) -> np.ndarray:
    """Return the number of the class of each row, or of the bin of its target."""
    target = examples.target
    if target is None or (target.ndim == 2 and target.shape[1] > 1):
        return np.zeros(len(examples), dtype=np.intp)
    values = target.ravel()
    if examples.classes is None:
        n_bins = min(_MAX_BINS, n_wanted)
        edges = np.quantile(values, np.arange(1, n_bins) / n_bins)
        values = np.searchsorted(np.unique(edges), values)
    return np.unique(values, return_inverse=True)[1]


def _pairs_of_classes(
    target: np.ndarray, n_wanted: int, rng: np.random.RandomState
) -> Units | None:
    """Group the rows of each class into pairs, since the loss compares rows of a class.

    Where no class can spare two rows, whole classes are held out; None if there are too few of these.
    """
    pairs, strata = [], []
    for code in np.unique(target):
        rows = rng.permutation(np.flatnonzero(target == code))
        of_class = list(rows[: len(rows) // 2 * 2].reshape(-1, 2))
        pairs += of_class
        strata += [code] * len(of_class)
    if not pairs:
        return None
    numbers, sizes = np.unique(strata, return_inverse=True, return_counts=True)[1:]
    n_pairs = max(2, n_wanted // 2)
    if np.count_nonzero(sizes > 1) > 1:
        return Units(pairs, numbers, n_pairs)
    if len(sizes) < 4:
        return None
    return Units(pairs, np.zeros(len(pairs), dtype=np.intp), min(n_pairs, len(sizes) - 2), n_kept=2)


def _hold_out(units: Units, rng: np.random.RandomState) -> np.ndarray:
    """Draw units of all strata, in proportion to their sizes, and return their rows."""
    sizes = np.bincount(units.strata)
    available = np.maximum(sizes - units.n_kept, 0)
    if not available.any():
        available = sizes
    counts = _approximate_mode(available, min(units.n_wanted, available.sum()), rng)
    for stratum in np.flatnonzero((counts == 0) & (available > 0)):
        largest = counts.argmax()
        if counts[largest] > 1:
            counts[largest] -= 1
            counts[stratum] = 1
    chosen = [
        rng.permutation(np.flatnonzero(units.strata == stratum))[:count]
        for stratum, count in enumerate(counts)
    ]
    return np.sort(np.concatenate([units.rows[unit] for unit in np.concatenate(chosen)]))
