"""Data and helpers of the tests in this folder."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sk_sentemb import CrossEncoderClassifier, CrossEncoderScorer, FineTuner
from tests.helpers.tiny_models import NLI, TINY_NLI, TINY_SCORER

TWO_STEPS = FineTuner(max_steps=2, batch_size=4, learning_rate=1e-3, random_state=0)
BOTH = [
    pytest.param(CrossEncoderScorer(TINY_SCORER), id="scorer"),
    pytest.param(CrossEncoderClassifier(TINY_NLI), id="classifier"),
]
both = pytest.mark.parametrize("estimator", BOTH)
# Each query beside each document: 5 * 4 pairs.
QUERIES = [f"the ferry of day {i}" for i in range(5)]
DOCUMENTS = ["the pier", "Harbour", "Nobody remembers the storm?", "nets and nets and nets"]
GRID = [(query, document) for query in QUERIES for document in DOCUMENTS]
# Weights that no other test has.
_seeds = itertools.count(9_000)


class Containers:
    """The same pairs in what scikit-learn cuts into folds."""

    frame = pd.DataFrame(GRID, columns=["a", "b"])
    array = np.array(GRID, dtype=object)
    tuples = GRID
    polars = pl.DataFrame(frame.to_dict("list"))


CLASSES = np.array([NLI[i % 3] for i in range(len(GRID))])
