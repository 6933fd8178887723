"""Every estimator counts the truncated cells of X, not the distinct texts among them."""

import re
import warnings

import pandas as pd
import pytest

from sk_sentemb import (
    CrossEncoderClassifier,
    CrossEncoderScorer,
    FineTuner,
    SentenceClassifier,
    SentenceEmbedder,
    SentenceRegressor,
)
from sk_sentemb.bulk import embed_dataset
from sk_sentemb.exceptions import SentenceEmbeddingWarning, TruncationWarning
from sk_sentemb.losses.cross_encoder import MultipleNegativesRankingLoss
from tests.helpers.tiny_models import NO_DROPOUT, TINY, TINY_SCORER

LONG = "the ferry passed the pier and the gulls cried over the harbour"
# Four cells of one long text and two of another; six cells that are short.
TEXTS = [
    LONG,
    "gulls",
    LONG,
    LONG,
    "rain",
    LONG,
    LONG + "!",
    "gulls",
    "gulls",
    LONG + "!",
    "",
    "rain",
]
PAIRS = [(text, "a pier") for text in TEXTS]
LABELS = [0, 1] * 6

TUNER = FineTuner(epochs=1, batch_size=4, random_state=0)
HOW = {"max_length": 12}


def counts(call):
    """Return what each truncation warning of a call counts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore", SentenceEmbeddingWarning)
        warnings.simplefilter("always", TruncationWarning)
        call()
    return [re.match(r"\d+ of \d+ \w+", str(warning.message))[0] for warning in caught]


@pytest.mark.parametrize(
    ("estimator", "X", "expected"),
    [
        (SentenceEmbedder(NO_DROPOUT, **HOW), TEXTS, "6 of 12 texts"),
        (SentenceClassifier(NO_DROPOUT, **HOW), TEXTS, "6 of 12 texts"),
        (SentenceRegressor(NO_DROPOUT, **HOW), TEXTS, "6 of 12 texts"),
        (CrossEncoderScorer(TINY_SCORER, **HOW), PAIRS, "6 of 12 pairs"),
        (CrossEncoderScorer(TINY_SCORER, symmetric=True, **HOW), PAIRS, "6 of 12 pairs"),
        (CrossEncoderClassifier(TINY_SCORER, **HOW), PAIRS, "6 of 12 pairs"),
    ],
    ids=["embedder", "classifier", "regressor", "scorer", "symmetric scorer", "pair classifier"],
)
def test_training_and_prediction_count_cells(estimator, X, expected):
    estimator.set_params(fine_tuner=TUNER)
    assert counts(lambda: estimator.fit(X, LABELS)) == [expected]
    run = estimator.transform if hasattr(estimator, "transform") else estimator.predict
    for _ in range(2):  # the cache remembers what was truncated
        assert counts(lambda: run(X)) == [expected]


def test_a_table_of_two_columns_counts_the_cells_of_both():
    X = pd.DataFrame({"a": TEXTS, "b": TEXTS[::-1]})
    embedder = SentenceEmbedder(TINY, **HOW).fit(X)
    assert counts(lambda: embedder.transform(X)) == ["12 of 24 texts"]
    classifier = SentenceClassifier(NO_DROPOUT, fine_tuner=TUNER, text=["a", "b"], **HOW)
    assert counts(lambda: classifier.fit(X, LABELS)) == ["12 of 24 texts"]
    assert counts(lambda: classifier.transform(X)) == ["12 of 24 texts"]


def test_cells_without_text_are_not_counted():
    X = [text or None for text in TEXTS]
    assert counts(lambda: SentenceEmbedder(TINY, **HOW).fit_transform(X)) == ["6 of 11 texts"]


def test_negatives_that_are_drawn_are_not_counted():
    tuner = FineTuner(
        MultipleNegativesRankingLoss(n_negatives=2), epochs=1, batch_size=4, random_state=0
    )
    scorer = CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner, **HOW)
    pairs = [(text, str(i)) for i, text in enumerate(TEXTS)]
    assert counts(lambda: scorer.fit(pairs)) == ["6 of 12 pairs"]


def test_bulk_embedding_counts_as_the_embedder_does(tmp_path):
    source = tmp_path / "source.parquet"
    pd.DataFrame({"text": TEXTS}).to_parquet(source)
    done = []

    def call():
        embedder = SentenceEmbedder(TINY, **HOW)
        options = {"column": "text", "rows_per_shard": 5, "progress": False}
        done.append(embed_dataset(embedder, source, tmp_path / "target", **options))

    found = counts(call)
    assert found == ["6 of 12 texts"]
    assert done[0].n_truncated == 6
