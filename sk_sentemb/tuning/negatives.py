"""Documents that do not belong to a query, drawn from other rows."""

from dataclasses import replace

import numpy as np

from ..encoder import Text
from .examples import Examples

# Draws before it is given up that a document of another query comes.
_TRIES = 50


def with_negatives(examples: Examples, n_negatives: int, seed: int) -> Examples:
    """Add columns of pairs: each row's query, and the document of another one.

    Parameters
    ----------
    examples : Examples
        Of a cross-encoder: in the first column, pairs that belong together.
    n_negatives : int
        How many columns.
    seed : int
        Of the draw.

    Returns
    -------
    extended : Examples
        With these columns; no document is drawn that stands beside the same query in any row.

    Raises
    ------
    ValueError
        If there is a query whose documents are all there are.
    """
    draw = np.random.default_rng(seed)
    pairs = [examples.texts[i] for i in examples.columns[0]]
    queries = np.unique([query for query, _ in pairs], return_inverse=True)[1]
    documents = np.unique([document for _, document in pairs], return_inverse=True)[1]
    n_rows, n_documents = len(pairs), int(documents.max()) + 1
    belonging = np.unique(queries * n_documents + documents)
    chosen = draw.integers(n_rows, size=(n_negatives, n_rows))
    for _ in range(_TRIES):
        taken = np.isin(queries * n_documents + documents[chosen], belonging)
        if not taken.any():
            break
        chosen[taken] = draw.integers(n_rows, size=int(taken.sum()))
    else:
        row = examples.rows[int(np.argwhere(taken)[0, 1])]
        raise ValueError(
            f"the query in row {row} of X has nearly every document as its own, so that none is left "
            "to tell them from. Pass triplets, or pairs with 0 and 1."
        )
    index: dict[Text, int] = {pair: i for i, pair in enumerate(examples.texts)}
    drawn = [
        [index.setdefault((pairs[i][0], pairs[j][1]), len(index)) for i, j in enumerate(column)]
        for column in chosen
    ]
    columns = np.vstack([examples.columns, np.array(drawn, dtype=np.intp).reshape(-1, n_rows)])
    return replace(examples, texts=list(index), columns=columns)
