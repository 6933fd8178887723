"""What is done between steps and epochs: show, keep, validate, tell."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import nn

from .._progress import ProgressBar
from .._warn import warn
from ..encoder import Encoder
from ..exceptions import FineTuningWarning
from .checkpointing import save_checkpoint, weights_of
from .evaluation import Evaluator, UndefinedScoreError
from .fine_tuner import FineTuner
from .interpolation import Interpolation
from .loop import TrainingState
from .step import TrainingStep

# An encoder, what its loss trains along, and the numbers of `y` that 0 and 1 stand for.
Snapshot = tuple[Encoder, nn.Module | None, tuple[float, float]]


class Listener(Protocol):
    """Who asks to be told how far a training is."""

    def begin_epoch(self, n_steps: int) -> None:
        """Hear that so many steps come."""

    def end_step(self) -> None:
        """Hear that one is done."""

    def end_epoch(self, snapshot: Callable[[], Snapshot]) -> bool:
        """Hear that an epoch is done, get what came of it if wanted, and say whether to stop."""


class TrainingCallbacks:
    """Validates, keeps the state on disk, shows a bar, and tells a listener."""

    def __init__(
        self,
        fine_tuner: FineTuner,
        trainer: TrainingStep,
        validator: Evaluator | None,
        folder: Path | None,
        listener: Listener | None,
        bar: ProgressBar,
        interpolation: Interpolation,
    ) -> None:
        self.fine_tuner, self.trainer, self.validator = fine_tuner, trainer, validator
        self.folder, self.listener, self.bar = folder, listener, bar
        self.interpolation = interpolation
        self._warned_undefined = False

    def begin_epoch(self, n_steps: int) -> None:
        """Pass it on."""
        if self.listener is not None:
            self.listener.begin_epoch(n_steps)

    def end_step(self, progress: TrainingState) -> None:
        """Show the step, and keep it if its number asks for that."""
        self.bar.update()
        self.bar.set_postfix(loss=f"{progress.history[-1]['loss']:.4f}", refresh=False)
        every = self.fine_tuner.checkpoint_steps
        if self.folder is not None and every and progress.step % every == 0:
            save_checkpoint(self.folder, self.trainer, progress)
        if self.listener is not None:
            self.listener.end_step()

    def end_epoch(self, progress: TrainingState) -> bool:
        """Validate, and say whether to stop."""
        stop = False
        if self.validator is not None:
            with self.interpolation.applied(self.trainer):
                stop = self._validate(self.validator, progress)
        if self.listener is not None:
            stop = self.listener.end_epoch(self._snapshot) or stop
        progress.stopped = stop
        if self.folder is not None:
            save_checkpoint(self.folder, self.trainer, progress)
        return stop

    def _snapshot(self) -> Snapshot:
        head = self.trainer.head
        score_range = self.trainer.examples.score_range
        with self.interpolation.applied(self.trainer):
            return self.trainer.finished(), head and deepcopy(head).eval(), score_range

    def _validate(self, validator: Evaluator, progress: TrainingState) -> bool:
        head = self.trainer.head
        if head is not None:
            head.eval()
        try:
            score, loss = validator.score(self.trainer.model, head)
        except UndefinedScoreError as error:
            score, loss = np.nan, np.inf
            self._warn_undefined(validator.name, progress.epoch, error)
        if head is not None:
            head.train()
        progress.history[-1][validator.name] = score
        if np.isnan(score):
            return False
        score = -score if validator.lower_is_better else score
        is_better_tie = score == progress.best_score and loss < progress.best_loss
        if score > progress.best_score or is_better_tie:
            # The copy first, so that an interruption does not leave a score without its weights.
            state = weights_of(self.trainer)
            progress.best_state, progress.best_score, progress.n_worse = state, score, 0
            progress.best_loss = loss
            return False
        progress.n_worse += 1
        return self.fine_tuner.early_stopping and progress.n_worse >= self.fine_tuner.patience

    def _warn_undefined(self, name: str, epoch: int, reason: UndefinedScoreError) -> None:
        """Warn once that the score is undefined, with the reason."""
        if self._warned_undefined:
            return
        self._warned_undefined = True
        consequence = "Training goes on"
        if self.fine_tuner.early_stopping:
            consequence += (
                "; epochs without a score do not count for early_stopping, and if none has one, the "
                "last weights are kept"
            )
        warn(
            f"{name} of epoch {epoch} is undefined: {reason}. {consequence}. Pass a larger "
            "validation_fraction, validation_data with more rows, or another metric.",
            FineTuningWarning,
        )
