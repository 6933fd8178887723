"""Map of embeddings in two dimensions."""

from typing import Any, Self

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._plotting import _validate_style_kwargs

from .._docstrings import substitute_docstring
from .classes import NO_LABEL, choose_colors, find_classes, read_labels, resolve_target_type
from .embeddings import embed, read_embeddings
from .map_labels import MapLabels, find_anchors
from .markers import choose_alpha, choose_size
from .reduction import reduce_to_plane

RASTERIZED_FROM = 5000  # points; a vector graphic of more is slow to show


class EmbeddingMapDisplay:
    """Map of embeddings in two dimensions.

    Create it with :meth:`from_estimator` or :meth:`from_embeddings`.

    Parameters
    ----------
    points : array-like of shape (n_rows, 2)
        Coordinates of the rows.
    y : array-like of shape (n_rows,), default=None
        Class or number of each row, which determines its color. Rows with a missing value are gray.
    axis_names : tuple of two str, default=None
        Names of the two dimensions.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the map.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    scatter_ : matplotlib PathCollection
        Points of the rows, in random order, so that no class covers the others.
    texts_ : list of matplotlib Text
        Labels on the map.
    legend_ : matplotlib Legend or None
        Legend of the classes that are not labeled on the map, and of the rows without a label.
    colorbar_ : matplotlib Colorbar or None
        Color bar, if ``y`` is continuous.

    See Also
    --------
    SimilarityDisplay : Similarities of all pairs of rows.

    Examples
    --------
    >>> from sk_sentemb import SentenceEmbedder
    >>> from sk_sentemb.datasets import load_banking77_sample
    >>> from sk_sentemb.display import EmbeddingMapDisplay
    >>> banking = load_banking77_sample()
    >>> X, intents = banking.data[:100], banking.target_names[banking.target[:100]]
    >>> embedder = SentenceEmbedder().fit(X)
    >>> display = EmbeddingMapDisplay.from_estimator(embedder, X, intents)
    >>> display.points.shape
    (100, 2)
    """

    def __init__(
        self, points: Any, *, y: Any = None, axis_names: tuple[str, str] | None = None
    ) -> None:
        self.points = points
        self.y = y
        self.axis_names = axis_names

    @classmethod
    @substitute_docstring
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        reducer: Any = "pca",
        random_state: Any = None,
        ax: Any = None,
        labels: str | None = "auto",
        target_type: str = "auto",
        multiclass_colors: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot a map of the embeddings that an estimator computes.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Fitted transformer from rows to embeddings, such as a
            :class:`~sk_sentemb.SentenceEmbedder`. If it is a pipeline that ends with a classifier, a
            regressor or a clusterer, the map shows the output of the step before.
        X : array-like of shape (n_rows,) or (n_rows, n_columns)
            Rows to embed.
        {map_parameters}

        {map_style}

        Returns
        -------
        EmbeddingMapDisplay
            The display.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        return cls.from_embeddings(
            embed(estimator, X),
            y,
            reducer=reducer,
            random_state=random_state,
            ax=ax,
            labels=labels,
            target_type=target_type,
            multiclass_colors=multiclass_colors,
            **kwargs,
        )

    @classmethod
    @substitute_docstring
    def from_embeddings(
        cls,
        embeddings: Any,
        y: Any = None,
        *,
        reducer: Any = "pca",
        random_state: Any = None,
        ax: Any = None,
        labels: str | None = "auto",
        target_type: str = "auto",
        multiclass_colors: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot a map of embeddings.

        Parameters
        ----------
        embeddings : array-like of shape (n_rows, n_dimensions)
            Embeddings of the rows.
        {map_parameters}

        {map_style}

        Returns
        -------
        EmbeddingMapDisplay
            The display.
        """
        check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        points, axis_names = reduce_to_plane(read_embeddings(embeddings), reducer, random_state)
        return cls(points, y=y, axis_names=axis_names).plot(
            ax=ax,
            labels=labels,
            target_type=target_type,
            multiclass_colors=multiclass_colors,
            **kwargs,
        )

    @substitute_docstring
    def plot(
        self,
        *,
        ax: Any = None,
        labels: str | None = "auto",
        target_type: str = "auto",
        multiclass_colors: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the map.

        Labels are placed for the size that the figure has now.

        Parameters
        ----------
        {map_style}

        Returns
        -------
        EmbeddingMapDisplay
            The display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        if labels not in ("auto", "legend", None):
            raise ValueError(f'labels must be "auto", "legend" or None, got {labels!r}.')
        points = read_embeddings(self.points)
        if points.shape[1] != 2:
            raise ValueError(f"points must have two columns, got {points.shape[1]}.")
        y = None if self.y is None else read_labels(self.y, len(points))
        continuous = y is not None and resolve_target_type(y, target_type) == "continuous"
        self._owns_figure = ax is None
        if ax is None:
            _, ax = plt.subplots(figsize=(8, 6.5), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.texts_: list[Any] = []
        self.legend_: Any = None
        self.colorbar_: Any = None
        # The limits are final before sizes are chosen and labels are placed.
        ax.update_datalim(points)
        ax.autoscale_view()
        names = self.axis_names or ("", "")
        ax.set(xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
        ax.spines[:].set_color("0.8")
        if y is None:
            self._scatter(points, {"color": "C0"}, kwargs)
        elif continuous:
            self._plot_numbers(points, y.astype(float), kwargs)
        else:
            self._plot_classes(points, y, labels, multiclass_colors, kwargs)
        return self

    def _scatter(self, points: np.ndarray, style: dict[str, Any], kwargs: dict[str, Any]) -> None:
        """Draw the points in random order."""
        order = np.random.default_rng(0).permutation(len(points))
        size = choose_size(self.ax_, len(self.points))
        default = {
            "s": size,
            "alpha": choose_alpha(self.ax_, points, size),
            "linewidth": 0,
            "rasterized": len(points) >= RASTERIZED_FROM,
            "zorder": 2,
        }
        for name, value in style.items():
            per_point = isinstance(value, np.ndarray) and len(value) == len(points)
            default[name] = value[order] if per_point else value
        style = _validate_style_kwargs(default, kwargs)
        if "cmap" in default and "color" in style:  # one color instead of one for each number
            del style["c"], style["cmap"]
        self.scatter_ = self.ax_.scatter(*points[order].T, **style)

    def _plot_numbers(self, points: np.ndarray, y: np.ndarray, kwargs: dict[str, Any]) -> None:
        known = ~np.isnan(y)
        self._scatter_unlabeled(points[~known])
        self._scatter(points[known], {"c": y[known], "cmap": "viridis"}, kwargs)
        if self.scatter_.get_array() is None:  # the user chose one color
            return
        self.colorbar_ = self.figure_.colorbar(
            self.scatter_, ax=self.ax_, shrink=0.7, aspect=30, label=getattr(self.y, "name", None)
        )
        self.colorbar_.solids.set_alpha(1)

    def _plot_classes(
        self,
        points: np.ndarray,
        y: np.ndarray,
        labels: str | None,
        multiclass_colors: Any,
        kwargs: dict[str, Any],
    ) -> None:
        classes = find_classes(y)
        known = classes.codes >= 0
        colors = choose_colors(multiclass_colors, find_anchors(points, classes))
        self._scatter_unlabeled(points[~known])
        self._scatter(points[known], {"color": colors[classes.codes[known]]}, kwargs)
        if labels is not None:
            drawn = MapLabels(self.ax_, points, classes, colors, widen=self._owns_figure)
            drawn.draw(on_map=labels == "auto")
            self.texts_, self.legend_ = drawn.texts, drawn.legend

    def _scatter_unlabeled(self, points: np.ndarray) -> None:
        """Draw the points without a label below the others."""
        if len(points):
            size = choose_size(self.ax_, len(self.points)) / 2
            self.ax_.scatter(
                *points.T, s=size, color=NO_LABEL, alpha=0.5, linewidth=0, zorder=1, rasterized=True
            )
