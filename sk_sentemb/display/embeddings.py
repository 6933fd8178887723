"""Embeddings of the rows that a display shows."""

from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_clusterer, is_regressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_array, check_is_fitted

from .._inputs import is_missing


def embed(estimator: Any, X: Any) -> Any:
    """Return what an estimator, or the transformers of a pipeline, make of some rows."""
    check_is_fitted(estimator)
    if isinstance(estimator, Pipeline):
        last = estimator.steps[-1][1]
        if is_classifier(last) or is_regressor(last) or is_clusterer(last):
            estimator = estimator[:-1]
    if not hasattr(estimator, "transform"):
        raise TypeError(
            f"{type(estimator).__name__} has no transform. Pass a transformer, such as a "
            "SentenceEmbedder, or call from_embeddings."
        )
    return estimator.transform(X)


def read_embeddings(embeddings: Any) -> np.ndarray:
    """Return embeddings as a float array; refuse missing values."""
    return check_array(embeddings, dtype=[np.float32, np.float64], input_name="embeddings")


def list_texts(X: Any) -> list[str] | None:
    """Return the texts of a single column, else None."""
    cells = np.asarray(X, dtype=object)
    if cells.ndim == 2 and cells.shape[1] == 1:
        cells = cells[:, 0]
    return ["" if is_missing(cell) else str(cell) for cell in cells] if cells.ndim == 1 else None
