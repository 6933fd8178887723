"""Candidates of queries, in the order of their scores."""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from ..columns import TextColumns, read_text_columns


def rank_candidates(
    score: Callable[[TextColumns], np.ndarray],
    queries: Any,
    candidates: Sequence[Any],
    *,
    top_k: int | None,
    return_documents: bool,
) -> pd.DataFrame:
    """Score each query with each of its candidates, and put these in order.

    Parameters
    ----------
    score : callable
        Gives a number for each row of two columns; the higher the better.
    queries : array-like of shape (n_queries,)
        Texts.
    candidates : sequence of array-like of shape (n_candidates,)
        The documents of each query.
    top_k : int or None
        How many to keep for each query; None for all.
    return_documents : bool
        Whether to return their texts.

    Returns
    -------
    DataFrame
        With the columns query, index and score, and document if asked for. Equal scores are in the
        order of the candidates, NaN is last.
    """
    if top_k is not None and not (isinstance(top_k, Integral) and top_k > 0):
        raise ValueError(f"top_k={top_k!r}: pass an int above 0, or None for all.")
    asked = _read_column(queries, "X")
    lists = [_read_column(given, f"candidates[{i}]") for i, given in enumerate(candidates)]
    if len(lists) != len(asked.missing):
        raise ValueError(
            f"candidates has {len(lists)} lists of documents, and there are {len(asked.missing)} "
            "queries; pass one for each."
        )
    sizes = [len(documents.missing) for documents in lists]
    query = np.repeat(np.arange(len(sizes)), sizes)
    texts = [text for documents in lists for text in documents.texts[0]]
    missing = [gone for documents in lists for gone in documents.missing[:, 0]]
    pairs = TextColumns(
        [[asked.texts[0][i] for i in query], texts],
        np.column_stack([asked.missing[query, 0], np.array(missing, dtype=bool)]),
        None,
    )
    found = pd.DataFrame(
        {
            "query": query,
            "index": np.concatenate([np.arange(0), *map(np.arange, sizes)]),
            "score": score(pairs),
        }
    )
    if return_documents:
        found["document"] = [
            None if gone else text for text, gone in zip(texts, missing, strict=True)
        ]
    ranked = found.iloc[np.lexsort((-found["score"], found["query"]))]
    if top_k is not None:
        ranked = ranked.groupby("query").head(top_k)
    return ranked.reset_index(drop=True)


def _read_column(X: Any, name: str) -> TextColumns:
    if isinstance(X, str):
        raise TypeError(f"{name} is a single str; pass a list of texts.")
    columns = read_text_columns(X)
    if (n_columns := columns.missing.shape[1]) != 1:
        raise ValueError(f"{name} has {n_columns} columns; pass one of texts.")
    return columns
