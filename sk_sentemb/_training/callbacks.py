"""The callbacks of every training: progress bar, evaluation and checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .._progress import ProgressBar
from .._warn import warn
from ..exceptions import FineTuningWarning
from .checkpointing import save_checkpoint
from .evaluation import Evaluator, UndefinedScoreError
from .fine_tuner import FineTuner
from .interpolation import Interpolation
from .loop import Callback, Snapshot, TrainingState
from .step import TrainingStep


@dataclass
class ProgressBarCallback(Callback):
    """Shows the steps and the loss."""

    bar: ProgressBar

    def on_step_end(self, state: TrainingState) -> None:
        """Update the bar."""
        self.bar.update()
        self.bar.set_postfix(loss=f"{state.history[-1]['loss']:.4f}", refresh=False)


@dataclass
class CheckpointCallback(Callback):
    """Saves the training after every epoch, and after some steps if the parameters say so."""

    folder: Path
    checkpoint_steps: int | None
    step: TrainingStep

    def on_step_end(self, state: TrainingState) -> None:
        """Save a checkpoint after every `checkpoint_steps`."""
        if self.checkpoint_steps and state.step % self.checkpoint_steps == 0:
            save_checkpoint(self.folder, self.step, state)

    def on_epoch_end(self, state: TrainingState, snapshot: Callable[[], Snapshot]) -> None:
        """Save a checkpoint."""
        save_checkpoint(self.folder, self.step, state)


@dataclass
class EvaluationCallback(Callback):
    """Evaluates the model, keeps the best weights, and stops early if the parameters say so."""

    evaluator: Evaluator
    step: TrainingStep
    interpolation: Interpolation
    fine_tuner: FineTuner
    warned_undefined: bool = False

    def on_epoch_end(self, state: TrainingState, snapshot: Callable[[], Snapshot]) -> None:
        """Evaluate the interpolated weights."""
        with self.interpolation.applied(self.step):
            score, loss = self._evaluate(state.epoch)
            state.history[-1][self.evaluator.name] = score
            if np.isnan(score):
                return
            score = -score if self.evaluator.lower_is_better else score
            is_better_tie = score == state.best_score and loss < state.best_loss
            if score > state.best_score or is_better_tie:
                # The copy first, so that after an interruption there is no score without its weights.
                weights = self.step.copy_weights()
                state.best_weights, state.best_score, state.n_worse = weights, score, 0
                state.best_loss = loss
                return
        state.n_worse += 1
        if self.fine_tuner.early_stopping and state.n_worse >= self.fine_tuner.patience:
            state.stopped = True

    def _evaluate(self, epoch: int) -> tuple[float, float]:
        """Return the score and the loss; NaN, with one warning, if the score is undefined."""
        head = self.step.head
        if head is not None:
            head.eval()
        try:
            score, loss = self.evaluator.score(self.step.model, head)
        except UndefinedScoreError as error:
            score, loss = np.nan, np.inf
            if not self.warned_undefined:
                self.warned_undefined = True
                self._warn_undefined(epoch, error)
        if head is not None:
            head.train()
        return score, loss

    def _warn_undefined(self, epoch: int, reason: UndefinedScoreError) -> None:
        consequence = "Training continues"
        if self.fine_tuner.early_stopping:
            consequence += (
                "; epochs without a score do not count for early_stopping, and if none has one, the "
                "last weights are kept"
            )
        warn(
            f"{self.evaluator.name} of epoch {epoch} is undefined: {reason}. {consequence}. Pass a "
            "larger validation_fraction, validation_data with more rows, or another metric.",
            FineTuningWarning,
        )
