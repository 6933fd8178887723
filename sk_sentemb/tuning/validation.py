"""How good a model is on rows that it does not learn from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, ndcg_score

from ..encoder import Tokens, TrainableEncoder
from .examples import Examples
from .kinds import Kind
from .losses import BINARY, LISTS, SCORES, TEXTS, Loss
from .sampling import batches_of_epoch
from .trainer import make_batch

METRICS = ("auto", "loss", "spearman", "average_precision", "ndcg")

# What tells most about each shape of data; the loss about all others.
_BEST = {SCORES: "spearman", BINARY: "average_precision", LISTS: "ndcg"}

# How many of a list count, for nDCG.
_FIRST = 10

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
    kind : Kind
        Of the model.
    batch_size : int
        Rows of a batch, for the loss.
    """

    examples: Examples
    tokens: Tokens
    metric: str | Metric
    loss: Loss
    kind: Kind
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
        if callable(self.metric):
            as_arrays = [column.cpu().numpy() for column in columns]
            return float(self.metric(as_arrays, self.examples.target))
        scores = self.kind.compare(columns).cpu().numpy()
        return float(self._of_scores(scores))

    def _of_scores(self, scores: np.ndarray) -> float:
        """Say how well numbers for rows agree with the targets."""
        target, lists = self.examples.target, self.examples.lists
        if self.name == "validation_spearman":
            return spearmanr(scores, target).statistic
        if self.name == "validation_average_precision":
            return average_precision_score(target, scores)
        assert target is not None
        assert lists is not None
        # Grades below 0 gain nothing, as for LambdaLoss.
        target = target.clip(min=0)
        rows = [np.flatnonzero(lists == one) for one in np.unique(lists)]
        graded = [r for r in rows if len(r) > 1 and target[r].max() > 0]
        if not graded:
            return 0.0
        return np.mean([ndcg_score(target[r][None], scores[r][None], k=_FIRST) for r in graded])

    def _loss(self, columns: list[torch.Tensor], head: torch.nn.Module | None) -> float:
        """Average the loss over batches, in an order that does not change."""
        n_rows = len(self.examples)
        batches = batches_of_epoch(
            np.random.default_rng(0),
            self.examples.columns,
            batch_size=self.batch_size,
            lists=self.examples.lists,
        )
        total = 0.0
        for rows in batches:
            views = [column[rows] for column in columns] * (
                2 if self.examples.shape == TEXTS else 1
            )
            batch = make_batch(self.examples, rows, views, head, self.guide)
            total += self.loss(batch).item() * len(rows) / n_rows
        return total
