"""Checks of arguments with one entry per row of X."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import _check_sample_weight

_is_masked = np.frompyfunc(lambda cell: cell is np.ma.masked, 1, 1)


def check_no_missing(values: Any, name: str = "y") -> None:
    """Raise for NaN, None and masked entries, and name the row."""
    cells = np.asarray(values, dtype=object)
    if not cells.ndim:
        raise ValueError(f"{name} is the single value {values!r}; pass one for each row.")
    missing = pd.isna(cells) | _is_masked(cells).astype(bool)
    if isinstance(values, np.ma.MaskedArray):  # masked values are not data
        missing |= np.ma.getmaskarray(values)
    if missing.any():
        row = int(np.argwhere(missing)[0, 0])
        raise ValueError(f"{name}[{row}] is missing (NaN, None or masked). Leave such rows out.")


def check_sample_weight(sample_weight: Any, X: Any) -> np.ndarray:
    """Return the weight of each row of X, and raise for negative or missing ones."""
    if sample_weight is not None:
        is_single = not np.asarray(sample_weight, dtype=object).ndim
        check_no_missing([sample_weight] if is_single else sample_weight, "sample_weight")
    return _check_sample_weight(sample_weight, X, ensure_non_negative=True)


def check_query_id(query_id: Any, n_rows: int) -> np.ndarray:
    """Return the query of each row as a one-dimensional array."""
    check_no_missing(query_id, "query_id")
    names = np.asarray(query_id)
    if names.shape not in [(n_rows,), (n_rows, 1)]:
        raise ValueError(
            f"query_id has the shape {names.shape}; pass the query of each of the {n_rows} rows."
        )
    return names.ravel()
