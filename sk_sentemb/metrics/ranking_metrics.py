"""Metrics of rankings at a cutoff: one value per query, or their mean."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from .._docstrings import substitute_docstring
from .._warn import warn
from .rankings import JudgedRankings, judge_rankings

# Computes the value of each query.
Metric = Callable[[JudgedRankings], np.ndarray]


@substitute_docstring
def ndcg_at_k(
    y_true: Any, y_pred: Any, k: int = 10, *, gain: str = "linear", average: bool = True
) -> float | np.ndarray:
    """Compute the normalized discounted cumulative gain of the first k documents.

    Each relevant document counts its gain, divided by log2(rank + 1); the sum is divided by that of the
    best possible ranking [1]_.

    Parameters
    ----------
    {y_true_of_rankings}
    {y_pred_of_rankings}
    {k_of_rankings}
    gain : {"linear", "exponential"}, default="linear"
        Gain of a document.

        - ``"linear"``: its grade, as in scikit-learn, trec_eval and BEIR;
        - ``"exponential"``: ``2 ** grade - 1``, which emphasizes high grades.

    {average_of_rankings}

    Returns
    -------
    {value_of_rankings}

    References
    ----------
    .. [1] K. Järvelin and J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM
       Transactions on Information Systems, 2002.

    Examples
    --------
    >>> from sk_sentemb.metrics import ndcg_at_k
    >>> y_true = [["a", "c"], ["d"]]
    >>> y_pred = [["a", "b", "c"], ["a", "d"]]
    >>> round(ndcg_at_k(y_true, y_pred, k=2), 3)
    0.622
    """
    if gain not in ("linear", "exponential"):
        raise ValueError(f"gain={gain!r}: pass 'linear' or 'exponential'.")
    metric = _ndcg if gain == "linear" else _exponential_ndcg
    return compute(metric, y_true, y_pred, k, average=average)


@substitute_docstring
def map_at_k(y_true: Any, y_pred: Any, k: int = 10, *, average: bool = True) -> float | np.ndarray:
    """Compute the mean average precision of the first k documents.

    The average precision of a query is the sum of the precisions at the ranks of its relevant documents,
    divided by the number of all relevant documents, as in trec_eval. If there are more than ``k`` of
    them, it cannot reach 1.

    Parameters
    ----------
    {y_true_of_rankings}
    {y_pred_of_rankings}
    {k_of_rankings}
    {average_of_rankings}

    Returns
    -------
    {value_of_rankings}

    Examples
    --------
    >>> from sk_sentemb.metrics import map_at_k
    >>> y_true = [["a", "c"], ["d"]]
    >>> y_pred = [["a", "b", "c"], ["a", "d"]]
    >>> round(map_at_k(y_true, y_pred, k=2), 3)
    0.5
    """
    return compute(_map, y_true, y_pred, k, average=average)


@substitute_docstring
def mrr_at_k(y_true: Any, y_pred: Any, k: int = 10, *, average: bool = True) -> float | np.ndarray:
    """Compute the mean reciprocal rank of the first relevant document.

    It is 0 for a query without a relevant document among the first ``k``.

    Parameters
    ----------
    {y_true_of_rankings}
    {y_pred_of_rankings}
    {k_of_rankings}
    {average_of_rankings}

    Returns
    -------
    {value_of_rankings}

    Examples
    --------
    >>> from sk_sentemb.metrics import mrr_at_k
    >>> y_true = [["a", "c"], ["d"]]
    >>> y_pred = [["a", "b", "c"], ["a", "d"]]
    >>> round(mrr_at_k(y_true, y_pred, k=2), 3)
    0.75
    """
    return compute(_mrr, y_true, y_pred, k, average=average)


@substitute_docstring
def recall_at_k(
    y_true: Any, y_pred: Any, k: int = 10, *, average: bool = True
) -> float | np.ndarray:
    """Compute the fraction of the relevant documents that are among the first k.

    If a query has more than ``k`` relevant documents, it cannot reach 1.

    Parameters
    ----------
    {y_true_of_rankings}
    {y_pred_of_rankings}
    {k_of_rankings}
    {average_of_rankings}

    Returns
    -------
    {value_of_rankings}

    Examples
    --------
    >>> from sk_sentemb.metrics import recall_at_k
    >>> y_true = [["a", "c"], ["d"]]
    >>> y_pred = [["a", "b", "c"], ["a", "d"]]
    >>> round(recall_at_k(y_true, y_pred, k=2), 3)
    0.75
    """
    return compute(_recall, y_true, y_pred, k, average=average)


@substitute_docstring
def precision_at_k(
    y_true: Any, y_pred: Any, k: int = 10, *, average: bool = True
) -> float | np.ndarray:
    """Compute the fraction of the first k documents that are relevant.

    The divisor is ``k`` for rankings with fewer documents, too, as in trec_eval.

    Parameters
    ----------
    {y_true_of_rankings}
    {y_pred_of_rankings}
    {k_of_rankings}
    {average_of_rankings}

    Returns
    -------
    {value_of_rankings}

    Examples
    --------
    >>> from sk_sentemb.metrics import precision_at_k
    >>> y_true = [["a", "c"], ["d"]]
    >>> y_pred = [["a", "b", "c"], ["a", "d"]]
    >>> round(precision_at_k(y_true, y_pred, k=2), 3)
    0.5
    """
    return compute(_precision, y_true, y_pred, k, average=average)


@substitute_docstring
def hit_rate_at_k(
    y_true: Any, y_pred: Any, k: int = 10, *, average: bool = True
) -> float | np.ndarray:
    """Compute the fraction of the queries with a relevant document among the first k.

    Also called success at k; for queries with one relevant document, it is the accuracy at k.

    Parameters
    ----------
    {y_true_of_rankings}
    {y_pred_of_rankings}
    {k_of_rankings}
    {average_of_rankings}

    Returns
    -------
    {value_of_rankings}

    Examples
    --------
    >>> from sk_sentemb.metrics import hit_rate_at_k
    >>> y_true = [["a", "c"], ["d"]]
    >>> y_pred = [["a", "b", "c"], ["a", "d"]]
    >>> round(hit_rate_at_k(y_true, y_pred, k=2), 3)
    1.0
    """
    return compute(_hit_rate, y_true, y_pred, k, average=average)


def compute(
    metric: Metric, y_true: Any, y_pred: Any, k: int, *, average: bool
) -> float | np.ndarray:
    """Compute the values of a metric, or their mean."""
    if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k={k!r}: pass an int above 0.")
    judged = judge_rankings(y_true, y_pred, int(k))
    values = compute_values(metric, judged)
    return average_defined(values) if average else values


def compute_values(metric: Metric, judged: JudgedRankings) -> np.ndarray:
    """Compute the value of each query, NaN where no document is relevant."""
    values = np.full(len(judged.grades), np.nan)
    defined = judged.n_relevant > 0
    values[defined] = metric(JudgedRankings(*(part[defined] for part in judged)))
    return values


def average_defined(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN, and warn of the others."""
    undefined = np.isnan(values)
    if undefined.any() or not values.size:
        warn(
            f"{undefined.sum()} of {len(values)} queries have no relevant documents and are left out of "
            "the mean. Leave them out of y_true and y_pred, or pass average=False.",
            UndefinedMetricWarning,
        )
    return float(values[~undefined].mean()) if not undefined.all() else float("nan")


