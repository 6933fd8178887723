"""The quality of a model on validation rows."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, ndcg_score

from ..encoder import TokenizedTexts, TrainableEncoder
from ..losses import DataFormat, Loss, require
from .batch_sampler import is_informative
from .dataset import TrainingDataset
from .fine_tuner import Metric
from .step import make_batch
from .task import Task

# The metric that ``"auto"`` selects; the loss for all other formats.
_DEFAULT_METRICS = {
    DataFormat.SCORES: "spearman",
    DataFormat.BINARY: "average_precision",
    DataFormat.LISTS: "ndcg",
}

_NDCG_K = 10

# More texts in a forward pass than in training, because nothing is kept for gradients.
_BATCH_SIZE = 64


class UndefinedScoreError(ValueError):
    """The metric is undefined for the validation rows, or for the model's scores of them."""


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Validation rows and the metric."""

    dataset: TrainingDataset
    tokens: TokenizedTexts
    metric: str | Metric
    loss: Loss
    task: Task
    batches: list[np.ndarray]  # for the loss, which depends on them
    guide: np.ndarray | None = None

    @property
    def name(self) -> str:
        """The name of the metric in the history."""
        if callable(self.metric):
            return "validation_score"
        if self.metric != "auto":
            return f"validation_{self.metric}"
        return f"validation_{_DEFAULT_METRICS.get(self.dataset.format, 'loss')}"

    @property
    def lower_is_better(self) -> bool:
        """Whether the metric is the loss."""
        return self.name == "validation_loss"

    @torch.no_grad()
    def score(self, model: TrainableEncoder, head: torch.nn.Module | None) -> tuple[float, float]:
        """Return the metric of the current model, and the loss, which decides between equal scores."""
        # On few rows, rank metrics stay the same for many steps in which the model improves.
        outputs = self._compute_outputs(model)
        if self.lower_is_better:
            loss = self._compute_loss(outputs, head)
            return loss, loss
        if callable(self.metric):
            return self._call_metric(self.metric, outputs), np.inf  # the loss has no say here
        score = float(self._compute_metric(self.task.compare(outputs).cpu().numpy()))
        try:
            return score, self._compute_loss(outputs, head)
        except UndefinedScoreError:
            return score, np.inf

    def _compute_outputs(self, model: TrainableEncoder) -> list[torch.Tensor]:
        model.train(False)
        used = np.unique(self.dataset.text_ids)
        embeddings = torch.zeros(len(self.dataset.texts), model.dim, device=model.device)
        for start in range(0, len(used), _BATCH_SIZE):
            text_ids = used[start : start + _BATCH_SIZE]
            embeddings[text_ids] = model.embed(self.tokens, text_ids).float()
        model.train()
        return [embeddings[text_ids] for text_ids in self.dataset.text_ids]

    def _call_metric(self, metric: Metric, outputs: list[torch.Tensor]) -> float:
        returned = metric([column.cpu().numpy() for column in outputs], self.dataset.target)
        try:
            score = float(returned)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"metric, a function, returned {returned!r}; it must return one number, the higher the "
                "better."
            ) from error
        if np.isnan(score):
            raise UndefinedScoreError("metric, a function, returned NaN")
        return score

    def _compute_metric(self, scores: np.ndarray) -> float:
        """Compare the scores of the rows with their targets."""
        target = require(self.dataset.target, "y")
        if np.isnan(scores).any():
            raise UndefinedScoreError("the model's scores of the validation rows are NaN")
        if self.name == "validation_ndcg":
            return _mean_ndcg(target, scores, require(self.dataset.query_ids, "query_id"))
        if len(np.unique(target)) < 2:
            raise UndefinedScoreError(
                f"y is {target[0]:g} in each of the {len(target)} validation rows"
            )
        if self.name == "validation_average_precision":
            return average_precision_score(target, scores)
        if len(np.unique(scores)) < 2:
            raise UndefinedScoreError("the model's scores of the validation rows are all the same")
        return spearmanr(scores, target).statistic

    def _compute_loss(self, outputs: list[torch.Tensor], head: torch.nn.Module | None) -> float:
        """Average the loss over batches, which are the same in every epoch."""
        needs = self.loss.needs
        batches = [rows for rows in self.batches if is_informative(needs, self.dataset, rows)]
        if not batches:
            raise UndefinedScoreError(
                f"loss={self.loss} needs {needs.words} in a batch, and no batch of the "
                f"{len(self.dataset)} validation rows has that"
            )
        n_views = 2 if self.dataset.format == DataFormat.TEXTS else 1
        total, n_rows = 0.0, sum(map(len, batches))
        for rows in batches:
            views = [column[rows] for column in outputs] * n_views
            batch = make_batch(self.dataset, rows, views, head, self.guide)
            total += self.loss(batch).item() * len(rows) / n_rows
        if np.isnan(total):
            raise UndefinedScoreError("the loss of the validation rows is NaN")
        return total


def _mean_ndcg(target: np.ndarray, scores: np.ndarray, query_ids: np.ndarray) -> float:
    """Average nDCG over the lists with at least two grades."""
    target = target.clip(min=0)  # Grades below 0 gain nothing, as for LambdaLoss.
    rows = [np.flatnonzero(query_ids == query) for query in np.unique(query_ids)]
    graded = [r for r in rows if np.ptp(target[r]) > 0]
    if not graded:
        raise UndefinedScoreError(f"none of the {len(rows)} validation lists has two grades")
    return np.mean([ndcg_score(target[r][None], scores[r][None], k=_NDCG_K) for r in graded])
