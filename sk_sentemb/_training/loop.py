"""The training loop."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import nn

from ..encoder import Encoder, is_out_of_memory
from .step import TrainingStep

# The encoder, the head that is trained along, and the values of y that were scaled to 0 and 1.
Snapshot = tuple[Encoder, nn.Module | None, tuple[float, float]]


@dataclass
class TrainingState:
    """The progress of a training, and its results so far."""

    epoch: int = 0
    step: int = 0
    step_of_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_score: float = -np.inf
    best_loss: float = np.inf
    best_weights: dict[str, Any] | None = None
    n_worse: int = 0  # epochs since the best one
    stopped: bool = False


class Callback(Protocol):
    """Methods that are called during training; subclasses override some of them."""

    def on_epoch_begin(self, n_steps: int) -> None:
        """Prepare for an epoch of some steps."""
        return

    def on_step_end(self, state: TrainingState) -> None:
        """React to a step."""
        return

    def on_epoch_end(self, state: TrainingState, snapshot: Callable[[], Snapshot]) -> None:
        """React to an epoch; set `state.stopped` to end training."""
        return


def train(
    step: TrainingStep,
    draw_batches: Callable[[int], list[np.ndarray]],
    state: TrainingState,
    callbacks: Sequence[Callback],
    snapshot: Callable[[], Snapshot],
    *,
    n_epochs: int,
    n_steps: int,
    keep_interrupted: bool = True,
) -> bool:
    """Train until the last epoch, the last step or a stop, and return whether it was interrupted."""
    step.model.train()
    try:
        while not (state.stopped or state.epoch >= n_epochs or state.step >= n_steps):
            batches, n = draw_batches(state.epoch), step.gradient_accumulation
            steps = [batches[start : start + n] for start in range(0, len(batches), n)]
            steps = steps[state.step_of_epoch :][: n_steps - state.step]
            step.begin_epoch(state.epoch)
            for callback in callbacks:
                callback.on_epoch_begin(len(steps))
            for batches_of_step in steps:
                _run_step(step, batches_of_step, state)
                for callback in callbacks:
                    callback.on_step_end(state)
            state.epoch, state.step_of_epoch = state.epoch + 1, 0
            for callback in callbacks:
                callback.on_epoch_end(state, snapshot)
    except KeyboardInterrupt:
        if not (keep_interrupted and state.step):
            raise
        return True
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(
            "out of memory while fine-tuning. Lower the estimator's max_length or the FineTuner's "
            "batch_size (with a higher gradient_accumulation), or pass forward_batch_size or "
            "gradient_checkpointing=True."
        ) from error
    return False


def _run_step(step: TrainingStep, batches: list[np.ndarray], state: TrainingState) -> None:
    """Run a step, and add a row to the history."""
    learning_rate = step.learning_rate
    begun = time.perf_counter()
    loss = step.run(batches, state.step)
    seconds = time.perf_counter() - begun
    row = {
        "step": state.step + 1,
        "epoch": state.epoch + 1,
        "learning_rate": learning_rate,
        "loss": loss,
        "seconds": seconds,
        "tokens_per_second": step.count_tokens(batches) / seconds,
    }
    # Together, so that after an interruption there are as many rows as steps.
    state.history.append(row)
    state.step += 1
    state.step_of_epoch += 1
