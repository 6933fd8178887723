"""Fine-tuning, from an encoder and rows of text to another encoder."""

import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from .._progress import progress_bar
from .._random import draw_seed
from .._warn import warn
from ..encoder import Encoder, isolated, l2_normalize
from ..exceptions import FineTuningWarning
from ..losses import DataFormat, Loss
from ..losses.cross_encoder import MultipleNegativesRankingLoss
from .auto_parameters import (
    compute_interpolation_ratio,
    compute_length,
    starts_from_solution,
    steps_per_epoch,
    without_steps,
)
from .batch_sampler import sample_batches
from .builder import build_training_step
from .callbacks import CheckpointCallback, EvaluationCallback, ProgressBarCallback
from .checkpointing import checkpoint_folder, load_checkpoint, remove_checkpoint, restore
from .data import EncodingOptions, RawTrainingData
from .dataset import TrainingDataset
from .evaluation import Evaluator
from .fine_tuner import FineTuner
from .interpolation import Interpolation
from .loop import Callback, Snapshot, TrainingState, train
from .preparation import check_batches, check_classes, prepare_data, tokenize
from .random_negatives import add_random_negatives
from .step import TrainingStep
from .task import Task
from .validation_split import split_validation

logger = logging.getLogger(__name__)


class FineTuningResult(NamedTuple):
    """A fine-tuned encoder, and what was trained along with it."""

    encoder: Any  # of the type that was fine-tuned
    history: pd.DataFrame
    score_range: tuple[float, float]  # the values of y that were scaled to 0 and 1
    head: nn.Module | None
    format: DataFormat


@dataclass(frozen=True)
class _Training:
    """A training that is ready to run."""

    fine_tuner: FineTuner
    step: TrainingStep
    draw_batches: Callable[[int], list[np.ndarray]]
    first_batch: np.ndarray
    n_epochs: int
    n_steps: int
    evaluator: Evaluator | None
    interpolation: Interpolation
    state: TrainingState
    folder: Path | None  # of checkpoints

    def snapshot(self) -> Snapshot:
        """Return the current model."""
        head = self.step.head
        with self.interpolation.applied(self.step):
            encoder = self.step.to_encoder()
            return encoder, head and deepcopy(head).eval(), self.step.dataset.score_range


@isolated
def fine_tune(
    fine_tuner: FineTuner,
    encoder: Encoder,
    raw: RawTrainingData,
    task: Task,
    options: EncodingOptions,
    *,
    callback: Callback | None = None,
    keep_interrupted: bool = True,
) -> FineTuningResult:
    """Fine-tune a copy of an encoder."""
    fine_tuner._validate_params()
    missing_is_empty = options.missing_is_empty
    dataset, loss = prepare_data(fine_tuner, raw, task, missing_is_empty=missing_is_empty)
    training = _set_up(fine_tuner, encoder, dataset, loss, task, options)
    interrupted = _run(training, callback, keep_interrupted)
    return _finish(training, interrupted)


def _set_up(
    fine_tuner: FineTuner,
    encoder: Encoder,
    dataset: TrainingDataset,
    loss: Loss,
    task: Task,
    options: EncodingOptions,
) -> _Training:
    """Prepare the data, the batches and the model."""
    seed, folder, checkpoint = _open_checkpoint(fine_tuner, encoder, dataset, loss, task, options)
    solves = starts_from_solution(fine_tuner, loss)
    solves_only = solves and fine_tuner.trainable == "head"
    if solves_only:
        fine_tuner = without_steps(fine_tuner)
    cells = dataset.text_ids  # of X, without sampled negatives
    if isinstance(loss, MultipleNegativesRankingLoss):
        dataset = add_random_negatives(dataset, loss.n_negatives, seed)
    training_set, validation_set = split_validation(fine_tuner, dataset, loss, task, seed)
    if loss.groups_classes:
        check_classes(training_set)
    tokens = tokenize(fine_tuner, encoder, dataset, cells, options)
    guide = l2_normalize(options.embed(dataset.texts)) if loss.guided else None

    def draw_batches(epoch: int) -> list[np.ndarray]:
        if solves_only:
            return [np.arange(len(training_set))]
        rng = np.random.default_rng([seed, epoch])
        sampling, batch_size = fine_tuner.sampling, fine_tuner.batch_size
        return sample_batches(sampling, batch_size, task, loss, training_set, rng)

    first_batches = draw_batches(0)
    check_batches(loss, training_set, first_batches)
    n_epochs, n_steps = 1, 1
    if not solves_only:
        n_batches = len(first_batches)
        n_epochs, n_steps = _compute_length(fine_tuner, training_set, draw_batches, n_batches)
    step = build_training_step(
        fine_tuner, encoder, loss, training_set, tokens, guide, seed, n_steps, solves=solves_only
    )
    if not step.model.trainable or fine_tuner.freeze_epochs or solves:
        embeddings = torch.from_numpy(options.embed(dataset.texts))
        step.model.precomputed = embeddings.to(encoder.device)
    if solves and not solves_only:
        step.solve_head()
    ratio = compute_interpolation_ratio(fine_tuner, task, loss, training_set)
    return _Training(
        fine_tuner,
        step,
        draw_batches,
        first_batches[0],
        n_epochs,
        n_steps,
        _build_evaluator(fine_tuner, task, validation_set, step),
        Interpolation(step.copy_weights(), ratio),  # before weights are restored
        restore(step, checkpoint) if checkpoint else TrainingState(),
        folder,
    )