def _ndcg(judged: JudgedRankings) -> np.ndarray:
    discounts = 1 / np.log2(np.arange(judged.grades.shape[1]) + 2)
    return (judged.grades @ discounts) / (judged.ideal @ discounts)


def _exponential_ndcg(judged: JudgedRankings) -> np.ndarray:
    grades, ideal = (np.exp2(part) - 1 for part in (judged.grades, judged.ideal))
    return _ndcg(judged._replace(grades=grades, ideal=ideal))


def _map(judged: JudgedRankings) -> np.ndarray:
    relevant = judged.grades > 0
    precisions = relevant.cumsum(axis=1) / np.arange(1, relevant.shape[1] + 1)
    return (precisions * relevant).sum(axis=1) / judged.n_relevant


def _mrr(judged: JudgedRankings) -> np.ndarray:
    relevant = judged.grades > 0
    return np.where(relevant.any(axis=1), 1 / (relevant.argmax(axis=1) + 1), 0.0)


def _recall(judged: JudgedRankings) -> np.ndarray:
    return (judged.grades > 0).sum(axis=1) / judged.n_relevant


def _precision(judged: JudgedRankings) -> np.ndarray:
    return (judged.grades > 0).mean(axis=1)


def _hit_rate(judged: JudgedRankings) -> np.ndarray:
    return (judged.grades > 0).any(axis=1).astype(float)


_METRICS: dict[str, Metric] = {
    "ndcg": _ndcg,
    "map": _map,
    "mrr": _mrr,
    "recall": _recall,
    "precision": _precision,
    "hit_rate": _hit_rate,
}


def parse_metric(name: str) -> tuple[Metric, int]:
    """Return the metric and the cutoff of a name such as "ndcg@10"."""
    metric, _, k = name.partition("@") if isinstance(name, str) else ("", "", "")
    if metric not in _METRICS or not k.isdecimal() or int(k) < 1:
        raise ValueError(
            f"metric={name!r}: pass one of {sorted(_METRICS)} and a cutoff, such as 'ndcg@10'."
        )
    return _METRICS[metric], int(k)
