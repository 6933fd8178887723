"""Judgments: for each query, the grades of the documents that are relevant."""

from collections.abc import Hashable, Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse

Judgments = list[dict[Hashable, float]]


def read_judgments(y: Any, name: str = "y_true") -> Judgments:
    """Return the grades by id of each query; grades of 0 or below mean not relevant."""
    if sparse.issparse(y):
        return _read_sparse(y, name)
    if isinstance(y, (str, bytes, Mapping)) or not isinstance(y, Iterable):
        raise TypeError(
            f"{name} is of type {type(y).__name__}. Pass one entry per query: a list of relevant ids, "
            "or a dict that maps ids to grades; or a sparse matrix of shape (n_queries, n_documents)."
        )
    if (n_dims := getattr(y, "ndim", 1)) != 1:
        raise ValueError(
            f"{name} has {n_dims} dimensions. Pass a list with the ids of each query, or "
            f"scipy.sparse.csr_array({name}) for grades by the position of the document."
        )
    return [_read_query(entry, f"{name}[{row}]") for row, entry in enumerate(y)]


def _read_sparse(y: Any, name: str) -> Judgments:
    y = sparse.csr_array(y)
    bounds = zip(y.indptr[:-1], y.indptr[1:], strict=True)
    return [
        {
            int(column): _check_grade(grade, f"{name}[{row}]", column)
            for column, grade in zip(y.indices[a:b], y.data[a:b], strict=True)
        }
        for row, (a, b) in enumerate(bounds)
    ]


def _read_query(entry: Any, where: str) -> dict[Hashable, float]:
    if isinstance(entry, Mapping):
        return {to_id(i, where): _check_grade(grade, where, i) for i, grade in entry.items()}
    if isinstance(entry, str) or not isinstance(entry, Iterable):
        entry = [entry]  # the id of the only relevant document
    return dict.fromkeys((to_id(i, where) for i in entry), 1.0)


def to_id(value: Any, where: str) -> Hashable:
    """Return an id as a Python object, so that ids of NumPy are found among them."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or value != value or not isinstance(value, Hashable):
        raise ValueError(f"{where} has {value!r}, which is not an id. Pass ids of documents.")
    return value


def _check_grade(grade: Any, where: str, document: Any) -> float:
    if not isinstance(grade, (Real, np.bool_)) or not np.isfinite(float(grade)):
        raise ValueError(
            f"{where} has the grade {grade!r} for {document!r}. Pass finite numbers, 0 for documents "
            "that are not relevant."
        )
    return float(grade)
