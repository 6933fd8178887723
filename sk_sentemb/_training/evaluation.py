"""How good a model is on rows that it does not learn from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, ndcg_score

from ..encoder import TokenizedTexts, TrainableEncoder
from ..losses import DataFormat, Loss
from .batching import is_informative
from .dataset import TrainingDataset
from .step import make_batch
from .task import Task

METRICS = ("auto", "loss", "spearman", "average_precision", "ndcg")

# What tells most about each shape of data; the loss about all others.
_BEST = {
    DataFormat.SCORES: "spearman",
    DataFormat.BINARY: "average_precision",
    DataFormat.LISTS: "ndcg",
}

# How many of a list count, for nDCG.
_FIRST = 10

# Texts that run together: nothing has to be kept for gradients.
_TEXTS_AT_ONCE = 64

Metric = Callable[[list[np.ndarray], np.ndarray | None], float]


class UndefinedScoreError(ValueError):
    """The metric is undefined for the validation rows or for the model's scores of them."""


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Rows to validate on, and what to measure."""

    examples: TrainingDataset
    tokens: TokenizedTexts
    metric: str | Metric
    loss: Loss
    kind: Task
    batches: list[np.ndarray]
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
    def score(self, model: TrainableEncoder, head: torch.nn.Module | None) -> tuple[float, float]:
        """Return the metric of the model as it is now, and the loss, which decides between equals.

        On few rows, a metric of ranks stays the same for many steps in which the model gets better.
        """
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
            loss = self._loss(columns, head)
            return loss, loss
        if callable(self.metric):
            as_arrays = [column.cpu().numpy() for column in columns]
            returned = self.metric(as_arrays, self.examples.target)
            try:
                score = float(returned)
            except (TypeError, ValueError) as error:
                raise TypeError(
                    f"metric, a function, returned {returned!r}; it must return one number, the higher "
                    "the better."
                ) from error
            if np.isnan(score):
                raise UndefinedScoreError("metric, a function, returned NaN")
            return score, np.inf  # the loss does not decide beside a metric of the user
        score = float(self._of_scores(self.kind.compare(columns).cpu().numpy()))
        try:
            return score, self._loss(columns, head)
        except UndefinedScoreError:
            return score, np.inf

    def _of_scores(self, scores: np.ndarray) -> float:
        """Say how well numbers for rows agree with the targets."""
        target, lists = self.examples.target, self.examples.lists
        assert target is not None
        if np.isnan(scores).any():
            raise UndefinedScoreError("the model's scores of the validation rows are NaN")
        if self.name == "validation_ndcg":
            assert lists is not None
            return _mean_ndcg(target, scores, lists)
        if len(np.unique(target)) < 2:
            raise UndefinedScoreError(
                f"y is {target[0]:g} in each of the {len(target)} validation rows"
            )
        if self.name == "validation_average_precision":
            return average_precision_score(target, scores)
        if len(np.unique(scores)) < 2:
            raise UndefinedScoreError("the model's scores of the validation rows are all the same")
        return spearmanr(scores, target).statistic

    def _loss(self, columns: list[torch.Tensor], head: torch.nn.Module | None) -> float:
        """Average the loss over batches, in an order that does not change."""
        needs = self.loss.needs
        batches = [rows for rows in self.batches if is_informative(needs, self.examples, rows)]
        if not batches:
            raise UndefinedScoreError(
                f"no batch of the {len(self.examples)} validation rows has what loss={self.loss} "
                f"compares, {needs.words}"
            )
        total, n_rows = 0.0, sum(map(len, batches))
        for rows in batches:
            views = [column[rows] for column in columns] * (
                2 if self.examples.shape == DataFormat.TEXTS else 1
            )
            batch = make_batch(self.examples, rows, views, head, self.guide)
            total += self.loss(batch).item() * len(rows) / n_rows
        if np.isnan(total):
            raise UndefinedScoreError("the loss of the validation rows is NaN")
        return total


def _mean_ndcg(target: np.ndarray, scores: np.ndarray, lists: np.ndarray) -> float:
    """Average nDCG over the lists in which the order matters."""
    target = target.clip(min=0)  # Grades below 0 gain nothing, as for LambdaLoss.
    rows = [np.flatnonzero(lists == one) for one in np.unique(lists)]
    graded = [r for r in rows if np.ptp(target[r]) > 0]
    if not graded:
        raise UndefinedScoreError(f"none of the {len(rows)} validation lists has two grades")
    return np.mean([ndcg_score(target[r][None], scores[r][None], k=_FIRST) for r in graded])
