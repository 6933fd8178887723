"""One training step: forward pass, loss and backward pass of some batches, and an optimizer step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from .._random import torch_seed
from ..encoder import Encoder, PairEncoder, TokenizedTexts, TrainableEncoder
from ..losses import Batch, DataFormat, Loss, require
from .dataset import TrainingDataset

# Keeps the seeds of the parts of a batch from those of other batches.
_SEED_STEP = 2**31


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """The model, data and optimizer of a training, and the parameters of a step."""

    model: TrainableEncoder
    head: nn.Module | None
    loss: Loss
    dataset: TrainingDataset
    tokens: TokenizedTexts
    optimizer: torch.optim.Optimizer
    scheduler: Any
    seed: int
    dtype: torch.dtype  # of autocast
    max_grad_norm: float
    gradient_accumulation: int
    forward_batch_size: int | None
    freeze_epochs: int = 0
    guide: np.ndarray | None = None  # embeddings of the texts before training
    solves: bool = False  # a step solves for the head instead

    def begin_epoch(self, epoch: int) -> None:
        """Unfreeze the encoder after `freeze_epochs`."""
        if self.model.trainable and epoch >= self.freeze_epochs:
            self.model.precomputed = None

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step; NaN if the head is solved for."""
        return np.nan if self.solves else self.scheduler.get_last_lr()[0]

    def solve_head(self) -> float:
        """Set the optimal weights of the head for the current embeddings, and return the loss."""
        rows = np.arange(len(self.dataset))
        head = require(self.head, "head")
        with torch.no_grad():
            outputs = self._embed(self._text_ids(rows)).float().split(len(rows))
            batch = make_batch(self.dataset, rows, outputs, head, self.guide)
            self.loss.solve_head(batch)
            head.eval()
            loss = self.loss(batch).item()
            head.train()
        return loss

    def run(self, batches: Sequence[np.ndarray], number: int) -> float:
        """Train on some batches, and return their mean loss."""
        if self.solves:
            return self.solve_head()
        self.optimizer.zero_grad()
        total = 0.0
        for i, rows in enumerate(batches):
            with torch_seed(self.seed + number * self.gradient_accumulation + i):
                loss = self._backward(rows, share=1 / len(batches))
            if not np.isfinite(loss):
                raise FloatingPointError(
                    f"the loss of step {number} is {loss}, in rows "
                    f"{self.dataset.row_ids[rows].tolist()} of X. Lower learning_rate, or pass "
                    "dtype='float32' if it is another."
                )
            total += loss / len(batches)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        self.optimizer.step()
        self.scheduler.step()
        return total

    @torch.no_grad()
    def check_finite(self, rows: np.ndarray) -> None:
        """Raise if the outputs are not finite, because no loss is computed after the last step."""
        self.model.train(False)
        text_ids = self._text_ids(rows)[: self.forward_batch_size]
        trained = [
            self._embed(text_ids),
            *(self.head.parameters() if self.head is not None else ()),
        ]
        if not all(values.isfinite().all() for values in trained):
            raise FloatingPointError(
                "the outputs of the model are not finite after the last step. Lower learning_rate and "
                "head_learning_rate, or pass dtype='float32' if it is another."
            )

    def to_encoder(self) -> Encoder:
        """Return the encoder with its current weights and the activation that the loss implies."""
        encoder = self.model.to_encoder()
        if isinstance(encoder, PairEncoder):
            return encoder.with_head(encoder.head.with_activation(self.loss.activation()))
        return encoder

    def count_tokens(self, batches: Sequence[np.ndarray]) -> int:
        """Return the number of tokens of some batches."""
        return sum(int(self.tokens.lengths[self._text_ids(rows)].sum()) for rows in batches)

    def trained_tensors(self) -> list[tuple[str, torch.Tensor]]:
        """Return the trained weights, and the statistics of normalizations in the head."""
        tensors: list[tuple[str, torch.Tensor]] = list(self.model.named_parameters())
        if self.head is not None:
            tensors += [*self.head.named_parameters("head"), *self.head.named_buffers("head")]
        return tensors

    def copy_weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of the trained weights."""
        return {name: tensor.detach().clone() for name, tensor in self.trained_tensors()}

    @torch.no_grad()
    def set_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Set the trained weights."""
        for name, tensor in self.trained_tensors():
            tensor.copy_(weights[name])

    def _backward(self, rows: np.ndarray, share: float) -> float:
        text_ids = self._text_ids(rows)
        chunk_size = self.forward_batch_size or len(text_ids)
        if chunk_size >= len(text_ids) or self.model.precomputed is not None:
            loss = self._compute_loss(rows, self._embed(text_ids))
            (loss * share).backward()
            return loss.item()
        # Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup":
        # the gradient of the loss with respect to the embeddings first, then chunk by chunk through
        # the model, with the same dropout as before.
        chunks = np.array_split(text_ids, -(-len(text_ids) // chunk_size))
        seeds = [torch.initial_seed() + _SEED_STEP * (k + 1) for k in range(len(chunks))]
        embeddings = []
        with torch.no_grad():
            for chunk, seed in zip(chunks, seeds, strict=True):
                torch.manual_seed(seed)
                embeddings.append(self._embed(chunk))
        whole = torch.cat(embeddings).requires_grad_()
        loss = self._compute_loss(rows, whole)
        (loss * share).backward()
        gradients = require(whole.grad, "gradients").split([len(chunk) for chunk in chunks])
        for chunk, seed, gradient in zip(chunks, seeds, gradients, strict=True):
            torch.manual_seed(seed)
            self._embed(chunk).backward(gradient)
        return loss.item()

    def _text_ids(self, rows: np.ndarray) -> np.ndarray:
        text_ids = self.dataset.text_ids[:, rows]
        # Twice, so that dropout makes two views of each text.
        n_views = 2 if self.dataset.format == DataFormat.TEXTS else 1
        return np.tile(text_ids, (n_views, 1)).ravel()

    def _embed(self, text_ids: np.ndarray) -> torch.Tensor:
        mixed = self.dtype != torch.float32
        with torch.autocast(self.model.device.type, self.dtype, enabled=mixed):
            return self.model.embed(self.tokens, text_ids)

    def _compute_loss(self, rows: np.ndarray, embeddings: torch.Tensor) -> torch.Tensor:
        outputs = embeddings.float().split(len(rows))
        return self.loss(make_batch(self.dataset, rows, outputs, self.head, self.guide))


def make_batch(
    dataset: TrainingDataset,
    rows: np.ndarray,
    outputs: Sequence[torch.Tensor],
    head: nn.Module | None,
    guide: np.ndarray | None,
) -> Batch:
    """Return what a loss is computed from."""
    device = outputs[0].device

    def select(values: np.ndarray | None) -> torch.Tensor | None:
        return None if values is None else torch.from_numpy(values[rows]).to(device)

    guides = None
    if guide is not None:
        guides = [torch.from_numpy(guide[ids]).to(device) for ids in dataset.text_ids[:, rows]]
    return Batch(
        outputs,
        select(dataset.target),
        select(dataset.weight),
        head,
        guides,
        select(dataset.query_ids),
        select(dataset.features),
    )
