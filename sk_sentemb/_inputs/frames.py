"""The columns of a table, whatever library holds it."""

from decimal import Decimal
from numbers import Number
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from narwhals.stable.v2.dependencies import (
    is_into_dataframe,
    is_into_series,
    is_pandas_dataframe,
    is_pyarrow_table,
)
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data


def named_columns(X: Any) -> dict[str, nw.Series]:
    """Return the columns of a data frame by name."""
    X = nw.to_native(X, pass_through=True)
    if not is_into_dataframe(X):
        raise TypeError(
            f"X is of type {type(X).__name__}, but roles belong to named columns. Pass a data frame "
            "with its rows in memory, for example pandas.DataFrame(X, columns=[...])."
        )
    if is_pyarrow_table(X):
        names = X.column_names
    else:
        names = list(X.columns) if is_pandas_dataframe(X) else nw.from_native(X).columns
    if others := [name for name in names if not isinstance(name, str)]:
        raise TypeError(
            f"X has columns whose names are not strings, such as {others[0]!r}; rename them: "
            "X.columns = X.columns.astype(str)."
        )
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"X has more than one column of the name {repeated[0]!r}; rename them.")
    frame = nw.from_native(X, eager_only=True)
    return {name: frame[name] for name in names}


def columns_of(X: Any) -> list[nw.Series]:
    """Return the columns of a data frame, a series or an array-like."""
    import pandas as pd

    X = nw.to_native(X, pass_through=True)
    if is_into_series(X):
        return [nw.from_native(X, series_only=True)]
    if not is_into_dataframe(X):
        X = pd.DataFrame(X)
    if is_pandas_dataframe(X):
        # By position: narwhals allows no repeated names.
        return [nw.from_native(X.iloc[:, j], series_only=True) for j in range(X.shape[1])]
    return list(nw.from_native(X, eager_only=True).iter_columns())


def validate_table(estimator: BaseEstimator, X: Any, *, reset: bool) -> Any:
    """Check X like scikit-learn, but without a common dtype for the columns of a data frame."""
    if not hasattr(X, "columns"):
        return validate_data(
            estimator,
            X,
            reset=reset,
            dtype=None,
            ensure_all_finite=False,
            ensure_min_samples=int(reset),
        )
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    if reset and not len(X):
        raise ValueError(
            f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is required by "
            f"{type(estimator).__name__}."
        )
    return X


def is_missing(cell: Any) -> bool:
    """Say whether a cell is None, NaN, NaT, ``pandas.NA`` or text of nothing but spaces."""
    if isinstance(cell, str):
        return not cell.strip()
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(cell, Decimal):  # a signaling NaN cannot be compared
        return cell.is_nan()
    # NaN differs from itself. Other objects are not asked: images compare their pixels.
    return isinstance(cell, (Number, np.datetime64)) and bool(cell != cell)
