"""Documents that do not belong to a query, drawn from other rows."""

from dataclasses import replace

import numpy as np
import pandas as pd

from .._types import Text
from .dataset import TrainingDataset

# Draws before the documents of other queries are listed, to draw from these.
_TRIES = 10


def add_random_negatives(examples: TrainingDataset, n_negatives: int, seed: int) -> TrainingDataset:
    """Add columns of pairs: each row's query, and the document of another one."""
    draw = np.random.default_rng(seed)
    pairs = [examples.texts[i] for i in examples.columns[0]]
    sides = [np.array(side, dtype=object) for side in zip(*pairs, strict=True)]
    (queries, asked), (documents, texts) = map(pd.factorize, sides)
    n_rows, n_documents = len(pairs), len(texts)
    itself = pd.Index(texts).get_indexer(asked)[queries]  # -1 where no document is the query
    belonging = np.union1d(
        queries * n_documents + documents, (queries * n_documents + itself)[itself >= 0]
    )
    # As often as they stand in rows.
    chosen = documents[draw.integers(n_rows, size=(n_negatives, n_rows))]
    for _ in range(_TRIES):
        taken = np.isin(queries * n_documents + chosen, belonging)
        chosen[taken] = documents[draw.integers(n_rows, size=int(taken.sum()))]
    for column, row in np.argwhere(np.isin(queries * n_documents + chosen, belonging)):
        first = queries[row] * n_documents
        others = np.setdiff1d(np.arange(n_documents), belonging - first)
        if not len(others):
            raise ValueError(
                f"the query in row {examples.rows[row]} of X has every document as its own, so that "
                "none is left to tell them from. Pass triplets, or pairs with 0 and 1."
            )
        chosen[column, row] = draw.choice(others)
    index: dict[Text, int] = {pair: i for i, pair in enumerate(examples.texts)}
    drawn = [
        [index.setdefault((pairs[i][0], texts[j]), len(index)) for i, j in enumerate(column)]
        for column in chosen
    ]
    columns = np.vstack([examples.columns, np.array(drawn, dtype=np.intp).reshape(-1, n_rows)])
    return replace(examples, texts=list(index), columns=columns)
