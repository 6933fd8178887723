"""TextPCA: principal components of embeddings, even with fewer rows than components."""

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
    """PCA that keeps fewer components, with a warning, if there are too few rows or features."""

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
        """Fit the components."""
        self.fit_transform(X)
        return self

    @atomic_fit
    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit the components and apply them to ``X``."""
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
        """Return the number of components to keep, with a warning if it is less than requested."""
        shape = X.shape if issparse(X) else np.asarray(X).shape
        if len(shape) != 2 or not isinstance(self.n_components, Integral):
            return self.n_components  # PCA raises the error
        n_rows, n_columns = shape
        # ARPACK, the only solver for sparse matrices here, cannot compute all components.
        is_arpack = issparse(X) or self.svd_solver == "arpack"
        maximum = max(min(n_rows, n_columns) - is_arpack, 1)
        if self.n_components <= maximum:
            return self.n_components
        limit = f"{n_rows} rows" if n_rows <= n_columns else f"{n_columns} features of the embedder"
        name = f"{self.entry}__pca__n_components" if self.entry else "n_components"
        warn(
            f"{name}={self.n_components} exceeds the {limit}: {maximum} components are kept. Pass a "
            "smaller text_components, or more rows.",
            ReducedComponentsWarning,
        )
        return maximum

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names ``pca0``, ``pca1``, … of the components."""
        check_is_fitted(self)
        return np.array([f"pca{i}" for i in range(self.n_components_)], dtype=object)
