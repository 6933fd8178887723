"""Scorers for the ``scoring`` parameter of scikit-learn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from sklearn.metrics import average_precision_score, make_scorer

from .ranking_metrics import average_defined, compute_values, parse_metric
from .rankings import judge_rankings


@dataclass(frozen=True)
class RetrievalScorer:
    """Scores a retriever by a metric of its rankings; made by ``make_retrieval_scorer``."""

    metric: str

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Return the mean of the metric over the queries in ``X``."""
        metric, k = parse_metric(self.metric)
        ids = np.asarray(estimator.ids_)
        rows = estimator.kneighbors(X, min(k, len(ids)), return_distance=False)
        rankings = [[ids[row] for row in ranking if row >= 0] for ranking in rows]
        return average_defined(compute_values(metric, judge_rankings(y, rankings, k)))

    def __repr__(self) -> str:
        return f"make_retrieval_scorer({self.metric!r})"


def make_retrieval_scorer(metric: str = "ndcg@10") -> RetrievalScorer:
    """Make a scorer of retrievers for ``cross_validate``, ``GridSearchCV`` and the like.

    Parameters
    ----------
    metric : str, default="ndcg@10"
        Name of a metric with a cutoff: ``"ndcg@k"``, ``"map@k"``, ``"mrr@k"``, ``"recall@k"``,
        ``"precision@k"`` or ``"hit_rate@k"``, with a number for ``k``.

    Returns
    -------
    callable
        A scorer with the arguments estimator, ``X`` and ``y``: a fitted ``SemanticRetriever`` or
        ``SemanticIndex``, queries, and judgments.

    Raises
    ------
    ValueError
        If the name is not that of a metric.

    Examples
    --------
    >>> from sk_sentemb.metrics import make_retrieval_scorer
    >>> make_retrieval_scorer("recall@100")
    make_retrieval_scorer('recall@100')
    """
    parse_metric(metric)
    return RetrievalScorer(metric)


def spearman_correlation(y_true: Any, y_pred: Any) -> float:
    """Return Spearman's rank correlation, NaN where all values are equal."""
    return float(stats.spearmanr(y_true, y_pred).statistic)


def pearson_correlation(y_true: Any, y_pred: Any) -> float:
    """Return Pearson's correlation, NaN where all values are equal."""
    return float(stats.pearsonr(y_true, y_pred).statistic)


#: Scorer of Spearman's rank correlation between ``y`` and predictions, the usual metric of similarities.
spearman_scorer = make_scorer(spearman_correlation)

#: Scorer of Pearson's correlation between ``y`` and predictions.
pearson_scorer = make_scorer(pearson_correlation)

#: Scorer of the average precision of predicted similarities or probabilities, for labels 0 and 1.
average_precision_scorer = make_scorer(
    average_precision_score, response_method=("decision_function", "predict_proba", "predict")
)
