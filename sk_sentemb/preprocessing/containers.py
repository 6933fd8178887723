"""Cells of text in the container that scikit-learn's `set_output` asks for."""

from typing import Any

import numpy as np
import pandas as pd
from narwhals.stable.v2.dependencies import is_into_series


def to_container(
    cells: np.ndarray, X: Any, names: np.ndarray, *, library: str, one_dimensional: bool
) -> Any:
    """Put cells of text into a container of the shape of the input.

    Parameters
    ----------
    cells : ndarray of shape (n, k), dtype object
        Strings, and None where a cell is missing.
    X : array-like or data frame
        The input, whose index and name a pandas container keeps.
    names : ndarray of shape (k,)
        The columns' names.
    library : {"default", "pandas", "polars"}
        Arrays, or the library of the frames.
    one_dimensional : bool
        Whether to return one dimension, for k = 1. scikit-learn itself would make a frame of it, and
        iterating over a frame gives its columns' names.

    Returns
    -------
    ndarray, Series or DataFrame
        Of shape (n,) or (n, k).
    """
    name = getattr(X, "name", None) if is_into_series(X) else None
    if name == "":  # that of an unnamed series of polars
        name = None
    if library == "pandas":
        index = X.index if isinstance(X, (pd.DataFrame, pd.Series)) else None
        if one_dimensional:
            return pd.Series(cells[:, 0], index=index, name=name)
        return pd.DataFrame(cells, index=index, columns=names)
    if library == "polars":
        import polars as pl

        # With the dtype: polars would make objects of a column that is all missing.
        if one_dimensional:
            return pl.Series("" if name is None else str(name), cells[:, 0].tolist(), pl.String)
        schema = dict.fromkeys(map(str, names), pl.String)
        return pl.DataFrame(cells.tolist(), schema=schema, orient="row")
    return cells[:, 0] if one_dimensional else cells
