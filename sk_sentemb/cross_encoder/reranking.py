"""Rank the candidates of each query by score."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from narwhals.stable.v2.dependencies import is_into_dataframe

from .._inputs import TextColumns, read_text_columns

# The description of a row in error messages.
DescribeRow = Callable[[int], str]

# Returns the scores of pairs, and the logits that break ties between rounded scores.
ScorePairs = Callable[[TextColumns, DescribeRow], tuple[np.ndarray, np.ndarray]]


def rank_candidates(
    score_pairs: ScorePairs,
    queries: TextColumns,
    candidates: Sequence[TextColumns],
    *,
    top_k: int | None,
    return_documents: bool,
) -> pd.DataFrame:
    """Score each query with each of its candidates, and sort these by score."""
    is_integer = isinstance(top_k, Integral) and not isinstance(top_k, bool)
    if top_k is not None and not (is_integer and top_k > 0):
        raise ValueError(f"top_k={top_k!r}: pass an int above 0, or None for all.")
    if len(candidates) != queries.n_rows:
        raise ValueError(
            f"candidates has {len(candidates)} lists of documents, but there are "
            f"{queries.n_rows} queries. Pass one list for each query."
        )
    sizes = [documents.n_rows for documents in candidates]
    query = np.repeat(np.arange(len(sizes)), sizes)
    texts = [text for documents in candidates for text in documents.texts[0]]
    missing = [gone for documents in candidates for gone in documents.missing[:, 0]]
    pairs = TextColumns(
        [[queries.texts[0][i] for i in query], texts],
        np.column_stack([queries.missing[query, 0], np.array(missing, dtype=bool)]),
        None,
    )
    index = np.concatenate([np.arange(0), *map(np.arange, sizes)])
    scores, logits = score_pairs(pairs, lambda row: f"document {index[row]} of query {query[row]}")
    ranking = pd.DataFrame({"query": query, "index": index, "score": scores})
    if return_documents:
        ranking["document"] = [
            None if gone else text for text, gone in zip(texts, missing, strict=True)
        ]
    ranking = ranking.iloc[np.lexsort((-logits, -scores, query))]
    if top_k is not None:
        ranking = ranking.groupby("query").head(top_k)
    return ranking.reset_index(drop=True)


def validate_candidates(candidates: Any) -> None:
    """Raise unless candidates is a list of lists; a frame could mean its columns or its rows."""
    is_frame = is_into_dataframe(candidates)
    if is_frame or isinstance(candidates, (str, Mapping)) or not isinstance(candidates, Iterable):
        raise TypeError(
            f"candidates is of type {type(candidates).__name__}. Pass a list with the documents of "
            "each query, such as [['a', 'b'], ['c']]."
        )


def read_column(X: Any, name: str, *, allow_missing: bool) -> TextColumns:
    """Read queries or documents."""
    if isinstance(X, str):
        raise TypeError(f"{name} is a single str. Pass a list of texts.")
    column = read_text_columns(X, name)
    if (n_columns := column.n_columns) != 1:
        raise ValueError(f"{name} has {n_columns} columns. Pass one column of texts.")
    if column.missing.any() and not allow_missing:
        raise ValueError(
            f"{name}[{column.missing[:, 0].argmax()}] has no text. Leave it out, or pass "
            "missing='empty' or 'nan'."
        )
    return column
