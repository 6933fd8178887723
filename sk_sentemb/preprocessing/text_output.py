"""Return texts in the container that scikit-learn's `set_output` sets."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pandas as pd
from narwhals.stable.v2.dependencies import is_into_series
from sklearn.utils._set_output import _get_output_config


class TextOutputMixin:
    """Mixin for transformers that return text in as many dimensions as the input."""

    # scikit-learn's own wrapping makes a data frame of one-dimensional output. Iterating over a frame
    # yields its column names, which a vectorizer would read as texts. This mixin must precede
    # TransformerMixin.
    get_feature_names_out: Callable[[], np.ndarray]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # Disable scikit-learn's own wrapping, also in subclasses of subclasses.
        super().__init_subclass__(**kwargs | {"auto_wrap_output_keys": None})

    def set_output(self, *, transform: str | None = None) -> Self:
        """Set the container that ``transform`` and ``fit_transform`` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            The container of the output.

            - ``"default"``: NumPy arrays.
            - ``"pandas"``, ``"polars"``: a DataFrame, or a Series if ``X`` is one-dimensional.
            - None: keep the current setting.

        Returns
        -------
        estimator
            The transformer itself.
        """
        if transform is not None:
            # The attribute that scikit-learn's clone copies.
            self._sklearn_output_config = {"transform": transform}
        return self

    def _to_container(self, cells: np.ndarray, X: Any, *, is_1d: bool) -> Any:
        """Return strings and None in a container of the shape of X."""
        library = _get_output_config("transform", self)["dense"]
        if library == "default":
            return cells[:, 0] if is_1d else cells
        names = self.get_feature_names_out()
        name = getattr(X, "name", None) if is_into_series(X) else None
        if name == "":  # a polars Series without a name
            name = None
        if library == "pandas":
            index = X.index if isinstance(X, (pd.DataFrame, pd.Series)) else None
            if is_1d:
                return pd.Series(cells[:, 0], index=index, name=name)
            return pd.DataFrame(cells, index=index, columns=names)
        import polars as pl

        # With the dtype, because polars infers Null for a column of missing values.
        if is_1d:
            return pl.Series("" if name is None else str(name), cells[:, 0].tolist(), pl.String)
        schema = dict.fromkeys(map(str, names), pl.String)
        return pl.DataFrame(cells.tolist(), schema=schema, orient="row")
