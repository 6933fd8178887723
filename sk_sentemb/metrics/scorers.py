"""Scorers for the ``scoring`` parameter of scikit-learn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.sparse import issparse
from sklearn.metrics import average_precision_score, make_scorer

from .judgments import Judgments, read_judgments
from .ranking_metrics import average_defined, compute_values, parse_metric
from .rankings import judge_rankings

_average_precision = make_scorer(
    average_precision_score, response_method=("decision_function", "predict_proba", "predict")
)


@dataclass(frozen=True)
class RetrievalScorer:
    """Scores a retriever by a metric of its rankings; made by ``make_retrieval_scorer``."""

    metric: str

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Return the mean of the metric over the queries in ``X``."""
        metric, k = parse_metric(self.metric)
        rankings = _rank(estimator, X, k)
        judgments = _read_judgments(y, estimator.ids_)
        return average_defined(compute_values(metric, judge_rankings(judgments, rankings, k)))

    def __repr__(self) -> str:
        return f"make_retrieval_scorer({self.metric!r})"


def _read_judgments(y: Any, ids: Any) -> Judgments:
    """Return the grades of each query by id; the columns of a sparse matrix are positions."""
    judgments = read_judgments(y, "y")
    if not issparse(y):
        return judgments
    known = np.asarray(ids).tolist()
    if y.shape[1] != len(known):
        raise ValueError(
            f"y has {y.shape[1]} columns, but there are {len(known)} documents. Pass a column for each "
            "document, in the order of ids_."
        )
    return [{known[row]: grade for row, grade in judged.items()} for judged in judgments]


def _rank(estimator: Any, X: Any, k: int) -> Any:
    """Return the ids of the first k documents of each query, or the data frame of search."""
    ids = np.asarray(estimator.ids_)
    try:
        rows = estimator.kneighbors(X, min(k, len(ids)), return_distance=False)
    except ValueError:
        # Documents without a text are not found, and search returns as many as there are.
        if not hasattr(estimator, "search"):
            raise
        return estimator.search(X, k)
    return [[ids[row] for row in ranking if row >= 0] for ranking in rows]


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


def spearman_scorer(estimator: Any, X: Any, y: Any) -> float:
    """Compute Spearman's rank correlation between predictions and targets.

    It is the usual metric of sentence similarities. The function is a scorer: pass it as ``scoring``.

    Parameters
    ----------
    estimator : estimator with a method predict
        A fitted regressor, such as a pipeline that ends with :class:`~sk_sentemb.PairSimilarity`.
    X : array-like of shape (n_samples, n_columns)
        Input of the estimator, such as pairs of texts.
    y : array-like of shape (n_samples,)
        The targets, such as similarities by human judges.

    Returns
    -------
    float
        From -1 to 1, and NaN if all predictions or all targets are equal.

    See Also
    --------
    pearson_scorer : The linear correlation.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_sentemb import PairSimilarity, SentenceEmbedder
    >>> from sk_sentemb.metrics import spearman_scorer
    >>> pairs = [("It rains.", "Rain is falling."), ("It rains.", "It is windy."), ("Go!", "A book.")]
    >>> model = make_pipeline(SentenceEmbedder(), PairSimilarity()).fit(pairs)
    >>> round(spearman_scorer(model, pairs, [5.0, 2.0, 0.0]), 3)
    1.0
    """
    return float(stats.spearmanr(y, estimator.predict(X)).statistic)


def pearson_scorer(estimator: Any, X: Any, y: Any) -> float:
    """Compute Pearson's linear correlation between predictions and targets.

    The function is a scorer: pass it as ``scoring``.

    Parameters
    ----------
    estimator : estimator with a method predict
        A fitted regressor, such as a pipeline that ends with :class:`~sk_sentemb.PairSimilarity`.
    X : array-like of shape (n_samples, n_columns)
        Input of the estimator, such as pairs of texts.
    y : array-like of shape (n_samples,)
        The targets, such as similarities by human judges.

    Returns
    -------
    float
        From -1 to 1, and NaN if all predictions or all targets are equal.

    See Also
    --------
    spearman_scorer : The rank correlation, which the scale of predictions does not influence.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_sentemb import PairSimilarity, SentenceEmbedder
    >>> from sk_sentemb.metrics import pearson_scorer
    >>> pairs = [("It rains.", "Rain is falling."), ("It rains.", "It is windy."), ("Go!", "A book.")]
    >>> model = make_pipeline(SentenceEmbedder(), PairSimilarity()).fit(pairs)
    >>> 0.9 < pearson_scorer(model, pairs, [5.0, 2.0, 0.0]) < 1
    True
    """
    return float(stats.pearsonr(y, estimator.predict(X)).statistic)


def average_precision_scorer(estimator: Any, X: Any, y: Any) -> float:
    """Compute the average precision of pairs with labels, by their similarities or probabilities.

    The function is a scorer: pass it as ``scoring``. Unlike the scorer ``"average_precision"`` of
    scikit-learn, it takes estimators that predict similarities, too.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier, or a regressor such as a pipeline that ends with
        :class:`~sk_sentemb.PairSimilarity`. The first of ``decision_function``, ``predict_proba`` and
        ``predict`` that it has is called.
    X : array-like of shape (n_samples, n_columns)
        Input of the estimator, such as pairs of texts.
    y : array-like of shape (n_samples,)
        The labels: 1 or True for pairs that belong together, 0 or False for others.

    Returns
    -------
    float
        From 0 to 1.

    See Also
    --------
    sklearn.metrics.average_precision_score : The metric.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_sentemb import PairSimilarity, SentenceEmbedder
    >>> from sk_sentemb.metrics import average_precision_scorer
    >>> pairs = [("It rains.", "Rain is falling."), ("It rains.", "It is windy."), ("Go!", "A book.")]
    >>> model = make_pipeline(SentenceEmbedder(), PairSimilarity()).fit(pairs)
    >>> average_precision_scorer(model, pairs, [1, 0, 0])
    1.0
    """
    return float(_average_precision(estimator, X, y))
