"""Validation and early stopping in the fine-tuning of cross-encoders."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, ndcg_score

from sk_sentemb import CrossEncoderClassifier
from tests.cross_encoder.training_data import (
    BINARY,
    CLASSES,
    DATA,
    FIRST,
    GRADES,
    PAIRS,
    QUERY,
    SCORES,
    SECOND,
    N,
    Spy,
    classified,
    tuned,
)
from tests.helpers.checkpoints import make_cross_encoder
from tests.helpers.tiny_models import NLI, TINY, TINY_SCORER

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.NewHeadWarning"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.FineTuningWarning"),
    # Trained on frames, called on lists, or the other way around.
    pytest.mark.filterwarnings(
        "ignore:X (has|does not have valid) feature names:UserWarning:sklearn"
    ),
]


HELD_OUT = (PAIRS[:9], SCORES[:9])


def of_validation(fitted):
    (column,) = fitted.history_.filter(like="validation").columns
    return column, fitted.history_[column].dropna().tolist()


@pytest.mark.parametrize("data", DATA)
def test_every_format_can_be_validated(data):
    X, y, query_id, *_ = DATA[data]
    best = {"scores": "spearman", "binary": "average_precision", "lists": "ndcg"}
    scorer = tuned(X, y, validation_fraction=0.3, fit={"query_id": query_id})
    name, found = of_validation(scorer)
    assert name == f"validation_{best.get(data.split()[0], 'loss')}"
    assert len(found) == 2
    assert np.isfinite(found).all()


def test_validation_spearman_and_loss_match_predictions():
    name, found = of_validation(tuned(validation_data=HELD_OUT, max_steps=2))
    predicted = tuned(validation_data=HELD_OUT, max_steps=2).predict(HELD_OUT[0])
    assert name == "validation_spearman"
    assert found[-1] == pytest.approx(spearmanr(predicted, HELD_OUT[1]).statistic, abs=0.02)
    scorer = tuned(validation_data=HELD_OUT, metric="loss", batch_size=32)
    name, found = of_validation(scorer)
    logits = torch.from_numpy(scorer.decision_function(HELD_OUT[0]))
    target = torch.tensor(HELD_OUT[1], dtype=torch.float32)
    assert found[-1] == pytest.approx(
        F.binary_cross_entropy_with_logits(logits, target).item(), abs=1e-5
    )


@pytest.mark.parametrize("lowest", [0, -2])
def test_validation_ndcg_matches_lists_of_validation_data(lowest):
    """Its lists are those of its first texts, whatever the numbers of those that are learnt from."""
    X = pd.DataFrame(
        {"a": np.repeat([FIRST[0], FIRST[1], "new", "alone"], [4, 5, 2, 1]), "b": SECOND[:12]}
    )
    grades = np.array([0, 1, 2, 0, 3, 0, 0, 1, 1, 0, 2, 3]) + lowest
    for query_id in (QUERY, [f"query {i}" for i in QUERY], [("a", "b")[i % 2] for i in QUERY]):
        scorer = tuned(y=GRADES + lowest, validation_data=(X, grades), fit={"query_id": query_id})
        name, found = of_validation(scorer)
        assert name == "validation_ndcg"
        expected = []
        for query in ("new", FIRST[0], FIRST[1]):
            rows = (X["a"] == query).to_numpy()
            gains = np.maximum(grades[rows], 0)
            if gains.max() > 0:
                scores = scorer.decision_function(X[rows])
                expected.append(ndcg_score(gains[None], scores[None], k=10))
        assert found[-1] == pytest.approx(np.mean(expected), abs=1e-6)


def test_validation_fraction_keeps_lists_whole(spied):
    how = {"loss": Spy(), "metric": lambda logits, y: 1.0}  # the loss of the learnt rows alone
    tuned(y=np.arange(N), validation_fraction=0.3, epochs=1, fit={"query_id": QUERY}, **how)
    learnt = sorted(int(row) for target, _, _ in spied for row in target)
    assert set(QUERY[learnt]).isdisjoint(set(np.delete(QUERY, learnt)))
    assert 0 < len(learnt) < N


def test_validation_average_precision_is_of_second_class():
    """Whatever the order of the logits; of three classes there is none."""
    how = {"metric": "average_precision", "max_steps": 2, "kind": CrossEncoderClassifier}
    y = np.where(BINARY, "yes", "no")
    held_out = (PAIRS[:9], y[:9])
    for model, target, data in (
        (TINY, y, held_out),
        (TINY_SCORER, y, held_out),
        (TINY_SCORER, BINARY, (PAIRS[:9], BINARY[:9])),
    ):
        fitted = tuned(y=target, model=model, validation_data=data, **how)
        _, found = of_validation(fitted)
        truth = np.array(data[1]) == fitted.classes_[1]
        expected = average_precision_score(truth, fitted.decision_function(data[0]))
        assert found[-1] == pytest.approx(expected, abs=0.02)
    for metric in ("spearman", "average_precision"):
        with pytest.raises(ValueError, match=f"metric='{metric}' requires"):
            classified(metric=metric, validation_fraction=0.3)


def test_validation_follows_labels_of_head(tmp_path):
    folder = make_cross_encoder(tmp_path, labels=("yes", "no"), seed=2)
    y = np.where(BINARY, "yes", "no")
    fitted = tuned(
        y=y,
        kind=CrossEncoderClassifier,
        model=folder,
        metric="average_precision",
        validation_data=(PAIRS[:9], y[:9]),
        max_steps=1,
    )
    _, found = of_validation(fitted)
    no = average_precision_score(y[:9] == "no", -fitted.decision_function(PAIRS[:9]))
    assert found[-1] == pytest.approx(no, abs=0.02)


def test_early_stopping_restores_best_weights():
    how = {"early_stopping": True, "patience": 2, "learning_rate": 0.03, "epochs": 20}
    scorer = tuned(validation_data=HELD_OUT, **how)
    _, found = of_validation(scorer)
    assert len(found) < 20
    assert found[-1] < max(found)
    predicted = scorer.decision_function(HELD_OUT[0])
    assert spearmanr(predicted, HELD_OUT[1]).statistic == pytest.approx(max(found), abs=0.05)


def test_custom_metric_gets_logits():
    def metric(columns, y):
        seen.append(([column.shape for column in columns], y.tolist()))
        return 0.5

    seen = []
    tuned(validation_data=HELD_OUT, metric=metric, epochs=1)
    classified(validation_data=(PAIRS[:6], CLASSES[:6]), metric=metric, epochs=1)
    assert seen[0][0] == [(9, 1)]
    assert seen[0][1] == pytest.approx(SCORES[:9].tolist())
    assert seen[1] == ([(6, 3)], [NLI.index(name) for name in CLASSES[:6]])
