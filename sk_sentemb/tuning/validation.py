"""How good a model is on rows that it does not learn from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from ..encoder import Tokens, TrainableEncoder
from .examples import Examples
from .losses import BINARY, SCORES, TEXTS, Loss
from .trainer import make_batch

METRICS = ("auto", "loss", "spearman", "average_precision")

# What tells most about each shape of data; the loss about all others.
_BEST = {SCORES: "spearman", BINARY: "average_precision"}

# Texts that run together: nothing has to be kept for gradients.
_TEXTS_AT_ONCE = 64

Metric = Callable[[list[np.ndarray], np.ndarray | None], float]


@dataclass(frozen=True, kw_only=True)
class Validator:
    """Rows to validate on, and what to measure.

    Attributes
    ----------
    examples : Examples
    tokens : Tokens
        Of their texts.
    metric : str or callable
        A name, or a function of the columns' vectors and the targets; the higher the better.
    loss : Loss
    batch_size : int
        Rows of a batch, for the loss.
    """

    examples: Examples
    tokens: Tokens
    metric: str | Metric
    loss: Loss
    batch_size: int
    guide: np.ndarray | None = None

    @property
    def name(self) -> str:
        """The metric's, in the history."""
        if callable(self.metric):
            return "validation_score"
        if self.metric != "auto":
            return f"validation_{self.metric}"
        return f"validation_{_BEST.get(self.examples.shape, 'loss')}"

    @property
    def lower_is_better(self) -> bool:
        """Whether it is the loss."""
        return self.name == "validation_loss"

    @torch.no_grad()
    def score(self, model: TrainableEncoder, head: torch.nn.Module | None) -> float:
        """Return the metric of the model as it is now."""
        model.train(False)
        n_texts = len(self.examples.texts)
        used = np.unique(self.examples.columns)
        vectors = torch.zeros(n_texts, model.dim, device=model.device)
        for start in range(0, len(used), _TEXTS_AT_ONCE):
            texts = used[start : start + _TEXTS_AT_ONCE]
            vectors[texts] = model.embed(self.tokens, texts).float()
        model.train()
        columns = [vectors[texts] for texts in self.examples.columns]
        if self.lower_is_better:
            return self._loss(columns, head)
        as_arrays = [column.cpu().numpy() for column in columns]
        return float(self._metric()(as_arrays, self.examples.target))

    def _metric(self) -> Any:
        if callable(self.metric):
            return self.metric
        rank = spearmanr if self.name == "validation_spearman" else None

        def of_cosines(columns: list[np.ndarray], target: np.ndarray) -> float:
            a, b = (torch.from_numpy(column) for column in columns)
            cosines = torch.cosine_similarity(a, b).numpy()
            if rank:
                return rank(cosines, target).statistic
            return average_precision_score(target, cosines)

        return of_cosines

    def _loss(self, columns: list[torch.Tensor], head: torch.nn.Module | None) -> float:
        """Average the loss over batches, in an order that does not change."""
        n_rows = len(self.examples)
        order = np.random.default_rng(0).permutation(n_rows)
        total = 0.0
        for start in range(0, n_rows, self.batch_size):
            rows = order[start : start + self.batch_size]
            views = [column[rows] for column in columns] * (
                2 if self.examples.shape == TEXTS else 1
            )
            batch = make_batch(self.examples, rows, views, head, self.guide)
            total += self.loss(batch).item() * len(rows) / n_rows
        return total
