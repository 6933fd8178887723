"""How a fine-tuning went."""

from typing import Any, Self

import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._plotting import _validate_style_kwargs


class TrainingCurveDisplay:
    """The loss of each step of a fine-tuning, and what was validated after each epoch.

    Make it with :meth:`from_estimator`.

    Parameters
    ----------
    history : DataFrame
        The ``history_`` of a :class:`~sk_sentemb.SentenceEmbedder`: ``step``, ``epoch``, ``loss`` and,
        if rows were held out, one column that begins with ``validation_``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the loss.
    figure_ : matplotlib Figure
        Around it.
    line_ : matplotlib Line2D
        The loss of the steps.
    smooth_line_ : matplotlib Line2D
        Its moving average.
    validation_ax_ : matplotlib Axes or None
        With what was validated.
    validation_line_ : matplotlib Line2D or None
        What was validated.

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
        """Draw the training of a fitted embedder.

        Parameters
        ----------
        estimator : SentenceEmbedder or Pipeline
            Fitted with a ``fine_tuner``; of a pipeline, the step that was.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        window : int, default=None
            Steps that the moving average is over; None for a twentieth of all.
        **kwargs : dict
            To matplotlib's ``plot``, for the moving average.

        Returns
        -------
        TrainingCurveDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If nothing was fine-tuned.
        """
        steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else []
        for candidate in (estimator, *steps):
            if (history := getattr(candidate, "history_", None)) is not None:
                return cls(history).plot(ax=ax, window=window, **kwargs)
        raise ValueError(
            f"{type(estimator).__name__} has no history_: fit a SentenceEmbedder with a fine_tuner."
        )

    def plot(self, *, ax: Any = None, window: int | None = None, **kwargs: Any) -> Self:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        window : int, default=None
            Steps that the moving average is over; None for a twentieth of all.
        **kwargs : dict
            To matplotlib's ``plot``, for the moving average.

        Returns
        -------
        TrainingCurveDisplay
            Itself.
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
