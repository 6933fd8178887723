"""Output of texts in the container that scikit-learn's `set_output` asks for."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pandas as pd
from narwhals.stable.v2.dependencies import is_into_series
from sklearn.utils._set_output import _get_output_config


class TextOutputMixin:
    """`set_output` for a transformer that returns texts: one-dimensional input stays one-dimensional.

    scikit-learn itself would make a frame of it, and iterating over a frame gives its columns' names,
    which a vectorizer would take for the texts. Stands before scikit-learn's TransformerMixin.
    """

    get_feature_names_out: Callable[[], np.ndarray]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # Turn off scikit-learn's own wrapping of the output, in subclasses of subclasses as well.
        super().__init_subclass__(**kwargs | {"auto_wrap_output_keys": None})

    def set_output(self, *, transform: str | None = None) -> Self:
        """Set the container that ``transform`` and ``fit_transform`` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            ``"default"`` for arrays, ``"pandas"`` or ``"polars"`` for data frames of that library, and
            for its Series where ``X`` is one-dimensional. None to change nothing.

        Returns
        -------
        estimator
            The transformer itself.
        """
        if transform is not None:
            # Where scikit-learn's clone looks for it.
            self._sklearn_output_config = {"transform": transform}
        return self

    def _to_container(self, cells: np.ndarray, X: Any, *, one_dimensional: bool) -> Any:
        """Put strings, and None where a cell is missing, into a container of the shape of X."""
        library = _get_output_config("transform", self)["dense"]
        if library == "default":
            return cells[:, 0] if one_dimensional else cells
        names = self.get_feature_names_out()
        name = getattr(X, "name", None) if is_into_series(X) else None
        if name == "":  # a Series of polars without a name
            name = None
        if library == "pandas":
            index = X.index if isinstance(X, (pd.DataFrame, pd.Series)) else None
            if one_dimensional:
                return pd.Series(cells[:, 0], index=index, name=name)
            return pd.DataFrame(cells, index=index, columns=names)
        import polars as pl

        # With the dtype: polars would make objects of a column that is all missing.
        if one_dimensional:
            return pl.Series("" if name is None else str(name), cells[:, 0].tolist(), pl.String)
        schema = dict.fromkeys(map(str, names), pl.String)
        return pl.DataFrame(cells.tolist(), schema=schema, orient="row")
