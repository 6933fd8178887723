"""Split the rows into a training set and a validation set."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.utils.extmath import _approximate_mode

from .._warn import warn
from ..exceptions import FineTuningWarning
from ..losses import DataFormat, Loss, require
from .dataset import TrainingDataset
from .fine_tuner import FineTuner
from .task import EMBEDDING, Task

# The default fraction with early stopping.
_VALIDATION_FRACTION = 0.1

# The minimum number of validation rows if they are compared with each other.
_MIN_COMPARED_ROWS = 6

# The maximum number of bins that numbers are stratified by.
_MAX_BINS = 10


@dataclass(frozen=True)
class Units:
    """Units that are held out as a whole: rows, pairs of rows of one class, or lists."""

    rows: list[np.ndarray]
    strata: np.ndarray  # of each unit
    n_wanted: int  # units to hold out
    n_kept: int = 1  # units of each stratum to train on, where possible


def split_validation(
    fine_tuner: FineTuner, dataset: TrainingDataset, loss: Loss, task: Task, seed: int
) -> tuple[TrainingDataset, TrainingDataset | None]:
    """Return the training set and the validation set."""
    if fine_tuner.validation_data is not None:
        is_training_row = dataset.is_training_row
        return dataset.take(is_training_row), dataset.take(~is_training_row)
    fraction = fine_tuner.validation_fraction
    if fraction is None and fine_tuner.early_stopping:
        fraction = _VALIDATION_FRACTION
    if fraction is None:
        return dataset, None
    query_ids = dataset.query_ids
    is_listwise = query_ids is not None
    n_parts = len(dataset) if query_ids is None else len(np.unique(query_ids))
    if n_parts < 2:
        raise ValueError(
            f"validation_fraction={fraction} requires two {'lists' if is_listwise else 'rows'}, got "
            "one. Pass validation_data, or neither validation_fraction nor early_stopping."
        )
    n_wanted = n_asked = min(int(np.ceil(fraction * n_parts)), n_parts - 1)
    if not is_listwise and _compares_rows(fine_tuner, dataset, loss, task):
        n_wanted = max(n_asked, min(_MIN_COMPARED_ROWS, n_parts // 2))
    if n_wanted > n_asked and fine_tuner.validation_fraction is not None:
        warn(
            f"validation_fraction={fraction} is {n_asked} of {n_parts} rows, but {n_wanted} are held "
            "out, because the metric compares them with each other. Pass a larger fraction, or "
            "validation_data.",
            FineTuningWarning,
        )
    rng = np.random.RandomState(seed)
    held_out = _hold_out(_make_units(dataset, loss, n_wanted, rng), rng)
    training = np.setdiff1d(np.arange(len(dataset)), held_out)
    return dataset.take(training), dataset.take(held_out)


def _compares_rows(fine_tuner: FineTuner, dataset: TrainingDataset, loss: Loss, task: Task) -> bool:
    """Return whether the score of one or two rows would not depend on the model."""
    if loss.groups_classes or fine_tuner.metric in ("spearman", "average_precision"):
        return True
    compared = {DataFormat.SCORES, DataFormat.BINARY}
    if task is EMBEDDING:
        compared |= {DataFormat.PAIRS, DataFormat.TEXTS}
    return dataset.format in compared


def _make_units(
    dataset: TrainingDataset, loss: Loss, n_wanted: int, rng: np.random.RandomState
) -> Units:
    """Group the rows into units that stay together, and the units into strata."""
    target, query_ids = dataset.target, dataset.query_ids
    if query_ids is not None:
        grades = pd.Series(require(target, "y").clip(min=0)).groupby(query_ids)
        rows = [np.flatnonzero(query_ids == query) for query in np.unique(query_ids)]
        return Units(rows, (grades.nunique().to_numpy() > 1).astype(np.intp), n_wanted)
    if loss.groups_classes and target is not None:
        pairs = _make_class_pairs(target, n_wanted, rng)
        if pairs is not None:
            return pairs
    return Units(list(np.arange(len(dataset))[:, None]), _make_strata(dataset, n_wanted), n_wanted)


def _make_strata(dataset: TrainingDataset, n_wanted: int) -> np.ndarray:
    """Return the stratum of each row: its class, or the bin of its target."""
    target = dataset.target
    if target is None or (target.ndim == 2 and target.shape[1] > 1):
        return np.zeros(len(dataset), dtype=np.intp)
    values = target.ravel()
    if dataset.classes is None:
        n_bins = min(_MAX_BINS, n_wanted)
        edges = np.quantile(values, np.arange(1, n_bins) / n_bins)
        values = np.searchsorted(np.unique(edges), values)
    return np.unique(values, return_inverse=True)[1]


def _make_class_pairs(
    target: np.ndarray, n_wanted: int, rng: np.random.RandomState
) -> Units | None:
    """Group the rows of each class into pairs, because the loss compares rows of a class."""
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
    # No class can spare two rows, so that whole classes are held out, if enough are left.
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
    drawn = [
        rng.permutation(np.flatnonzero(units.strata == stratum))[:count]
        for stratum, count in enumerate(counts)
    ]
    return np.sort(np.concatenate([units.rows[unit] for unit in np.concatenate(drawn)]))
