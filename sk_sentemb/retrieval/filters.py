"""`where`: a mask, a function of the documents, or values of columns, to rows."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from .lazy_documents import LazyDocuments

Filter = Mapping[str, Any] | Callable[[pd.DataFrame], Any] | Any


def find_rows(where: Filter, documents: LazyDocuments) -> np.ndarray:
    """Return the rows of the documents that a filter keeps, in ascending order."""
    if isinstance(where, Mapping):
        mask = np.ones(len(documents), dtype=bool)
        for name, values in where.items():
            if name not in documents:
                raise ValueError(
                    f"where has the column {name!r}, but the documents have {list(documents)}."
                )
            mask &= _matches(documents[name], values)
    else:
        mask = where(documents.frame) if callable(where) else where
        mask = _check_mask(mask, len(documents))
    return np.flatnonzero(mask)


def _matches(column: pd.Series, values: Any) -> np.ndarray:
    """Return where a column has a value, or one of several; None and NaN find missing cells."""
    several = isinstance(
        values, (list, tuple, set, frozenset, np.ndarray, pd.Series, pd.Index, range)
    )
    wanted = list(values) if several else [values]
    present = [value for value in wanted if not pd.isna(value)]
    mask = column.isin(present).to_numpy(dtype=bool)
    return mask | column.isna().to_numpy(dtype=bool) if len(present) < len(wanted) else mask


def _check_mask(mask: Any, n_rows: int) -> np.ndarray:
    """Return a mask as bool; a missing entry is False, as in pandas."""
    mask = mask if hasattr(mask, "__array__") else list(mask)
    values = np.asarray(mask)
    if values.dtype == object:
        values = np.array(
            [False if cell is None or cell is pd.NA else cell for cell in values.ravel()]
        )
    if values.dtype != bool:
        raise TypeError(
            f"where is of dtype {values.dtype}, and not a mask. Pass one bool per document, a function "
            "that returns this, or a dict of columns and values."
        )
    if values.shape != (n_rows,):
        raise ValueError(
            f"where has the shape {values.shape}, but the index has {n_rows} documents. Pass one bool "
            "per document."
        )
    return values