def _run(training: _Training, callback: Callback | None, keep_interrupted: bool) -> bool:
    """Train, and return whether training was interrupted."""
    fine_tuner, step, state = training.fine_tuner, training.step, training.state
    if state.step:
        logger.info("resuming after %d steps, from %s", state.step, training.folder)
    callbacks: list[Callback] = []
    if training.evaluator is not None:
        evaluation = (training.evaluator, step, training.interpolation, fine_tuner)
        callbacks.append(EvaluationCallback(*evaluation))
    if callback is not None:
        callbacks.append(callback)
    if training.folder is not None:
        # Last, so that a checkpoint has what the others change.
        callbacks.append(CheckpointCallback(training.folder, fine_tuner.checkpoint_steps, step))
    with progress_bar(
        training.n_steps,
        shown=bool(fine_tuner.verbose),
        work="fine-tuning",
        unit="step",
        initial=state.step,
    ) as bar:
        return train(
            step,
            training.draw_batches,
            state,
            [ProgressBarCallback(bar), *callbacks],
            training.snapshot,
            n_epochs=training.n_epochs,
            n_steps=training.n_steps,
            keep_interrupted=keep_interrupted,
        )


def _finish(training: _Training, interrupted: bool) -> FineTuningResult:
    """Set the weights to keep, and return the model."""
    step, state = training.step, training.state
    if interrupted:
        kept = "with the best validation" if state.best_weights else "of the last step"
        warn(
            f"interrupted after {state.step} of {training.n_steps} steps: the weights are those {kept}.",
            FineTuningWarning,
        )
    if state.best_weights and (training.fine_tuner.early_stopping or interrupted):
        step.set_weights(state.best_weights)
    else:
        training.interpolation.apply(step)
    step.check_finite(training.first_batch)
    if training.folder is not None and not interrupted:
        remove_checkpoint(training.folder)
    head = step.head and step.head.eval().requires_grad_(False)
    history, dataset = pd.DataFrame(state.history), step.dataset
    return FineTuningResult(step.to_encoder(), history, dataset.score_range, head, dataset.format)


def _open_checkpoint(
    fine_tuner: FineTuner,
    encoder: Encoder,
    dataset: TrainingDataset,
    loss: Loss,
    task: Task,
    options: EncodingOptions,
) -> tuple[int, Path | None, dict[str, Any] | None]:
    """Return the seed, and the folder and content of a checkpoint if there are any."""
    seed = draw_seed(fine_tuner.random_state)
    if fine_tuner.checkpoint_dir is None:
        return seed, None, None
    params = {name: getattr(options, name) for name in ("prompt", "max_length", "long_text")}
    folder = checkpoint_folder(fine_tuner, encoder, dataset, params, loss, task)
    checkpoint = load_checkpoint(folder, encoder.device)
    return checkpoint["seed"] if checkpoint else seed, folder, checkpoint


def _compute_length(
    fine_tuner: FineTuner,
    dataset: TrainingDataset,
    draw_batches: Callable[[int], list[np.ndarray]],
    n_batches: int,
) -> tuple[int, int]:
    """Return the number of epochs and of steps, and warn if the encoder stays frozen in all of them."""
    n_epochs, n_steps = compute_length(fine_tuner, n_batches)
    if dataset.query_ids is not None:
        # With lists of different lengths, the number of batches depends on the epoch.
        per_epoch = [len(draw_batches(epoch)) for epoch in range(n_epochs)]
        n_steps = sum(steps_per_epoch(fine_tuner, n) for n in per_epoch)
        n_steps = min(n_steps, fine_tuner.max_steps or n_steps)
    n_frozen = fine_tuner.freeze_epochs * steps_per_epoch(fine_tuner, n_batches)
    if fine_tuner.trainable != "head" and n_frozen >= n_steps:
        warn(
            f"freeze_epochs={fine_tuner.freeze_epochs} are {n_frozen} steps, but training ends after "
            f"{n_steps}, so that the encoder is not trained. Pass fewer freeze_epochs, more epochs, or "
            "trainable='head'.",
            FineTuningWarning,
        )
    return n_epochs, n_steps


def _build_evaluator(
    fine_tuner: FineTuner, task: Task, dataset: TrainingDataset | None, step: TrainingStep
) -> Evaluator | None:
    if dataset is None:
        return None
    rng, batch_size = np.random.default_rng(0), fine_tuner.batch_size
    return Evaluator(
        dataset=dataset,
        tokens=step.tokens,
        metric=fine_tuner.metric,
        loss=step.loss,
        task=task,
        batches=sample_batches(
            "auto", batch_size, task, step.loss, dataset, rng, spread_classes=True
        ),
        guide=step.guide,
    )
