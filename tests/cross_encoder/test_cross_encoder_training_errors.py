"""Errors and warnings of the fine-tuning of cross-encoders."""

import numpy as np
import pytest

from sk_sentemb import CrossEncoderClassifier
from sk_sentemb.losses import CoSENTLoss, MatryoshkaLoss
from sk_sentemb.losses.cross_encoder import BinaryCrossEntropyLoss
from tests.cross_encoder.training_data import (
    BINARY,
    CLASSES,
    GRADES,
    PAIRS,
    QUERY,
    SCORES,
    TRIPLETS,
    N,
    tuned,
)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.NewHeadWarning"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.FineTuningWarning"),
    # Trained on frames, called on lists, or the other way around.
    pytest.mark.filterwarnings(
        "ignore:X (has|does not have valid) feature names:UserWarning:sklearn"
    ),
]


@pytest.mark.parametrize(
    ("X", "y", "how", "message"),
    [
        (PAIRS, ["good"] * N, {}, "requires a numeric y, got values such as 'good'"),
        (PAIRS, SCORES[:-1], {}, "inconsistent numbers of samples"),
        (PAIRS, [*SCORES[:-1], np.nan], {}, r"y\[23\] is missing"),
        (PAIRS, [*SCORES[:-1], np.inf], {}, "y contains infinity"),
        (PAIRS, np.column_stack([SCORES, SCORES]), {}, "y should be a 1d array"),
        (PAIRS, SCORES, {"loss": "cross_entropy"}, "does not support two columns and a score"),
        (PAIRS, None, {"loss": "binary_cross_entropy"}, "does not support two columns and no y"),
        (
            PAIRS,
            SCORES,
            {"loss": "multiple_negatives_ranking"},
            "does not support two columns and a score",
        ),
        (PAIRS, SCORES, {"loss": "margin_mse"}, "does not support two columns and a score"),
        (TRIPLETS, None, {"loss": "lambda"}, "does not support three columns and no y"),
        (PAIRS, SCORES, {"loss": "cosent"}, "loss='cosent' is for SentenceEmbedder"),
        (PAIRS, SCORES, {"loss": CoSENTLoss()}, "is for SentenceEmbedder"),
        (PAIRS, SCORES, {"loss": MatryoshkaLoss("auto", dims=(8,))}, "requires embeddings"),
        (PAIRS, SCORES, {"class_weight": "balanced"}, "requires classes in y"),
        (PAIRS, SCORES, {"sampling": "balanced"}, "requires classes in y"),
        (PAIRS, SCORES, {"metric": "ndcg"}, "metric='ndcg' requires ranked lists"),
        (TRIPLETS, None, {"metric": "spearman"}, "metric='spearman' requires"),
        (
            PAIRS,
            SCORES,
            {"metric": "average_precision"},
            "metric='average_precision' requires a target of 0 and 1",
        ),
        (
            PAIRS,
            SCORES,
            {"validation_data": (TRIPLETS, SCORES)},
            "validation_data has 3 text columns",
        ),
        (PAIRS, SCORES, {"validation_data": (PAIRS, None)}, "must be given, or neither"),
        (
            PAIRS,
            SCORES,
            {"validation_data": (PAIRS, SCORES * 2)},
            r"outside of score_range=\(0, 1\)",
        ),
        (PAIRS.assign(b="same"), None, {}, "so that it has no negatives"),
        (PAIRS, GRADES, {"fit": {"query_id": QUERY[:-1]}}, r"query_id has the shape \(23,\)"),
        (PAIRS, GRADES, {"fit": {"query_id": [*QUERY[:-1], None]}}, r"query_id\[23\] is missing"),
        (
            PAIRS,
            GRADES,
            {"fit": {"query_id": np.ones((N, 2))}},
            r"query_id has the shape \(24, 2\)",
        ),
        (
            PAIRS,
            GRADES,
            {"fit": {"query_id": np.arange(N)}},
            "No list has two grades, but loss=Lam",
        ),
        (PAIRS, GRADES, {"loss": "ranknet", "fit": {"query_id": np.arange(N)}}, "No list has two"),
        (PAIRS, -BINARY, {"fit": {"query_id": np.zeros(N)}}, "No list has two grades"),
        (
            PAIRS,
            GRADES,
            {"early_stopping": True, "fit": {"query_id": np.zeros(N)}},
            "validation_fraction=0.1 requires two lists, got one",
        ),
        (PAIRS[:1], [0.5], {"early_stopping": True}, "requires two rows, got one"),
        (PAIRS, SCORES, {"validation_data": (PAIRS, SCORES[:4])}, "24 rows of X and 4 of y"),
        (
            PAIRS,
            SCORES,
            {"validation_data": (PAIRS[:2], [0, None])},
            r"validation_data\[1\]\[1\] is",
        ),
        (
            PAIRS,
            SCORES,
            {"validation_data": ([["a"], ["b", "c"]], [0, 1])},
            "the X of validation_data has",
        ),
        (
            PAIRS,
            SCORES,
            {"validation_data": (PAIRS[:1], [[0, 1]])},
            "that of validation_data \\(1, 2",
        ),
        (
            PAIRS,
            SCORES,
            {"validation_data": (PAIRS[:2], [0, 9])},
            "row 1 of the y of validation_data is 9, outside of",
        ),
        (
            PAIRS,
            SCORES,
            {"validation_data": ([("a", None)], [1])},
            "the X of validation_data has no row without a missing text",
        ),
    ],
)
def test_scorer_fit_rejects_bad_data(X, y, how, message):
    how = {"score_range": (0, 1)} | how if "validation_data" in how else how
    with pytest.raises(ValueError, match=message):
        tuned(X, y, **how)


@pytest.mark.parametrize(
    ("X", "y", "how", "message"),
    [
        (PAIRS, SCORES, {}, "Unknown label type: continuous"),
        (PAIRS, None, {}, "requires y to be passed, but the target y is None: with a fine_tuner"),
        (PAIRS, ["one"] * N, {}, r"y contains one class \('one'\); at least two"),
        (PAIRS, [*CLASSES[:-1], None], {}, r"y\[23\] is missing"),
        (PAIRS, CLASSES[:-1], {}, "inconsistent numbers of samples"),
        (TRIPLETS, CLASSES, {}, "X has 3 text columns, but a pair has two"),
        (
            PAIRS,
            CLASSES,
            {"loss": "binary_cross_entropy"},
            "does not support two columns and a class",
        ),
        (PAIRS, CLASSES, {"loss": "softmax"}, "is for SentenceEmbedder"),
        (PAIRS, CLASSES, {"class_weight": {"a": 2}}, "are not in class_weight"),
        (
            PAIRS,
            CLASSES,
            {"validation_data": (PAIRS[:2], ["a", "b"])},
            r"classes \['a', 'b'\], which",
        ),
    ],
)
def test_classifier_fit_rejects_bad_data(X, y, how, message):
    with pytest.raises(ValueError, match=message):
        tuned(X, y, kind=CrossEncoderClassifier, **how)


@pytest.mark.parametrize(
    ("y", "loss"),
    [(SCORES, "binary_cross_entropy"), (GRADES, BinaryCrossEntropyLoss()), (None, "auto")],
)
def test_query_id_without_listwise_loss_gives_warning(y, loss):
    with pytest.warns(UserWarning, match="query_id has no effect"):
        tuned(y=y, loss=loss, fit={"query_id": QUERY}, max_steps=1, score_range=(0, 3))
