"""One step of a training: batches through the model, their loss, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from .._random import torch_seed
from ..encoder import Encoder, TokenizedTexts, TrainableEncoder
from ..losses import Batch, DataFormat, Loss
from .dataset import TrainingDataset

# Keeps the seeds of a batch's parts from those of other batches.
_SEED_STEP = 2**31


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """All that a step needs."""

    model: TrainableEncoder
    head: nn.Module | None
    loss: Loss
    examples: TrainingDataset
    tokens: TokenizedTexts
    optimizer: torch.optim.Optimizer
    scheduler: Any
    seed: int
    dtype: torch.dtype
    max_grad_norm: float
    gradient_accumulation: int
    forward_batch_size: int | None
    freeze_epochs: int = 0
    guide: np.ndarray | None = None
    solves: bool = False

    def begin_epoch(self, epoch: int) -> None:
        """Let the model learn, if it is time."""
        if self.model.trainable and epoch >= self.freeze_epochs:
            self.model.precomputed = None

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step; NaN where there is none."""
        return np.nan if self.solves else self.scheduler.get_last_lr()[0]

    def solve_head(self) -> float:
        """Put the best weights for the embeddings as they are into the head, and return the loss."""
        rows = np.arange(len(self.examples))
        with torch.no_grad():
            columns = self._embed(self._texts(rows)).float().split(len(rows))
            batch = make_batch(self.examples, rows, columns, self.head, self.guide)
            self.loss.solve_head(batch)
            assert self.head is not None
            self.head.eval()
            loss = self.loss(batch).item()
            self.head.train()
        return loss

    def step(self, batches: Sequence[np.ndarray], number: int) -> float:
        """Learn from some batches, and return their loss."""
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
                    f"{self.examples.rows[rows].tolist()} of X. Lower learning_rate, or pass "
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
        """Raise if the model's outputs are not finite, since no loss is computed after the last step."""
        self.model.train(False)
        texts = self._texts(rows)[: self.forward_batch_size]
        trained = [self._embed(texts), *(self.head.parameters() if self.head is not None else ())]
        if not all(values.isfinite().all() for values in trained):
            raise FloatingPointError(
                "the last step has left a model whose outputs are not finite. Lower learning_rate "
                "and head_learning_rate, or pass dtype='float32' if it is another."
            )

    def finished(self) -> Encoder:
        """Return the encoder as it is now, with the activation that its loss is for."""
        encoder = self.model.to_encoder()
        if encoder.head is None:
            return encoder
        return encoder.with_head(encoder.head.with_activation(self.loss.activation()))

    def n_tokens(self, batches: Sequence[np.ndarray]) -> int:
        """Count the tokens of some batches."""
        return sum(int(self.tokens.lengths[self._texts(rows)].sum()) for rows in batches)

    def _backward(self, rows: np.ndarray, share: float) -> float:
        texts = self._texts(rows)
        n_at_once = self.forward_batch_size or len(texts)
        if n_at_once >= len(texts) or self.model.precomputed is not None:
            loss = self._loss(rows, self._embed(texts))
            (loss * share).backward()
            return loss.item()
        # Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup":
        # the gradient of the loss with respect to the vectors first, then part by part through the
        # model, with the same dropout as before.
        parts = np.array_split(texts, -(-len(texts) // n_at_once))
        seeds = [torch.initial_seed() + _SEED_STEP * (k + 1) for k in range(len(parts))]
        vectors = []
        with torch.no_grad():
            for part, seed in zip(parts, seeds, strict=True):
                torch.manual_seed(seed)
                vectors.append(self._embed(part))
        whole = torch.cat(vectors).requires_grad_()
        loss = self._loss(rows, whole)
        (loss * share).backward()
        assert whole.grad is not None
        gradients = whole.grad.split([len(part) for part in parts])
        for part, seed, gradient in zip(parts, seeds, gradients, strict=True):
            torch.manual_seed(seed)
            self._embed(part).backward(gradient)
        return loss.item()

    def _texts(self, rows: np.ndarray) -> np.ndarray:
        texts = self.examples.columns[:, rows]
        # Twice, so that dropout makes two views of each.
        return (
            np.tile(texts, (2, 1)) if self.examples.shape == DataFormat.TEXTS else texts
        ).ravel()

    def _embed(self, texts: np.ndarray) -> torch.Tensor:
        mixed = self.dtype != torch.float32
        with torch.autocast(self.model.device.type, self.dtype, enabled=mixed):
            return self.model.embed(self.tokens, texts)

    def _loss(self, rows: np.ndarray, vectors: torch.Tensor) -> torch.Tensor:
        columns = vectors.float().split(len(rows))
        return self.loss(make_batch(self.examples, rows, columns, self.head, self.guide))


def make_batch(
    examples: TrainingDataset,
    rows: np.ndarray,
    columns: Sequence[torch.Tensor],
    head: nn.Module | None,
    guide: np.ndarray | None,
) -> Batch:
    """Put together what a loss is given."""
    device = columns[0].device

    def of(values: np.ndarray | None, at: np.ndarray) -> torch.Tensor | None:
        return None if values is None else torch.from_numpy(values[at]).to(device)

    guides = None
    if guide is not None:
        guides = [torch.from_numpy(guide[texts]).to(device) for texts in examples.columns[:, rows]]
    return Batch(
        columns,
        of(examples.target, rows),
        of(examples.weight, rows),
        head,
        guides,
        of(examples.lists, rows),
        of(examples.features, rows),
    )
