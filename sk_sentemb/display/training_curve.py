"""Plot of training loss and validation metric."""

from typing import Any, Self

import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._plotting import _validate_style_kwargs


class TrainingCurveDisplay:
    """Plot of training loss and validation metric.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    history : DataFrame
        The ``history_`` of a fine-tuned estimator, with the columns ``step``, ``epoch``, ``loss`` and,
        if there is validation, one that begins with ``validation_``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the loss.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    line_ : matplotlib Line2D
        Line of the loss of each step.
    smooth_line_ : matplotlib Line2D
        Line of the moving average of the loss.
    validation_ax_ : matplotlib Axes or None
        Axes of the validation metric.
    validation_line_ : matplotlib Line2D or None
        Line of the validation metric.

    Examples
    --------
    >>> from sk_sentemb import FineTuner, SentenceEmbedder
    >>> from sk_sentemb.display import TrainingCurveDisplay
    >>> X = ["My card is lost.", "My card was stolen.", "What is the rate?", "How much is a euro?"]
    >>> embedder = SentenceEmbedder(fine_tuner=FineTuner(epochs=2, random_state=0))
    >>> embedder = embedder.fit(X, ["card", "card", "rate", "rate"])
    >>> display = TrainingCurveDisplay.from_estimator(embedder)
    >>> display.ax_.get_xlabel()
    'step'
    """

    def __init__(self, history: pd.DataFrame) -> None:
        self.history = history

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, window: int | None = None, **kwargs: Any
    ) -> Self:
        """Plot the training curve of a fitted estimator.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Estimator that was fitted with a ``fine_tuner``, such as a
            :class:`~sk_sentemb.SentenceEmbedder`, or a pipeline with such a step.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure is created.
        window : int, default=None
            Number of steps of the moving average. If None, a twentieth of all steps.
        **kwargs : dict
            Keyword arguments passed to matplotlib's ``plot`` for the moving average.

        Returns
        -------
        TrainingCurveDisplay
            The display.

        Raises
        ------
        ValueError
            If the estimator was not fine-tuned.
        """
        steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else []
        for candidate in (estimator, *steps):
            if (history := getattr(candidate, "history_", None)) is not None:
                return cls(history).plot(ax=ax, window=window, **kwargs)
        raise ValueError(f"{type(estimator).__name__} has no history_. Fit it with a fine_tuner.")

    def plot(self, *, ax: Any = None, window: int | None = None, **kwargs: Any) -> Self:
        """Plot the training curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure is created.
        window : int, default=None
            Number of steps of the moving average. If None, a twentieth of all steps.
        **kwargs : dict
            Keyword arguments passed to matplotlib's ``plot`` for the moving average.

        Returns
        -------
        TrainingCurveDisplay
            The display.
        """
        check_matplotlib_support("TrainingCurveDisplay")
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        step, loss = self.history["step"], self.history["loss"]
        smooth = loss.rolling(window or max(1, len(loss) // 20), min_periods=1, center=True).mean()
        style = _validate_style_kwargs({"color": "C0", "label": "loss"}, kwargs)
        (self.smooth_line_,) = ax.plot(step, smooth, **style)
        color = self.smooth_line_.get_color()
        (self.line_,) = ax.plot(step, loss, color=color, alpha=0.25, linewidth=1, zorder=1)
        ax.set(xlabel="step", ylabel="loss")
        ax.yaxis.label.set_color(color)
        self.ax_, self.figure_ = ax, ax.figure
        self.validation_ax_: Any = None
        self.validation_line_: Any = None
        for name in self.history.columns[self.history.columns.str.startswith("validation_")]:
            self._plot_validation(name)
        return self

    def _plot_validation(self, name: str) -> None:
        ends = self.history.dropna(subset=[name])
        self.validation_ax_ = self.ax_.twinx()
        label = name.replace("_", " ")
        (self.validation_line_,) = self.validation_ax_.plot(
            ends["step"], ends[name], color="C1", marker="o", label=label
        )
        self.validation_ax_.set_ylabel(label, color="C1")
