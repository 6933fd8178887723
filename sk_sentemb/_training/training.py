"""One fine-tuning, from an encoder and rows of text to another encoder."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from .._inputs import UniqueTexts, warn_truncated
from .._progress import progress_bar
from .._random import draw_seed
from .._types import Text
from .._warn import warn
from ..encoder import Encoder, TokenizedTexts, isolated, l2_normalize
from ..exceptions import FineTuningWarning, TextTooLongError
from ..losses import DataFormat
from ..losses.cross_encoder import MultipleNegativesRankingLoss
from .auto_parameters import (
    compute_interpolation_ratio,
    compute_length,
    starts_from_solution,
    steps_per_epoch,
    without_steps,
)
from .batching import check_informative, draw_batches
from .builder import build_training_step, make_validator
from .callbacks import Listener, TrainingCallbacks
from .checkpointing import (
    folder_of,
    load_checkpoint,
    remove_checkpoint,
    resume,
    set_weights,
    weights_of,
)
from .data import RawTrainingData, check_classes, prepare_data
from .dataset import TrainingDataset
from .fine_tuner import FineTuner
from .interpolation import Interpolation
from .loop import TrainingState, train
from .random_negatives import add_random_negatives
from .task import EMBEDDING, Task
from .validation_split import split

logger = logging.getLogger(__name__)


class FineTuningResult(NamedTuple):
    """What came of a training."""

    encoder: Encoder
    history: pd.DataFrame
    score_range: tuple[float, float]
    head: nn.Module | None
    shape: DataFormat


@isolated
def fine_tune(
    fine_tuner: FineTuner,
    encoder: Encoder,
    data: RawTrainingData,
    *,
    kind: Task,
    prompt: str,
    max_length: int | None,
    long_text: str,
    missing_is_empty: bool,
    embed: Callable[[list[Text]], np.ndarray],
    listener: Listener | None = None,
    keep_interrupted: bool = True,
) -> FineTuningResult:
    """Fine-tune a copy of an encoder."""
    fine_tuner._validate_params()
    examples, loss = prepare_data(fine_tuner, data, kind=kind, missing_is_empty=missing_is_empty)
    if fine_tuner.trainable == "head" and kind is EMBEDDING:
        raise ValueError(
            "trainable='head' trains nothing of a SentenceEmbedder, which leaves the head of a loss "
            "behind. Pass another one, or fit a SentenceClassifier or a SentenceRegressor."
        )
    n_rows = data.n_rows
    seed = draw_seed(fine_tuner.random_state)
    folder, saved = None, None
    if fine_tuner.checkpoint_dir is not None:
        folder = folder_of(
            fine_tuner,
            encoder,
            examples,
            prompt=prompt,
            max_length=max_length,
            long_text=long_text,
            loss=loss,
            kind=kind,
            n_rows=n_rows,
        )
        saved = load_checkpoint(folder, encoder.device)
        seed = saved["seed"] if saved else seed
    solves = starts_from_solution(fine_tuner, loss)
    solves_alone = solves and fine_tuner.trainable == "head"
    if solves_alone:
        fine_tuner = without_steps(fine_tuner)
    cells = examples.columns  # of X: those of drawn negatives are not counted
    if isinstance(loss, MultipleNegativesRankingLoss):
        examples = add_random_negatives(examples, loss.n_negatives, seed)
    learnt, validated = split(fine_tuner, examples, loss, kind, n_rows, seed)
    if loss.groups_classes:
        check_classes(learnt)
    # What is not trained reads texts as predictions do, in windows if these are asked for.
    in_windows = long_text == "chunk" and fine_tuner.trainable == "head"
    tokens = _tokenize(encoder, examples, cells, prompt, max_length, long_text, warn=not in_windows)
    guide = None
    if loss.guided:
        guide = l2_normalize(embed(examples.texts))

    def batches_of(epoch: int) -> list[np.ndarray]:
        if solves_alone:
            return [np.arange(len(learnt))]
        draw = np.random.default_rng([seed, epoch])
        return draw_batches(fine_tuner.sampling, fine_tuner.batch_size, kind, loss, learnt, draw)

    first_batches = batches_of(0)
    check_informative(loss, learnt, first_batches)
    n_batches = len(first_batches)
    n_epochs, n_steps = (1, 1) if solves_alone else compute_length(fine_tuner, n_batches)
    if learnt.lists is not None:
        # Lists of many lengths make more batches in one epoch than in another.
        epochs = range(n_epochs)
        n_steps = sum(steps_per_epoch(fine_tuner, len(batches_of(epoch))) for epoch in epochs)
        n_steps = min(n_steps, fine_tuner.max_steps or n_steps)
    _check_thaw(fine_tuner, n_batches, n_steps)
    trainer = build_training_step(
        fine_tuner, encoder, loss, learnt, tokens, guide, seed, n_steps, solves=solves_alone
    )
    if not trainer.model.trainable or fine_tuner.freeze_epochs or solves:
        trainer.model.precomputed = torch.from_numpy(embed(examples.texts)).to(encoder.device)
    if solves and not solves_alone:
        trainer.solve_head()
    ratio = compute_interpolation_ratio(fine_tuner, kind, loss, learnt)
    interpolation = Interpolation(weights_of(trainer), ratio)
    progress = resume(trainer, saved) if saved else TrainingState()
    if saved:
        logger.info("going on after %d steps, from %s", progress.step, folder)
    validator = make_validator(fine_tuner, kind, loss, validated, tokens, guide)
    with progress_bar(
        n_steps,
        shown=bool(fine_tuner.verbose),
        work="fine-tuning",
        unit="step",
        initial=progress.step,
    ) as bar:
        watcher = TrainingCallbacks(
            fine_tuner, trainer, validator, folder, listener, bar, interpolation
        )
        interrupted = train(
            trainer,
            batches_of,
            progress,
            watcher,
            n_epochs=n_epochs,
            n_steps=n_steps,
            keep_interrupted=keep_interrupted,
        )
    if interrupted:
        warn(
            f"interrupted after {progress.step} of {n_steps} steps: the weights are those "
            + ("with the best validation." if progress.best_state else "of the last step."),
            FineTuningWarning,
        )
    if progress.best_state and (fine_tuner.early_stopping or interrupted):
        set_weights(trainer, progress.best_state)
    else:
        interpolation.apply(trainer)
    trainer.check_finite(first_batches[0])
    if folder is not None and not interrupted:
        remove_checkpoint(folder)
    head = trainer.head and trainer.head.eval().requires_grad_(False)
    history = pd.DataFrame(progress.history)
    return FineTuningResult(trainer.finished(), history, examples.score_range, head, examples.shape)


def _tokenize(
    encoder: Encoder,
    examples: TrainingDataset,
    cells: np.ndarray,
    prompt: str,
    max_length: int | None,
    long_text: str,
    *,
    warn: bool,
) -> TokenizedTexts:
    limit = encoder.resolve_max_length(max_length)
    try:
        tokens = encoder.tokenizer(
            examples.texts,
            prompt=prompt,
            max_length=limit,
            long_text="error" if long_text == "error" else "truncate",
        )
    except TextTooLongError as error:
        at = np.flatnonzero((examples.columns == error.position).any(axis=0))
        raise ValueError(
            f"row {examples.rows[at[0]] if len(at) else '?'} of X has more than "
            f"{error.max_length} tokens, and long_text='error'. Shorten it, or pass long_text="
            + ("'chunk' or 'truncate'." if encoder.head is None else "'truncate'.")
        ) from None
    if warn:
        warn_truncated(
            *UniqueTexts(examples.texts, cells).count_truncated(tokens.truncated),
            noun="text" if encoder.head is None else "pair",
            limit=limit,
            advice="Split them into rows, or pass a model with a larger limit.",
        )
    return tokens


def _check_thaw(fine_tuner: FineTuner, n_batches: int, n_steps: int) -> None:
    """Say if the training ends before the encoder begins to learn."""
    frozen = fine_tuner.freeze_epochs * steps_per_epoch(fine_tuner, n_batches)
    if fine_tuner.trainable != "head" and frozen >= n_steps:
        warn(
            f"freeze_epochs={fine_tuner.freeze_epochs} are {frozen} steps, and training ends after "
            f"{n_steps}: the encoder stays as it is. Pass fewer, or more epochs, or trainable='head'.",
            FineTuningWarning,
        )
