"""The parts of a training: the model, its trainable weights, the head, optimizer and validator."""

from typing import Any

import numpy as np
import torch
from torch import nn

from .._random import torch_seed
from .._warn import warn
from ..encoder import Encoder, PartialEmbedding, TokenizedTexts, TrainableEncoder, select_dtype
from ..exceptions import FineTuningWarning
from ..losses import DataFormat, Loss
from .batching import draw_batches
from .dataset import TrainingDataset
from .evaluation import Evaluator
from .fine_tuner import FineTuner
from .optimizer import choose_trainable, lora, make_optimizer, make_scheduler
from .step import TrainingStep
from .task import Task

# By how much two cosines can differ.
_MAX_MARGIN = 2


def build_training_step(
    fine_tuner: FineTuner,
    encoder: Encoder,
    loss: Loss,
    examples: TrainingDataset,
    tokens: TokenizedTexts,
    guide: np.ndarray | None,
    seed: int,
    n_steps: int,
    *,
    solves: bool = False,
) -> TrainingStep:
    """Make it."""
    with torch_seed(seed):
        model, head = _make_model(fine_tuner, encoder, loss, examples, tokens)
    optimizer = make_optimizer(
        model,
        head,
        learning_rate=fine_tuner.learning_rate,
        head_learning_rate=fine_tuner.head_learning_rate,
        layer_decay=fine_tuner.layer_decay,
        weight_decay=fine_tuner.weight_decay,
    )
    return TrainingStep(
        model=model,
        head=head,
        loss=loss,
        examples=examples,
        tokens=tokens,
        optimizer=optimizer,
        scheduler=make_scheduler(
            optimizer,
            fine_tuner.schedule,
            warmup_ratio=fine_tuner.warmup_ratio,
            n_steps=n_steps,
        ),
        seed=seed,
        dtype=_number_format(fine_tuner.dtype, encoder.device),
        max_grad_norm=fine_tuner.max_grad_norm,
        gradient_accumulation=fine_tuner.gradient_accumulation,
        forward_batch_size=fine_tuner.forward_batch_size,
        freeze_epochs=fine_tuner.freeze_epochs,
        guide=guide,
        solves=solves,
    )


def make_validator(
    fine_tuner: FineTuner,
    kind: Task,
    loss: Loss,
    examples: TrainingDataset | None,
    tokens: TokenizedTexts,
    guide: np.ndarray | None,
) -> Evaluator | None:
    """Make what validates the model after each epoch."""
    if examples is None:
        return None
    draw = np.random.default_rng(0)
    batches = draw_batches("auto", fine_tuner.batch_size, kind, loss, examples, draw, spread=True)
    return Evaluator(
        examples=examples,
        tokens=tokens,
        metric=fine_tuner.metric,
        loss=loss,
        kind=kind,
        batches=batches,
        guide=guide,
    )


def _make_model(
    fine_tuner: FineTuner,
    encoder: Encoder,
    loss: Loss,
    examples: TrainingDataset,
    tokens: TokenizedTexts,
) -> tuple[TrainableEncoder, nn.Module | None]:
    """Return a copy of the encoder with what shall change, and the head of the loss."""
    model = TrainableEncoder(encoder, trainable=fine_tuner.trainable != "head")
    _check_layers(fine_tuner, model)
    _warn_of_margins(encoder, examples)
    head = loss.make_head(model.dim, examples.n_outputs, len(examples.columns))
    if head is None and (fine_tuner.freeze_epochs or not model.trainable):
        raise ValueError(
            f"trainable={fine_tuner.trainable!r} and freeze_epochs={fine_tuner.freeze_epochs} leave "
            f"nothing to train: {loss} trains nothing along. Pass trainable='all' and freeze_epochs=0."
        )
    _check_normalization(head, min(fine_tuner.batch_size, len(examples)))
    if model.trainable:
        _choose(fine_tuner, model, tokens)
        if head is None and not any(True for _ in model.named_parameters()):
            without = "" if fine_tuner.train_embeddings else " with train_embeddings=False"
            raise ValueError(
                f"trainable={fine_tuner.trainable!r}{without} leaves nothing to train in this model. "
                "Pass trainable='all' or a number of layers, and train_embeddings=True."
            )
    return model, head and head.to(model.device)


def _check_layers(fine_tuner: FineTuner, model: TrainableEncoder) -> None:
    """Raise for an option that needs the layers of a transformer, if the model has none."""
    if not model.trainable:
        return
    needing: dict[str, Any] = {"layer_decay": 1.0}
    what = "does not say which its layers are"
    if model.is_static:
        needing |= {"gradient_checkpointing": False, "lora_rank": None}
        what = "is a table of token embeddings without a transformer"
    elif len(model.layers):
        return
    for name, without in needing.items():
        if (value := getattr(fine_tuner, name)) != without:
            raise ValueError(f"{name}={value!r}, but the model {what}. Pass {name}={without!r}.")
    if not isinstance(fine_tuner.trainable, str) and fine_tuner.trainable > 0:
        raise ValueError(
            f"trainable={fine_tuner.trainable}, but the model {what}. Pass trainable='all'."
        )


def _warn_of_margins(encoder: Encoder, examples: TrainingDataset) -> None:
    """Warn of margins that L2-normalized embeddings cannot reach."""
    if examples.shape != DataFormat.MARGINS or encoder.head is not None or not encoder.normalizes:
        return
    assert examples.target is not None
    n_beyond = int((np.abs(examples.target) > _MAX_MARGIN).sum())
    if n_beyond:
        warn(
            f"{n_beyond} of {len(examples)} margins in y are beyond {_MAX_MARGIN}, and the dot products "
            "of L2-normalized embeddings differ by that at most. Scale the teacher's scores, or pass "
            "normalize=False.",
            FineTuningWarning,
        )


def _check_normalization(head: nn.Module | None, n_rows: int) -> None:
    """Raise for a normalization over the rows of a batch, if there is a batch of one row."""
    if head is None or n_rows > 1:
        return
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):
            raise ValueError(
                f"the head has {type(module).__name__}, which needs two rows in a batch, and there is "
                "one. Pass more rows and a batch_size of 2 or more, or LayerNorm."
            )


def _choose(fine_tuner: FineTuner, model: TrainableEncoder, tokens: TokenizedTexts) -> None:
    """Choose the weights that change, and prepare them for that."""
    choose_trainable(model, fine_tuner.trainable, train_embeddings=fine_tuner.train_embeddings)
    if fine_tuner.lora_rank is not None:
        model.add_lora(lora(fine_tuner.lora_rank, fine_tuner.lora_alpha, fine_tuner.lora_targets))
    table = model.table
    if type(table) is nn.Embedding and table.weight.requires_grad:
        model.table = PartialEmbedding(table, np.unique(tokens.ids))
    if fine_tuner.gradient_checkpointing:
        model.enable_gradient_checkpointing()


def _number_format(dtype: str, device: torch.device) -> torch.dtype:
    """Return the format that matrices are multiplied in; float16 would need its loss scaled."""
    picked = select_dtype(dtype, device)
    return torch.float32 if picked == torch.float16 else picked
