"""Draw the batches of training and validation that the loss and the parameters ask for."""

import numpy as np

from .._warn import warn
from ..exceptions import FineTuningWarning
from ..losses import POSITIVES, BatchRows, DataFormat, Loss, Need
from .batch_sampler import batches_of_epoch
from .dataset import TrainingDataset
from .task import EMBEDDING, Task


def draw_batches(
    sampling: str,
    batch_size: int,
    kind: Task,
    loss: Loss,
    examples: TrainingDataset,
    draw: np.random.Generator,
    *,
    spread: bool = False,
) -> list[np.ndarray]:
    """Draw the batches of one epoch."""
    labels = examples.target if examples.classes is not None else None
    if examples.shape == DataFormat.BINARY and examples.target is not None:
        labels = examples.target.astype(np.int64)
    if sampling in ("grouped", "balanced") and labels is None:
        raise ValueError(f"sampling={sampling!r}, but y holds no classes; pass 'auto'.")
    return batches_of_epoch(
        draw,
        examples.columns,
        batch_size=batch_size,
        labels=labels,
        grouped=sampling == "grouped" or (sampling != "shuffle" and loss.groups_classes),
        spread=spread,
        balanced=sampling == "balanced",
        # There the rows of a batch are each other's negatives.
        distinct=kind is EMBEDDING
        and examples.shape in (DataFormat.PAIRS, DataFormat.TRIPLETS, DataFormat.TEXTS),
        lists=examples.lists,
    )


def is_informative(need: Need, examples: TrainingDataset, rows: np.ndarray) -> bool:
    """Return whether a batch has what a loss compares."""
    target, lists = examples.target, examples.lists
    return need.is_met(
        BatchRows(
            n_columns=len(examples.columns),
            n_rows=len(rows),
            target=None if target is None else target[rows],
            query_ids=None if lists is None else lists[rows],
        )
    )


def check_informative(loss: Loss, examples: TrainingDataset, batches: list[np.ndarray]) -> None:
    """Warn of batches in which the loss has nothing to compare."""
    if not any(is_informative(loss.needs, examples, rows) for rows in batches):
        raise ValueError(
            f"there is nothing to learn: loss={loss} needs {loss.needs.words} in a batch, and no batch "
            f"of the {len(examples)} rows has that. Pass other rows, a larger batch_size or another "
            "loss."
        )
    if examples.lists is not None:
        return  # those of one grade have been counted one by one
    # By chance, a small batch may have one class. It teaches little, but more than nothing.
    need = POSITIVES if loss.groups_classes else loss.needs
    if n_useless := sum(not is_informative(need, examples, rows) for rows in batches):
        warn(
            f"in {n_useless} of the {len(batches)} batches of an epoch there is nothing to compare: "
            f"loss={loss} needs {need.words} in a batch. Pass other rows, a larger batch_size or "
            "another loss.",
            FineTuningWarning,
        )
