"""Matrix of similarities."""

from typing import Any, Self

import numpy as np
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._plotting import _validate_style_kwargs
from sklearn.utils.validation import check_array

from .._docstrings import substitute_docstring
from .classes import read_labels
from .clustered_order import order_rows
from .embeddings import embed, list_texts, read_embeddings
from .texts import shorten

MAX_TEXTS = 60  # rows that have room for their text
MAX_VALUES = 12  # rows whose values fit in their cells


class SimilarityDisplay:
    """Matrix of the similarities of all pairs of rows, with similar rows next to each other.

    Create it with :meth:`from_estimator` or :meth:`from_embeddings`; for other similarities, such as
    the scores of a cross-encoder, use the constructor and :meth:`plot`.

    Parameters
    ----------
    similarity : array-like of shape (n_rows, n_rows)
        Similarity of each pair of rows.
    texts : array-like of shape (n_rows,), default=None
        Texts of the rows, which are shown next to the matrix if there are at most 60.
    y : array-like of shape (n_rows,), default=None
        Class of each row. Rows of the same class are put together, and lines separate the classes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the matrix.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    image_ : matplotlib AxesImage
        The matrix.
    order_ : ndarray of shape (n_rows,)
        Rows in the order of the plot, from top to bottom and from left to right.
    colorbar_ : matplotlib Colorbar or None
        Color bar.
    values_ : list of matplotlib Text
        Values in the cells.

    See Also
    --------
    EmbeddingMapDisplay : Map of embeddings in two dimensions.

    Examples
    --------
    >>> from sk_sentemb import SentenceEmbedder
    >>> from sk_sentemb.display import SimilarityDisplay
    >>> X = ["My card is lost.", "What is the rate?", "My card was stolen.", "How much is a euro?"]
    >>> display = SimilarityDisplay.from_estimator(SentenceEmbedder().fit(X), X)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['My card was stolen.', 'My card is lost.', 'What is the rate?', 'How much is a euro?']
    """

    def __init__(self, similarity: Any, *, texts: Any = None, y: Any = None) -> None:
        self.similarity = similarity
        self.texts = texts
        self.y = y

    @classmethod
    @substitute_docstring
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        ax: Any = None,
        order: str | None = "clustered",
        text_length: int = 40,
        values: bool | str = "auto",
        colorbar: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Plot the cosine similarities of the embeddings that an estimator computes.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Fitted transformer from rows to embeddings, such as a
            :class:`~sk_sentemb.SentenceEmbedder`. If it is a pipeline that ends with a classifier, a
            regressor or a clusterer, the output of the step before is compared.
        X : array-like of shape (n_rows,) or (n_rows, n_columns)
            Rows to embed. The texts of a single column are shown next to the matrix.
        y : array-like of shape (n_rows,), default=None
            Class of each row. Rows of the same class are put together, and lines separate the classes.
        {matrix_style}

        Returns
        -------
        SimilarityDisplay
            The display.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        return cls.from_embeddings(
            embed(estimator, X),
            y,
            texts=list_texts(X),
            ax=ax,
            order=order,
            text_length=text_length,
            values=values,
            colorbar=colorbar,
            **kwargs,
        )

    @classmethod
    @substitute_docstring
    def from_embeddings(
        cls,
        embeddings: Any,
        y: Any = None,
        *,
        texts: Any = None,
        ax: Any = None,
        order: str | None = "clustered",
        text_length: int = 40,
        values: bool | str = "auto",
        colorbar: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Plot the cosine similarities of embeddings.

        Parameters
        ----------
        embeddings : array-like of shape (n_rows, n_dimensions)
            Embeddings of the rows.
        y : array-like of shape (n_rows,), default=None
            Class of each row. Rows of the same class are put together, and lines separate the classes.
        texts : array-like of shape (n_rows,), default=None
            Texts of the rows, which are shown next to the matrix if there are at most 60.
        {matrix_style}

        Returns
        -------
        SimilarityDisplay
            The display.
        """
        check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        similarity = cosine_similarity(read_embeddings(embeddings))
        return cls(similarity, texts=texts, y=y).plot(
            ax=ax,
            order=order,
            text_length=text_length,
            values=values,
            colorbar=colorbar,
            **kwargs,
        )

    @substitute_docstring
    def plot(
        self,
        *,
        ax: Any = None,
        order: str | None = "clustered",
        text_length: int = 40,
        values: bool | str = "auto",
        colorbar: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Plot the matrix.

        Parameters
        ----------
        {matrix_style}

        Returns
        -------
        SimilarityDisplay
            The display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        similarity, texts, y = self._validate()
        if order not in ("clustered", None):
            raise ValueError(f'order must be "clustered" or None, got {order!r}.')
        n_rows = len(similarity)
        self.order_ = order_rows(similarity, y) if order else np.arange(n_rows)
        shown = similarity[np.ix_(self.order_, self.order_)]
        owns_figure, side = ax is None, float(np.clip(0.55 * n_rows, 3.5, 7.5))
        if ax is None:
            # A layout for axes of fixed proportions.
            _, ax = plt.subplots(figsize=(side + 3.5, side + 0.3), layout="compressed")
        self.ax_, self.figure_ = ax, ax.figure
        low, high = _choose_limits(similarity)
        style = _validate_style_kwargs({"cmap": "Blues", "vmin": low, "vmax": high}, kwargs)
        if "norm" in style:
            del style["vmin"], style["vmax"]
        self.image_ = ax.imshow(shown, **style)
        self._draw_ticks(texts, y, text_length)
        has_values = n_rows <= MAX_VALUES if values == "auto" else values
        self.values_ = self._draw_values(shown) if has_values else []
        if owns_figure:  # with the width that the names need
            widths = [label.get_window_extent().width for label in ax.get_yticklabels()]
            names_width = max(widths, default=0) / self.figure_.dpi
            self.figure_.set_figwidth(side + names_width + (1.1 if colorbar else 0.3))
        self.colorbar_ = None
        if colorbar:
            # Similarities beyond the limits have the colors of the limits.
            above, below = shown.max() > self.image_.norm.vmax, shown.min() < self.image_.norm.vmin
            extend = {(True, True): "both", (True, False): "max", (False, True): "min"}
            self.colorbar_ = self.figure_.colorbar(
                self.image_,
                ax=ax,
                shrink=0.8,
                aspect=30,
                label="similarity",
                extend=extend.get((bool(above), bool(below)), "neither"),
            )
            self.colorbar_.outline.set_visible(False)
        return self

    def _validate(self) -> tuple[np.ndarray, list[str] | None, np.ndarray | None]:
        """Return similarities, texts and classes."""
        similarity = check_array(self.similarity, dtype=[np.float32, np.float64])
        n_rows = len(similarity)
        if similarity.shape != (n_rows, n_rows):
            raise ValueError(
                f"similarity must be square, got an array of shape {similarity.shape}."
            )
        texts = None if self.texts is None else [str(text) for text in list(self.texts)]
        if texts is not None and len(texts) != n_rows:
            raise ValueError(f"There are {len(texts)} texts, but {n_rows} rows.")
        y = None if self.y is None else read_labels(self.y, n_rows)
        return similarity, texts, y

    def _draw_ticks(self, texts: list[str] | None, y: np.ndarray | None, text_length: int) -> None:
        """Name the rows by their texts if these fit, else by their classes."""
        from matplotlib import rcParams

        ax, n_rows = self.ax_, len(self.order_)
        names: list[str] = []
        positions: Any = np.empty(0)
        if y is not None:
            ordered = y[self.order_]
            starts = np.flatnonzero([True, *(ordered[1:] != ordered[:-1])])
            for start in starts[1:]:
                width = max(0.4, 1.5 - len(starts) / 50)
                ax.axhline(start - 0.5, color="white", linewidth=width)
                ax.axvline(start - 0.5, color="white", linewidth=width)
            positions = (starts + np.append(starts[1:], n_rows) - 1) / 2
            names = ["no label" if ordered[i] is None else str(ordered[i]) for i in starts]
        if texts is not None and n_rows <= MAX_TEXTS:
            positions, names = np.arange(n_rows), [texts[row] for row in self.order_]
        height = 72 * ax.get_window_extent().height / ax.get_figure(root=True).dpi
        size = float(np.clip(0.8 * height / max(1, len(names)), 6, rcParams["font.size"]))
        # Names of small classes are left out where they would cover each other.
        kept: list[int] = []
        for i, position in enumerate(positions):
            if not kept or position - positions[kept[-1]] > size * n_rows / height:
                kept.append(i)
        ax.set_yticks(
            positions[kept], [shorten(names[i], text_length) for i in kept], fontsize=size
        )
        for label in ax.get_yticklabels():
            label.set_parse_math(False)  # two dollar signs would make a text a formula
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)

    def _draw_values(self, shown: np.ndarray) -> list[Any]:
        drawn = []
        for (row, column), value in np.ndenumerate(shown):
            rgb = self.image_.cmap(self.image_.norm(value))[:3]
            color = "black" if np.dot(rgb, (0.299, 0.587, 0.114)) > 0.5 else "white"
            drawn.append(
                self.ax_.text(
                    column, row, f"{value:.2f}", ha="center", va="center", color=color, size="small"
                )
            )
        return drawn


def _choose_limits(similarity: np.ndarray) -> tuple[float, float]:
    """Return limits of the colors that leave out outliers and the similarity of a row to itself."""
    n_rows = len(similarity)
    others = similarity[~np.eye(n_rows, dtype=bool)] if n_rows > 1 else similarity
    low, high = np.quantile(others, [0.005, 0.995] if n_rows > MAX_VALUES else [0, 1])
    return float(low), float(high)
