"""Embeddings in two dimensions."""

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.pipeline import Pipeline, make_pipeline

N_COMPONENTS_BEFORE_TSNE = 50


def reduce_to_plane(
    embeddings: np.ndarray, reducer: Any, random_state: Any
) -> tuple[np.ndarray, tuple[str, str] | None]:
    """Return two coordinates of each row, and the names of both."""
    if reducer is None:
        return embeddings, None
    fitted = _make_reducer(reducer, embeddings.shape, random_state)
    with np.errstate(invalid="ignore"):  # the variance of equal rows
        points = np.asarray(fitted.fit_transform(embeddings))
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(
            f"reducer must return two columns, but {type(fitted).__name__} returned an array of "
            f"shape {points.shape}. Set its number of components to 2."
        )
    last = fitted.steps[-1][1] if isinstance(fitted, Pipeline) else fitted
    if isinstance(last, PCA):
        first, second = np.nan_to_num(last.explained_variance_ratio_)
        return points, (f"PC 1 ({first:.1%} of variance)", f"PC 2 ({second:.1%} of variance)")
    name = {"TSNE": "t-SNE"}.get(type(last).__name__, type(last).__name__)
    return points, (f"{name} 1", f"{name} 2")


def _make_reducer(reducer: Any, shape: tuple[int, ...], random_state: Any) -> Any:
    n_rows, n_dimensions = shape
    if isinstance(reducer, str):
        if reducer not in ("pca", "tsne"):
            raise ValueError(
                f'reducer must be "pca", "tsne", a transformer or None, got {reducer!r}.'
            )
        if n_rows < 2:
            raise ValueError(f"A map needs at least two rows, got {n_rows}.")
        if reducer == "pca":
            return PCA(2, random_state=random_state)
        n_components = min(N_COMPONENTS_BEFORE_TSNE, n_rows, n_dimensions)
        # With fewer rows, fewer neighbors are meant.
        tsne = TSNE(perplexity=min(30, (n_rows - 1) / 3), random_state=random_state)
        return make_pipeline(PCA(n_components, random_state=random_state), tsne)
    if not hasattr(reducer, "fit_transform"):
        raise TypeError(
            f'reducer must be "pca", "tsne", a transformer or None, got {type(reducer).__name__}.'
        )
    return clone(reducer)
