"""Data and helpers of the tests in this folder."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd

from sk_sentemb import CrossEncoderClassifier, CrossEncoderScorer, FineTuner
from sk_sentemb.losses import DataFormat, Loss
from sk_sentemb.losses.cross_encoder import LambdaLoss
from tests.helpers.tiny_models import NLI, TINY_NLI, TINY_SCORER

WORDS = ["ferry", "pier", "storm", "market", "nets", "harbour", "brothers", "bread"]
N = 24
FIRST = [f"the {WORDS[i % 8]} of day {i}" for i in range(N)]
SECOND = [f"a {WORDS[(i * 3) % 8]} and the {WORDS[7 - i % 8]}" for i in range(N)]
PAIRS = pd.DataFrame({"a": FIRST, "b": SECOND})
TRIPLETS = PAIRS.assign(c=SECOND[5:] + SECOND[:5])
SCORES = np.linspace(0, 1, N)
BINARY = np.arange(N) % 2
CLASSES = np.array([NLI[i % 3] for i in range(N)])
# Lists of 1 to 6 rows.
QUERY = np.repeat(np.arange(7), [6, 1, 4, 3, 5, 2, 3])
GRADES = np.arange(N) % 4
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def tuned(X=PAIRS, y=SCORES, *, kind=CrossEncoderScorer, model=None, params=None, fit=None, **how):
    how = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "random_state": 0, **how}
    model = model or (TINY_SCORER if kind is CrossEncoderScorer else TINY_NLI)
    made = kind(model, fine_tuner=FineTuner(**how), **(params or {}))
    return made.fit(X, y, **(fit or {}))


classified = partial(tuned, y=CLASSES, kind=CrossEncoderClassifier)
# What X, y and query_id are, the loss that is chosen, and others that are for it
DATA = {
    "scores": (PAIRS, SCORES, None, "binary_cross_entropy", ["mse"]),
    "binary": (PAIRS, BINARY, None, "binary_cross_entropy", ["mse"]),
    "lists": (PAIRS, GRADES, QUERY, "lambda", ["ranknet", "listnet"]),
    "lists of 0 and 1": (PAIRS, BINARY, QUERY, "lambda", ["ranknet", "listnet"]),
    "pairs": (PAIRS, None, None, "multiple_negatives_ranking", []),
    "triplets": (TRIPLETS, None, None, "multiple_negatives_ranking", []),
    "margins": (TRIPLETS, SCORES * 6 - 1, None, "margin_mse", []),
    "teacher": (
        TRIPLETS,
        np.column_stack([SCORES * 6, np.ones(N)]),
        None,
        "margin_mse",
        [],
    ),
}


@dataclass(frozen=True)
class Spy(Loss):
    """Writes down the targets, weights and lists of each batch."""

    seen: ClassVar[list] = []
    formats = (DataFormat.LISTS,)

    def __call__(self, batch):
        Spy.seen.append((batch.target.tolist(), batch.weight, batch.query_ids.tolist()))
        return LambdaLoss()(batch)
