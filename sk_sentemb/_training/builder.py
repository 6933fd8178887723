"""Build the training step: the model, its trainable weights, the head and the optimizer."""

from typing import Any

import numpy as np
import torch
from torch import nn

from .._random import torch_seed
from .._warn import warn
from ..encoder import Encoder, PartialEmbedding, TokenizedTexts, TrainableEncoder, select_dtype
from ..exceptions import FineTuningWarning
from ..losses import DataFormat, Loss, require
from .dataset import TrainingDataset
from .fine_tuner import FineTuner
from .optimizer import build_optimizer, build_scheduler, lora_config, select_trainable
from .step import TrainingStep

# The largest possible difference of two cosine similarities.
_MAX_COSINE_MARGIN = 2


def build_training_step(
    fine_tuner: FineTuner,
    encoder: Encoder,
    loss: Loss,
    dataset: TrainingDataset,
    tokens: TokenizedTexts,
    guide: np.ndarray | None,
    seed: int,
    n_steps: int,
    *,
    solves: bool,
) -> TrainingStep:
    """Return a training step with a copy of the encoder."""
    with torch_seed(seed):
        model, head = _build_model(fine_tuner, encoder, loss, dataset, tokens)
    optimizer = build_optimizer(fine_tuner, model, head)
    dtype = select_dtype(fine_tuner.dtype, encoder.device)
    return TrainingStep(
        model=model,
        head=head,
        loss=loss,
        dataset=dataset,
        tokens=tokens,
        optimizer=optimizer,
        scheduler=build_scheduler(fine_tuner, optimizer, n_steps),
        seed=seed,
        # float16 would require a scaled loss.
        dtype=torch.float32 if dtype == torch.float16 else dtype,
        max_grad_norm=fine_tuner.max_grad_norm,
        gradient_accumulation=fine_tuner.gradient_accumulation,
        forward_batch_size=fine_tuner.forward_batch_size,
        freeze_epochs=fine_tuner.freeze_epochs,
        guide=guide,
        solves=solves,
    )


def _build_model(
    fine_tuner: FineTuner,
    encoder: Encoder,
    loss: Loss,
    dataset: TrainingDataset,
    tokens: TokenizedTexts,
) -> tuple[TrainableEncoder, nn.Module | None]:
    """Return a copy of the encoder with its trainable weights selected, and the head of the loss."""
    model = TrainableEncoder(encoder, trainable=fine_tuner.trainable != "head")
    _check_layers(fine_tuner, model)
    _warn_unreachable_margins(encoder, dataset)
    head = loss.make_head(model.dim, dataset.n_outputs, len(dataset.text_ids))
    if head is None and (fine_tuner.freeze_epochs or not model.trainable):
        raise ValueError(
            f"trainable={fine_tuner.trainable!r} and freeze_epochs={fine_tuner.freeze_epochs} leave "
            f"nothing to train, because {loss} has no head. Pass trainable='all' and freeze_epochs=0."
        )
    _check_batch_normalization(head, min(fine_tuner.batch_size, len(dataset)))
    if model.trainable:
        _select_weights(fine_tuner, model, tokens)
        if head is None and not any(True for _ in model.named_parameters()):
            without = "" if fine_tuner.train_embeddings else " with train_embeddings=False"
            raise ValueError(
                f"trainable={fine_tuner.trainable!r}{without} leaves nothing to train in this model. "
                "Pass trainable='all' or a number of layers, and train_embeddings=True."
            )
    return model, head and head.to(model.device)


def _check_layers(fine_tuner: FineTuner, model: TrainableEncoder) -> None:
    """Raise for a parameter that requires transformer layers, if the model has none."""
    if not model.trainable:
        return
    unavailable: dict[str, Any] = {"layer_decay": 1.0}
    reason = "does not expose its layers"
    if model.is_static:
        unavailable |= {"gradient_checkpointing": False, "lora_rank": None}
        reason = "is a table of token embeddings without a transformer"
    elif len(model.layers):
        return
    for name, default in unavailable.items():
        if (value := getattr(fine_tuner, name)) != default:
            raise ValueError(f"{name}={value!r}, but the model {reason}. Pass {name}={default!r}.")
    if not isinstance(fine_tuner.trainable, str) and fine_tuner.trainable > 0:
        raise ValueError(
            f"trainable={fine_tuner.trainable}, but the model {reason}. Pass trainable='all'."
        )


def _warn_unreachable_margins(encoder: Encoder, dataset: TrainingDataset) -> None:
    """Warn of margins that the dot products of L2-normalized embeddings cannot reach."""
    if dataset.format != DataFormat.MARGINS or not encoder.normalizes:
        return
    margins = np.abs(require(dataset.target, "y"))
    if n_beyond := int((margins > _MAX_COSINE_MARGIN).sum()):
        warn(
            f"{n_beyond} of {len(dataset)} margins in y are beyond {_MAX_COSINE_MARGIN}, the largest "
            "difference between dot products of L2-normalized embeddings. Scale the teacher's scores, "
            "or pass normalize=False.",
            FineTuningWarning,
        )


def _check_batch_normalization(head: nn.Module | None, n_rows: int) -> None:
    """Raise for batch normalization with a batch of one row."""
    if head is None or n_rows > 1:
        return
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):
            raise ValueError(
                f"the head has {type(module).__name__}, which requires two rows in a batch, got one. "
                "Pass more rows and a batch_size of 2 or more, or use LayerNorm."
            )


def _select_weights(fine_tuner: FineTuner, model: TrainableEncoder, tokens: TokenizedTexts) -> None:
    """Select the trainable weights, and wrap what is trained in another way."""
    select_trainable(model, fine_tuner.trainable, train_embeddings=fine_tuner.train_embeddings)
    if fine_tuner.lora_rank is not None:
        model.add_lora(lora_config(fine_tuner))
    table = model.table
    if type(table) is nn.Embedding and table.weight.requires_grad:
        model.table = PartialEmbedding(table, np.unique(tokens.ids))
    if fine_tuner.gradient_checkpointing:
        model.enable_gradient_checkpointing()
