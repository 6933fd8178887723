"""The training loop."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..encoder import is_out_of_memory
from .step import TrainingStep


@dataclass
class TrainingState:
    """How far a training has come, and what it found on the way."""

    epoch: int = 0
    step: int = 0
    step_of_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_score: float = -np.inf
    best_loss: float = np.inf
    best_state: dict[str, Any] | None = None
    n_worse: int = 0
    stopped: bool = False


class Watcher(Protocol):
    """What the loop asks of those who look on."""

    def begin_epoch(self, n_steps: int) -> None:
        """Hear that so many steps come."""

    def end_step(self, progress: TrainingState) -> None:
        """Hear of a step."""

    def end_epoch(self, progress: TrainingState) -> bool:
        """Hear of an epoch, and say whether training shall end."""


def train(
    trainer: TrainingStep,
    batches_of: Callable[[int], list[np.ndarray]],
    progress: TrainingState,
    watcher: Watcher,
    *,
    n_epochs: int,
    n_steps: int,
    keep_interrupted: bool = True,
) -> bool:
    """Train until the epochs are over, or the steps, or somebody says stop."""
    trainer.model.train()
    try:
        while not (progress.stopped or progress.epoch >= n_epochs or progress.step >= n_steps):
            batches, n = batches_of(progress.epoch), trainer.gradient_accumulation
            steps = [batches[start : start + n] for start in range(0, len(batches), n)]
            steps = steps[progress.step_of_epoch :][: n_steps - progress.step]
            trainer.begin_epoch(progress.epoch)
            watcher.begin_epoch(len(steps))
            for chosen in steps:
                _step(trainer, chosen, progress)
                watcher.end_step(progress)
            progress.epoch, progress.step_of_epoch = progress.epoch + 1, 0
            progress.stopped = watcher.end_epoch(progress)
    except KeyboardInterrupt:
        if not (keep_interrupted and progress.step):
            raise
        return True
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(
            "out of memory while fine-tuning: lower the estimator's max_length or the FineTuner's "
            "batch_size (with a higher gradient_accumulation), or pass forward_batch_size or "
            "gradient_checkpointing=True."
        ) from error
    return False


def _step(trainer: TrainingStep, batches: list[np.ndarray], progress: TrainingState) -> None:
    """Make a step, and a row of history."""
    rate = trainer.learning_rate
    begun = time.perf_counter()
    loss = trainer.step(batches, progress.step)
    seconds = time.perf_counter() - begun
    row = {
        "step": progress.step + 1,
        "epoch": progress.epoch + 1,
        "learning_rate": rate,
        "loss": loss,
        "seconds": seconds,
        "tokens_per_second": trainer.n_tokens(batches) / seconds,
    }
    # Together, so that an interruption finds as many rows as steps.
    progress.history.append(row)
    progress.step += 1
    progress.step_of_epoch += 1
