"""Metrics of rankings over the number of retrieved documents."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._plotting import _validate_style_kwargs

from .._docstrings import substitute_docstring
from ..metrics import retrieval_report
from .classes import PALETTE

NUMBERS = (1, 2, 3, 5, 10, 20, 50, 100)


class RetrievalCurveDisplay:
    """Metric of rankings over the number of retrieved documents, for one or several retrievers.

    Create it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    curves : dict of str to DataFrame
        For each retriever, a data frame whose index is k, with the columns ``mean``, ``low`` and
        ``high``.
    metric : str, default="recall"
        Name of the metric, such as ``"recall"``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    lines_ : dict of str to matplotlib Line2D
        Curve of each retriever.
    bands_ : dict of str to matplotlib FillBetweenPolyCollection
        Confidence intervals of each retriever.

    See Also
    --------
    sk_sentemb.metrics.retrieval_report : Computes the means and the intervals.
    sk_sentemb.metrics.compare_retrievers : Tests the difference between two retrievers.

    Notes
    -----
    The intervals say how much each mean depends on the choice of the queries. Those of two retrievers
    can overlap although one is better on nearly all queries.

    Examples
    --------
    >>> from sk_sentemb.display import RetrievalCurveDisplay
    >>> relevant = [["a"], ["b"], ["c", "d"]]
    >>> rankings = {
    ...     "embedder": [["a", "c", "b"], ["b", "a", "d"], ["c", "a", "d"]],
    ...     "BM25": [["c", "a", "b"], ["b", "a", "d"], ["a", "c", "b"]],
    ... }
    >>> display = RetrievalCurveDisplay.from_predictions(relevant, rankings, k=[1, 2, 3])
    >>> display.curves["BM25"]["mean"].round(2).tolist()
    [0.33, 0.83, 0.83]
    """

    def __init__(self, curves: Mapping[str, pd.DataFrame], *, metric: str = "recall") -> None:
        self.curves = curves
        self.metric = metric

    @classmethod
    @substitute_docstring
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        metric: str = "recall",
        k: Sequence[int] | None = None,
        name: str | None = None,
        confidence_level: float = 0.95,
        n_resamples: int = 2000,
        random_state: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the curves of fitted retrievers.

        Parameters
        ----------
        estimator : estimator or dict of str to estimator
            Fitted :class:`~sk_sentemb.SemanticIndex` or :class:`~sk_sentemb.SemanticRetriever`, or
            several of them by name.
        X : array-like of shape (n_queries,)
            Queries.
        y : list of n_queries judgments, or sparse matrix of shape (n_queries, n_documents)
            Relevant documents of each query, as in :func:`~sk_sentemb.metrics.retrieval_report`.
        {retrieval_curves}

        Returns
        -------
        RetrievalCurveDisplay
            The display.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        numbers = _validate_numbers(NUMBERS if k is None else k)
        default = type(estimator).__name__ if name is None else name
        retrievers = estimator if isinstance(estimator, Mapping) else {default: estimator}
        rankings = {
            label: retriever.search(X, numbers[-1]) for label, retriever in retrievers.items()
        }
        return cls.from_predictions(
            y,
            rankings,
            metric=metric,
            k=k,
            confidence_level=confidence_level,
            n_resamples=n_resamples,
            random_state=random_state,
            ax=ax,
            **kwargs,
        )

    @classmethod
    @substitute_docstring
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        metric: str = "recall",
        k: Sequence[int] | None = None,
        name: str | None = None,
        confidence_level: float = 0.95,
        n_resamples: int = 2000,
        random_state: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the curves of rankings.

        Parameters
        ----------
        y_true : list of n_queries judgments, or sparse matrix of shape (n_queries, n_documents)
            Relevant documents of each query, as in :func:`~sk_sentemb.metrics.retrieval_report`.
        y_pred : list of n_queries rankings, DataFrame, or dict of str to these
            Rankings of a retriever, as in :func:`~sk_sentemb.metrics.retrieval_report`, or those of
            several retrievers by name.
        {retrieval_curves}

        Returns
        -------
        RetrievalCurveDisplay
            The display.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        rankings = y_pred if isinstance(y_pred, Mapping) else {name or "Retriever": y_pred}
        if not rankings:
            raise ValueError("There are no retrievers. Pass at least one.")
        if k is None:
            longest = max(_find_longest(each) for each in rankings.values())
            k = [number for number in NUMBERS if number <= max(1, longest)]
        numbers = _validate_numbers(k)
        if isinstance(random_state, np.random.RandomState):
            # The same samples for all retrievers.
            random_state = int(random_state.randint(2**31))
        curves = {}
        for label, ranking in rankings.items():
            report = retrieval_report(
                y_true,
                ranking,
                [f"{metric}@{number}" for number in numbers],
                confidence_level=confidence_level,
                n_resamples=n_resamples,
                random_state=random_state,
            )
            columns = report.summary[["mean", "low", "high"]]
            curves[str(label)] = columns.set_axis(pd.Index(numbers, name="k"), axis=0)
        return cls(curves, metric=metric).plot(ax=ax, **kwargs)

    def plot(self, *, ax: Any = None, **kwargs: Any) -> Self:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure is created.
        **kwargs : dict
            Keyword arguments passed to matplotlib's ``plot`` for all curves.

        Returns
        -------
        RetrievalCurveDisplay
            The display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt
        from matplotlib.ticker import NullLocator

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_: dict[str, Any] = {}
        self.bands_: dict[str, Any] = {}
        n_before = len(ax.lines)  # curves of other displays on the same axes
        numbers: set[int] = set()
        for i, (label, curve) in enumerate(self.curves.items(), start=n_before):
            default = {
                "color": PALETTE[i % len(PALETTE)],
                "label": label,
                "marker": "os^Dv"[i % 5],
                "markersize": 5,
            }
            style = _validate_style_kwargs(default, kwargs)
            (line,) = ax.plot(curve.index, curve["mean"], **style)
            band = ax.fill_between(
                curve.index, curve["low"], curve["high"], color=line.get_color(), alpha=0.15, lw=0
            )
            self.lines_[label], self.bands_[label] = line, band
        for line in ax.lines:
            numbers.update(int(number) for number in line.get_xdata())
        ticks = _choose_ticks(sorted(numbers))
        ax.set_xscale("log")
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
        name = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP"}.get(self.metric, self.metric)
        ax.set(xlabel="k, number of retrieved documents", ylabel=f"{name.replace('_', ' ')}@k")
        ax.grid(alpha=0.25, linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
        return self


def _validate_numbers(k: Iterable[int]) -> list[int]:
    numbers = sorted(set(np.asarray(list(k)).tolist()))
    if not numbers or any(not isinstance(number, int) or number < 1 for number in numbers):
        raise ValueError(f"k must be a sequence of positive integers, got {k!r}.")
    return numbers


def _find_longest(rankings: Any) -> int:
    """Return the number of documents of the longest ranking."""
    if isinstance(rankings, pd.DataFrame):
        return int(rankings.groupby("query").size().max())
    return max((len(ranking) for ranking in rankings), default=1)


def _choose_ticks(numbers: list[int]) -> list[int]:
    """Return the numbers that are far enough from each other on a logarithmic axis."""
    ticks: list[int] = []
    for number in numbers:
        if not ticks or number / ticks[-1] >= (numbers[-1] / numbers[0]) ** (1 / 16):
            ticks.append(number)
    return ticks
