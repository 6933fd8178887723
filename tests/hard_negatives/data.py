"""Data and helpers of the tests in this folder."""

import warnings

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import FunctionTransformer

from sk_sentemb import mine_hard_negatives
from sk_sentemb.exceptions import FewNegativesWarning

WORDS = ["ferry", "pier", "storm", "net", "ice", "market", "winter", "gull"]
TEXTS = [f"the {a} and the {b}" for a in WORDS for b in WORDS]
QUERIES = [f"where is the {word}?" for word in WORDS[:5]]
POSITIVES = [f"the {word} is here" for word in WORDS[:5]]


class SharedWords(BaseEstimator):
    """Scores a pair by how many words its texts share."""

    n_pairs = 0

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        assert X.shape[1] == 2
        self.n_pairs += len(X)
        return np.array([len(set(a.split()) & set(b.split())) for a, b in X])


def words_of(texts):
    """Count words, in vectors of which many are equal."""
    counts = [[text.split().count(word) for word in WORDS] for text in texts]
    return np.array(counts, dtype=np.float32)


COUNTS = FunctionTransformer(words_of)


def mine(embedder, queries, positives, corpus=None, **params):
    """Mine, whatever the warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewNegativesWarning)
        return mine_hard_negatives(embedder, queries, positives, corpus, **params)
