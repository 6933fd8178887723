"""What is done between steps and epochs: show, keep, validate, tell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..encoder import Encoder
from .fine_tuner import FineTuner
from .loop import Progress
from .saved import save_training, weights_of
from .trainer import Trainer
from .validation import Validator

# Called after each epoch with the way to get the encoder as it is; says whether to stop.
OnEpoch = Callable[[Callable[[], Encoder]], bool]


class Watcher:
    """Validates, keeps the state on disk, and tells others how far it is."""

    def __init__(
        self,
        fine_tuner: FineTuner,
        trainer: Trainer,
        validator: Validator | None,
        folder: Path | None,
        on_epoch: OnEpoch | None,
        bar: Any,
    ) -> None:
        self.fine_tuner, self.trainer, self.validator = fine_tuner, trainer, validator
        self.folder, self.tell, self.bar = folder, on_epoch, bar

    def on_step(self, progress: Progress) -> None:
        """Show the step, and keep it if its number asks for that."""
        self.bar.update()
        self.bar.set_postfix(loss=f"{progress.history[-1]['loss']:.4f}", refresh=False)
        every = self.fine_tuner.checkpoint_steps
        if self.folder is not None and every and progress.step % every == 0:
            save_training(self.folder, self.trainer, progress)

    def on_epoch(self, progress: Progress) -> bool:
        """Validate, and say whether to stop."""
        stop = self.validator is not None and self._validate(self.validator, progress)
        if self.tell is not None:
            stop = self.tell(self.trainer.model.finished) or stop
        progress.stopped = stop
        if self.folder is not None:
            save_training(self.folder, self.trainer, progress)
        return stop

    def _validate(self, validator: Validator, progress: Progress) -> bool:
        score = validator.score(self.trainer.model, self.trainer.head)
        progress.history[-1][validator.name] = score
        score = -score if validator.lower_is_better else score
        if score > progress.best_score:
            progress.best_score, progress.n_worse = score, 0
            progress.best_state = weights_of(self.trainer)
            return False
        progress.n_worse += 1
        return self.fine_tuner.early_stopping and progress.n_worse >= self.fine_tuner.patience
