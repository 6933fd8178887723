"""The length of training and the interpolation of weights with ``epochs="auto"``."""

from copy import copy

from .._warn import warn
from ..exceptions import IgnoredParameterWarning
from ..losses import DataFormat, Loss
from .dataset import TrainingDataset
from .fine_tuner import FineTuner
from .task import EMBEDDING, Task

# An encoder needs some steps even for few rows; ten epochs are enough for any.
_STEPS, _EPOCHS = 500, 10

# The steps of a head alone cost next to nothing: enough of them to converge.
_HEAD_STEPS, _HEAD_EPOCHS = 2000, 200

# Parameters without effect on a solved head. Early stopping would only take rows away from the solution,
# and the weights before it are random.
_STEP_PARAMETERS = (
    "head_learning_rate",
    "weight_decay",
    "max_steps",
    "freeze_epochs",
    "interpolation",
    "early_stopping",
)

# With this many rows, the weights that are kept are halfway between those before and after training:
# few rows say little about other texts, and pairs without grades less than pairs with grades. Chosen on
# parts of Banking77, docstrings, clothing reviews, SICK and the STS benchmark; benchmarks/defaults.py
# measures on others.
_HALFWAY_PER_CLASS, _HALFWAY_WITH_Y, _HALFWAY_WITHOUT_Y = 6, 256, 1000


def max_epochs(fine_tuner: FineTuner) -> int:
    """Return the largest number of epochs that a training can have."""
    if fine_tuner.epochs != "auto":
        return int(fine_tuner.epochs)
    return _HEAD_EPOCHS if fine_tuner.trainable == "head" else _EPOCHS


def compute_length(fine_tuner: FineTuner, n_batches: int) -> tuple[int, int]:
    """Return the number of epochs and of steps."""
    per_epoch = steps_per_epoch(fine_tuner, n_batches)
    n_epochs = max_epochs(fine_tuner)
    if fine_tuner.epochs == "auto":
        n_wanted = _HEAD_STEPS if fine_tuner.trainable == "head" else _STEPS
        n_epochs = min(n_epochs, max(1, -(-n_wanted // per_epoch)))
    n_steps = n_epochs * per_epoch
    return n_epochs, min(n_steps, fine_tuner.max_steps or n_steps)


def steps_per_epoch(fine_tuner: FineTuner, n_batches: int) -> int:
    """Return the number of optimizer steps in an epoch."""
    return -(-n_batches // fine_tuner.gradient_accumulation)


def starts_from_solution(fine_tuner: FineTuner, loss: Loss) -> bool:
    """Return whether the head gets its optimal weights, before training or instead of it."""
    if fine_tuner.epochs != "auto" or not loss.solves_head:
        return False
    # The solution counts all rows once, and other samplings draw some rows more often.
    return fine_tuner.sampling in ("auto", "shuffle")


def without_steps(fine_tuner: FineTuner) -> FineTuner:
    """Return a copy with defaults for parameters that a solver ignores, and warn of them."""
    defaults = FineTuner().get_params(deep=False)
    given = [name for name in _STEP_PARAMETERS if getattr(fine_tuner, name) != defaults[name]]
    if given:
        warn(
            f"{' and '.join(given)} {'have' if len(given) > 1 else 'has'} no effect: with "
            "trainable='head' and epochs='auto', a linear head is fitted by a solver, not in steps. "
            "Pass a number of epochs to train it.",
            IgnoredParameterWarning,
        )
    return copy(fine_tuner).set_params(**{name: defaults[name] for name in given})


def compute_interpolation_ratio(
    fine_tuner: FineTuner, task: Task, loss: Loss, dataset: TrainingDataset
) -> float:
    """Return the weight of the model after training in the interpolation."""
    if fine_tuner.interpolation != "auto":
        return float(fine_tuner.interpolation)
    # A head with random weights is useless before training, and a teacher's embeddings are far away.
    has_start = task is EMBEDDING or loss.solves_head
    is_distilled = dataset.format == DataFormat.EMBEDDINGS
    is_auto = fine_tuner.epochs == "auto" and fine_tuner.trainable != "head"
    if is_distilled or not (is_auto and has_start):
        return 1.0
    n_rows: float = len(dataset)
    halfway = _HALFWAY_WITHOUT_Y if dataset.target is None else _HALFWAY_WITH_Y
    if dataset.classes is not None:
        n_rows, halfway = n_rows / dataset.n_outputs, _HALFWAY_PER_CLASS
    return n_rows / (n_rows + halfway)
