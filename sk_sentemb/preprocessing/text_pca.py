"""TextPCA: principal components of embeddings, also with fewer rows than components."""

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from .._atomic_fit import atomic_fit
from .._warn import warn
from ..exceptions import ReducedComponentsWarning


class TextPCA(PCA):
    """PCA that keeps fewer components, with a warning, where there are fewer rows or columns."""

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **PCA._parameter_constraints,
        "entry": [str],
    }

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        entry: str = "",
        whiten: bool = False,
        svd_solver: str = "auto",
        random_state: Any = None,
    ) -> None:
        super().__init__(
            n_components, whiten=whiten, svd_solver=svd_solver, random_state=random_state
        )
        self.entry = entry

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the components."""
        self.fit_transform(X)
        return self

    @atomic_fit
    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Learn the components and return those of ``X``."""
        n_components = self._count_components(X)
        if n_components == self.n_components:
            return super().fit_transform(X)
        pca = PCA(
            n_components,
            whiten=self.whiten,
            svd_solver=self.svd_solver,
            random_state=self.random_state,
        )
        components = pca.fit_transform(X)
        params = pca.get_params(deep=False)
        self.__dict__.update({name: v for name, v in vars(pca).items() if name not in params})
        return components

    def _count_components(self, X: Any) -> Any:
        """Return how many components to keep, and warn where these are fewer than were asked for."""
        shape = X.shape if issparse(X) else np.asarray(X).shape
        if len(shape) != 2 or not isinstance(self.n_components, Integral):
            return self.n_components  # PCA says what is wrong
        n_rows, n_columns = shape
        # ARPACK, the only solver of sparse matrices here, finds fewer than all.
        truncated = issparse(X) or self.svd_solver == "arpack"
        most = max(min(n_rows, n_columns) - truncated, 1)
        if self.n_components <= most:
            return self.n_components
        what = f"{n_rows} rows" if n_rows <= n_columns else f"{n_columns} features of the embedder"
        name = f"{self.entry}__pca__n_components" if self.entry else "n_components"
        warn(
            f"{name}={self.n_components}, but there are only {what} to fit: {most} components are kept. "
            "Pass a smaller text_components, or more rows.",
            ReducedComponentsWarning,
        )
        return most

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the components ``pca0``, ``pca1`` and so on."""
        check_is_fitted(self)
        return np.array([f"pca{i}" for i in range(self.n_components_)], dtype=object)
