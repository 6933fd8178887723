"""What ``epochs="auto"`` decides: the length of training, and the interpolation of the weights."""

from copy import copy

from .._warn import warn
from ..exceptions import IgnoredParameterWarning
from ..losses import DataFormat, Loss
from .dataset import TrainingDataset
from .fine_tuner import FineTuner
from .task import EMBEDDING, Task

# An encoder: some steps are needed to learn anything, however few the rows; ten epochs are enough.
_STEPS, _EPOCHS = 500, 10

# A head alone, whose steps cost next to nothing: until it has converged.
_STEPS_OF_HEAD, _EPOCHS_OF_HEAD = 2000, 200

# Parameters without effect on a solved head. Early stopping would only take rows away from the solution,
# and the weights before it are random.
_OF_STEPS = (
    "head_learning_rate",
    "weight_decay",
    "max_steps",
    "freeze_epochs",
    "interpolation",
    "early_stopping",
)

# With so many rows, the weights that are kept are halfway from those before training to those after it:
# few rows say little about other texts, and pairs without grades less than pairs with grades. Chosen on
# parts of Banking77, docstrings, clothing reviews, SICK and the STS benchmark; benchmarks/defaults.py
# measures on others.
_HALFWAY_OF_CLASS, _HALFWAY_WITH_Y, _HALFWAY_WITHOUT_Y = 6, 256, 1000


def max_epochs(fine_tuner: FineTuner) -> int:
    """Return the largest number of epochs that a training can have."""
    if fine_tuner.epochs != "auto":
        return int(fine_tuner.epochs)
    return _EPOCHS_OF_HEAD if fine_tuner.trainable == "head" else _EPOCHS


def compute_length(fine_tuner: FineTuner, n_batches: int) -> tuple[int, int]:
    """Return the number of epochs and of steps."""
    per_epoch = steps_per_epoch(fine_tuner, n_batches)
    n_epochs = max_epochs(fine_tuner)
    if fine_tuner.epochs == "auto":
        n_wanted = _STEPS_OF_HEAD if fine_tuner.trainable == "head" else _STEPS
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
    """Return a copy without parameters of steps, which a solved head does not have, and name them."""
    defaults = FineTuner().get_params(deep=False)
    given = [name for name in _OF_STEPS if getattr(fine_tuner, name) != defaults[name]]
    if given:
        warn(
            f"{' and '.join(given)} {'have' if len(given) > 1 else 'has'} no effect: with "
            "trainable='head' and epochs='auto', a linear head is fitted by a solver, not in steps. "
            "Pass a number of epochs to train it.",
            IgnoredParameterWarning,
        )
    return copy(fine_tuner).set_params(**{name: defaults[name] for name in given})


def compute_interpolation_ratio(
    fine_tuner: FineTuner, kind: Task, loss: Loss, examples: TrainingDataset
) -> float:
    """Return the weight of the model after training in the interpolation."""
    if fine_tuner.interpolation != "auto":
        return float(fine_tuner.interpolation)
    # A head that begins with random weights is worth nothing before training.
    has_start = kind is EMBEDDING or loss.solves_head
    if fine_tuner.epochs != "auto" or fine_tuner.trainable == "head" or not has_start:
        return 1.0
    if examples.shape == DataFormat.EMBEDDINGS:
        # The vectors of a teacher are not near those before training.
        return 1.0
    n_rows: float = len(examples)
    halfway = _HALFWAY_WITHOUT_Y if examples.target is None else _HALFWAY_WITH_Y
    if examples.classes is not None:
        n_rows, halfway = n_rows / examples.n_outputs, _HALFWAY_OF_CLASS
    return n_rows / (n_rows + halfway)


def choose_loss(fine_tuner: FineTuner, kind: Task, examples: TrainingDataset) -> Loss:
    """Return the loss for the parameter `loss` and the data."""
    return kind.resolve_loss(fine_tuner.loss, examples.shape, examples.n_outputs)
