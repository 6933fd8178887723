"""Negatives for pairs: documents that are sampled from other rows."""

from dataclasses import replace

import numpy as np
import pandas as pd

from .._types import Text
from .dataset import TrainingDataset

# Resamplings before the documents of other queries are listed, to sample from these.
_TRIES = 10


def add_random_negatives(dataset: TrainingDataset, n_negatives: int, seed: int) -> TrainingDataset:
    """Add columns of pairs: the query of each row with a document of another query."""
    rng = np.random.default_rng(seed)
    pairs = [dataset.texts[i] for i in dataset.text_ids[0]]
    sides = [np.array(side, dtype=object) for side in zip(*pairs, strict=True)]
    (queries, query_names), (documents, texts) = map(pd.factorize, sides)
    n_rows, n_documents = len(pairs), len(texts)
    itself = pd.Index(texts).get_indexer(query_names)[queries]  # -1 where no document is the query
    positives = np.union1d(
        queries * n_documents + documents, (queries * n_documents + itself)[itself >= 0]
    )
    # As frequent as in the rows.
    chosen = documents[rng.integers(n_rows, size=(n_negatives, n_rows))]
    for _ in range(_TRIES):
        rejected = np.isin(queries * n_documents + chosen, positives)
        chosen[rejected] = documents[rng.integers(n_rows, size=int(rejected.sum()))]
    for column, row in np.argwhere(np.isin(queries * n_documents + chosen, positives)):
        first = queries[row] * n_documents
        others = np.setdiff1d(np.arange(n_documents), positives - first)
        if not len(others):
            raise ValueError(
                f"all documents belong to the query in row {dataset.row_ids[row]} of X, so that it has "
                "no negatives. Pass triplets, or pairs with 0 and 1."
            )
        chosen[column, row] = rng.choice(others)
    index: dict[Text, int] = {pair: i for i, pair in enumerate(dataset.texts)}
    sampled = [
        [index.setdefault((pairs[i][0], texts[j]), len(index)) for i, j in enumerate(column)]
        for column in chosen
    ]
    negatives = np.array(sampled, dtype=np.intp).reshape(-1, n_rows)
    return replace(dataset, texts=list(index), text_ids=np.vstack([dataset.text_ids, negatives]))
