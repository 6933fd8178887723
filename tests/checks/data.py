"""What the checks pass to an estimator, and how they read its output: texts, pairs or images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from sklearn.base import clone, is_classifier

from sk_sentemb import CrossEncoderClassifier, CrossEncoderScorer, ImageEmbedder
from tests.helpers.images import OTHER_CLIP, PICTURES, SCRATCH, TINY_CLIP, save_all
from tests.helpers.tiny_models import (
    NLI,
    OTHER,
    OTHER_NLI,
    OTHER_SCORER,
    TINY,
    TINY_NLI,
    TINY_SCORER,
)

TEXTS = [
    "the ferry passed the pier",
    "the pier passed the ferry",
    "Harbour",
    "Nobody remembers the storm?",
    "The two brothers mend nets, and the two brothers argue about the nets.",
    "?",
]

STRANGE_TEXTS = {
    "empty": "",
    "spaces": "   ",
    "white space": "\t\n\u00a0\u2003\u200b",
    "NUL": "a\x00b",
    "half a surrogate pair": "half \ud83d pair",
    "other half": "\udc00",
    "emoji": "👩‍👩‍👧 🏳️‍🌈 🙂",
    "right to left": "שלום עולם \u202e\u0645\u0631\u062d\u0628\u0627",
    "combining": "e\u0301\u0323" * 9,
    "beyond the plane": "\U0001d517\U0001d522\U0001d535\U0001d531 𐍈",
    "no character": "\ufffe\uffff\ufffd",
    "long word": "ferry" * 40,
}

PAIRS = [
    ("the ferry passed the pier", "the pier passed the ferry"),
    ("the pier passed the ferry", "the ferry passed the pier"),
    ("the ferry passed the pier", "Harbour"),
    ("Nobody remembers the storm?", "Nobody remembers the storm?"),
    ("?", "The two brothers mend nets, and the two brothers argue about the nets."),
    ("The two brothers mend nets, and the two brothers argue about the nets.", "?"),
    ("Harbour", "?"),
    ("?", "Harbour"),
]
SCORES = [0.9, 0.8, 0.3, 1.0, 0.0, 0.1, 0.2, 0.25]
CLASSES = [NLI[i % 3] for i in range(len(PAIRS))]

IMAGES = [str(path) for path in save_all(PICTURES, SCRATCH / "pictures")]

POLICIES = ("zero", "nan", "empty")
MISSING = [None, np.nan, float("nan"), pd.NA, pd.NaT, np.ma.masked]

# Containers of one column.
CONTAINERS = {
    "tuple": tuple,
    "list of rows": lambda cells: [[cell] for cell in cells],
    "numpy str": lambda cells: np.array(cells, dtype=str),
    "numpy object": lambda cells: np.array(cells, dtype=object),
    "numpy of one column": lambda cells: np.array(cells, dtype=object).reshape(-1, 1),
    "pandas Series": lambda cells: pd.Series(cells),
    "pandas categories": lambda cells: pd.Series(cells, dtype="category"),
    "pandas frame": lambda cells: pd.DataFrame({"text": cells}),
    "polars Series": lambda cells: pl.Series("text", cells),
    "polars frame": lambda cells: pl.DataFrame({"text": cells}),
    "pyarrow array": pa.array,
    "pyarrow chunks": lambda cells: pa.chunked_array([cells[:2], cells[2:]]),
    "pyarrow table": lambda cells: pa.table({"text": cells}),
}

PAIR_CONTAINERS = {
    "list of tuples": list,
    "tuple of tuples": tuple,
    "list of lists": lambda pairs: [list(pair) for pair in pairs],
    "numpy str": lambda pairs: np.array(pairs, dtype=str).reshape(-1, 2),
    "numpy object": lambda pairs: np.array(pairs, dtype=object).reshape(-1, 2),
    "pandas": lambda pairs: pd.DataFrame(pairs, columns=["a", "b"]),
    "pandas without names": lambda pairs: pd.DataFrame(pairs, columns=range(2)),
    "pandas categories": lambda pairs: pd.DataFrame(pairs, columns=["a", "b"]).astype("category"),
    "polars": lambda pairs: pl.DataFrame(pairs, ["a", "b"], orient="row"),
    "pyarrow": lambda pairs: pa.table(
        {name: pa.array([pair[i] for pair in pairs], pa.string()) for i, name in enumerate("ab")}
    ),
}

FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame}


@dataclass(frozen=True)
class CheckData:
    """The data of a kind of estimators."""

    X: list
    y: list | None
    containers: dict[str, Callable]
    models: tuple[Any, Any]  # of different weights, whose outputs have the same shape
    output: str  # the method whose rows are compared
    n_columns: int
    missing: tuple[str, ...]  # policies for missing cells that do not raise

    def fit(self, estimator, X=None, y=None):
        """Fit a clone."""
        return clone(estimator).fit(self.X if X is None else X, self.y if y is None else y)

    def compute_rows(self, fitted, X=None):
        """Compute the output, with one row for each row of X."""
        rows = np.asarray(getattr(fitted, self.output)(self.X if X is None else X))
        return rows.reshape(len(rows), -1) if rows.ndim == 1 else rows

    def fit_and_compute(self, estimator, X=None):
        """Fit a clone and compute the output for the same X."""
        return self.compute_rows(self.fit(estimator, X), X)


def data_for(estimator):
    """Return the data for an estimator of texts, pairs or images."""
    if isinstance(estimator, (CrossEncoderScorer, CrossEncoderClassifier)):
        classifies = is_classifier(estimator)
        models = (TINY_NLI, OTHER_NLI) if classifies else (TINY_SCORER, OTHER_SCORER)
        y = CLASSES if classifies else SCORES
        return CheckData(PAIRS, y, PAIR_CONTAINERS, models, "decision_function", 2, ("empty",))
    if isinstance(estimator, ImageEmbedder):
        return CheckData(
            IMAGES, None, CONTAINERS, (TINY_CLIP, OTHER_CLIP), "transform", 1, POLICIES[:2]
        )
    return CheckData(TEXTS, None, CONTAINERS, (TINY, OTHER), "transform", 1, POLICIES)


def methods_of(estimator):
    """Return the names of the methods that take X."""
    names = ("predict", "decision_function", "predict_proba", "predict_log_proba", "transform")
    return [name for name in names if hasattr(estimator, name)]
