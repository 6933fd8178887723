"""Reports on rankings: values of each query, and intervals by bootstrap over the queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._docstrings import substitute_docstring
from .._random import draw_seed
from .ranking_metrics import average_defined, compute_values, parse_metric
from .rankings import judge_rankings

_METRICS = ("ndcg@10", "map@100", "mrr@10", "recall@10", "recall@100", "precision@10")

# Number of resampled values in memory at once.
_BLOCK = 2**22


@dataclass(frozen=True)
class RetrievalReport:
    """Metrics of rankings, made by :func:`~sk_sentemb.metrics.retrieval_report`.

    Attributes
    ----------
    per_query : DataFrame
        One row per query: ``query``, ``n_relevant`` and one column per metric, NaN for queries without
        relevant documents.
    summary : DataFrame
        One row per metric, with the mean, the bounds ``low`` and ``high`` of its confidence interval,
        and the number of queries.
    """

    per_query: pd.DataFrame
    summary: pd.DataFrame

    def __repr__(self) -> str:
        return repr(self.summary)


class RetrieverComparison(NamedTuple):
    """The difference of two rankings in a metric, made by ``compare_retrievers``.

    The fields are the name of the metric, the two means, their difference with the bounds of its
    confidence interval, the p-value and the number of queries.
    """

    metric: str
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    p_value: float
    n_queries: int


@substitute_docstring
def retrieval_report(
    y_true: Any,
    y_pred: Any,
    metrics: Sequence[str] = _METRICS,
    *,
    confidence_level: float = 0.95,
    n_resamples: int = 2000,
    random_state: int | np.random.RandomState | None = None,
) -> RetrievalReport:
    """Compute metrics of rankings for each query, and their means with confidence intervals.

    Parameters
    ----------
    {y_true_of_rankings}
    {y_pred_of_rankings}
    metrics : sequence of str, \
            default=("ndcg@10", "map@100", "mrr@10", "recall@10", "recall@100", "precision@10")
        Names of metrics with a cutoff: ``"ndcg@k"``, ``"map@k"``, ``"mrr@k"``, ``"recall@k"``,
        ``"precision@k"`` or ``"hit_rate@k"``, with a number for ``k``.
    confidence_level : float, default=0.95
        Level of the intervals, between 0 and 1.
    n_resamples : int, default=2000
        Number of bootstrap samples of the queries.
    random_state : int, RandomState instance or None, default=None
        Controls the bootstrap samples. Pass an int for reproducible results.

    Returns
    -------
    RetrievalReport
        The values of each query in ``per_query``, and the means in ``summary``.

    See Also
    --------
    compare_retrievers : The difference between two rankings, with its interval.

    Notes
    -----
    The interval has the percentiles of the means of queries drawn with replacement. It says how much the
    mean depends on the choice of the queries.

    Examples
    --------
    >>> from sk_sentemb.metrics import retrieval_report
    >>> y_true = [["a", "c"], ["d"], ["b"]]
    >>> y_pred = [["a", "b", "c"], ["a", "d"], ["b", "a"]]
    >>> report = retrieval_report(y_true, y_pred, ["mrr@10", "recall@2"], random_state=0)
    >>> report.summary["mean"].round(3).tolist()
    [0.833, 0.833]
    >>> report.per_query["recall@2"].tolist()
    [0.5, 1.0, 1.0]
    """
    _check_bootstrap(confidence_level, n_resamples)
    if isinstance(metrics, str):
        raise TypeError(f"metrics is the single str {metrics!r}. Pass [{metrics!r}].")
    parsed = {name: parse_metric(name) for name in metrics}
    if not parsed:
        raise ValueError("metrics is empty. Pass names such as 'ndcg@10'.")
    judged = judge_rankings(y_true, y_pred, max(k for _, k in parsed.values()))
    values = {name: compute_values(metric, judged.first(k)) for name, (metric, k) in parsed.items()}
    queries = np.arange(len(judged.n_relevant))
    per_query = pd.DataFrame({"query": queries, "n_relevant": judged.n_relevant, **values})
    defined = per_query[judged.n_relevant > 0][list(values)]
    average_defined(per_query[next(iter(values))].to_numpy())  # which warns of undefined values
    low, high = _bootstrap_interval(
        defined.to_numpy(), confidence_level, n_resamples, draw_seed(random_state)
    )
    summary = pd.DataFrame(
        {"mean": defined.mean(), "low": low, "high": high, "n_queries": len(defined)},
        index=pd.Index(list(values), name="metric"),
    )
    return RetrievalReport(per_query, summary)


@substitute_docstring
def compare_retrievers(
    y_true: Any,
    y_pred_a: Any,
    y_pred_b: Any,
    metric: str = "ndcg@10",
    *,
    confidence_level: float = 0.95,
    n_resamples: int = 10000,
    random_state: int | np.random.RandomState | None = None,
) -> RetrieverComparison:
    """Compare two rankings of the same queries by a paired bootstrap.

    Parameters
    ----------
    {y_true_of_rankings}
    y_pred_a, y_pred_b : list of n_queries rankings, or DataFrame
        The rankings of two retrievers: ids, scores by id, or the data frames of ``search``.
    metric : str, default="ndcg@10"
        Name of a metric with a cutoff, see :func:`~sk_sentemb.metrics.retrieval_report`.
    confidence_level : float, default=0.95
        Level of the interval, between 0 and 1.
    n_resamples : int, default=10000
        Number of bootstrap samples of the queries.
    random_state : int, RandomState instance or None, default=None
        Controls the bootstrap samples. Pass an int for reproducible results.

    Returns
    -------
    RetrieverComparison
        The means, the difference ``mean_b - mean_a`` with its interval, and the p-value.

    Notes
    -----
    Queries are drawn with replacement, the same for both. The p-value is the probability that the
    difference of a sample deviates from the observed difference by as much as this deviates from zero
    [1]_. It is two-sided and at least ``1 / (n_resamples + 1)``.

    References
    ----------
    .. [1] B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 16.

    Examples
    --------
    >>> from sk_sentemb.metrics import compare_retrievers
    >>> y_true = [["a"], ["b"], ["c"], ["d"]]
    >>> a = [["b", "a"], ["a", "b"], ["c", "a"], ["a", "d"]]
    >>> b = [["a", "b"], ["b", "a"], ["c", "a"], ["a", "d"]]
    >>> comparison = compare_retrievers(y_true, a, b, "mrr@10", random_state=0)
    >>> comparison.difference
    0.25
    """
    _check_bootstrap(confidence_level, n_resamples)
    compute, k = parse_metric(metric)
    a, b = (compute_values(compute, judge_rankings(y_true, y, k)) for y in (y_pred_a, y_pred_b))
    mean_a = average_defined(a)  # which warns of undefined values
    differences = (b - a)[~np.isnan(a)]
    if not len(differences):
        nan = float("nan")
        return RetrieverComparison(metric, nan, nan, nan, nan, nan, nan, 0)
    observed = float(differences.mean())
    means = _bootstrap_means(differences[:, np.newaxis], n_resamples, draw_seed(random_state))[:, 0]
    low, high = _percentiles(means, confidence_level)
    # Without the slack, rounding decides whether the observed difference itself counts.
    as_extreme = np.abs(means - observed) >= abs(observed) - 1e-12
    p_value = (as_extreme.sum() + 1) / (n_resamples + 1)
    return RetrieverComparison(
        metric,
        mean_a,
        mean_a + observed,
        observed,
        float(low),
        float(high),
        float(p_value),
        len(differences),
    )


def _bootstrap_interval(
    values: np.ndarray, confidence_level: float, n_resamples: int, seed: int
) -> np.ndarray:
    """Return the bounds of the means of the columns, of shape (2, n_columns)."""
    if not len(values):
        return np.full((2, values.shape[1]), np.nan)
    return _percentiles(_bootstrap_means(values, n_resamples, seed), confidence_level)


def _bootstrap_means(values: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Return the means of rows drawn with replacement, of shape (n_resamples, n_columns)."""
    rng = np.random.default_rng(seed)
    n_rows = len(values)
    n_at_once = max(1, _BLOCK // n_rows)
    counts = (
        rng.multinomial(
            n_rows, np.full(n_rows, 1 / n_rows), size=min(n_at_once, n_resamples - start)
        )
        for start in range(0, n_resamples, n_at_once)
    )
    return np.concatenate([count @ values / n_rows for count in counts])


def _percentiles(means: np.ndarray, confidence_level: float) -> np.ndarray:
    tail = (1 - confidence_level) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0)


def _check_bootstrap(confidence_level: float, n_resamples: int) -> None:
    if not isinstance(confidence_level, Real) or not 0 < confidence_level < 1:
        raise ValueError(f"confidence_level={confidence_level!r}: pass a number between 0 and 1.")
    is_integer = isinstance(n_resamples, Integral) and not isinstance(n_resamples, bool)
    if not is_integer or n_resamples < 1:
        raise ValueError(f"n_resamples={n_resamples!r}: pass an int above 0.")
