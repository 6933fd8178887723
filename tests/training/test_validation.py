"""What is validated on while an encoder is fine-tuned, and what an undefined score does."""

import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest

from sk_sentemb import CrossEncoderScorer, FineTuner, SentenceClassifier, SentenceEmbedder
from sk_sentemb._training.task import EMBEDDING, PAIR_REGRESSION
from sk_sentemb._training.validation_split import split_validation
from sk_sentemb.exceptions import FineTuningWarning
from sk_sentemb.losses import (
    CoSENTLoss,
    DataFormat,
    MSELoss,
    MultipleNegativesRankingLoss,
    OnlineContrastiveLoss,
    SoftmaxLoss,
    SupervisedContrastiveLoss,
)
from sk_sentemb.losses.cross_encoder import BinaryCrossEntropyLoss, LambdaLoss
from tests.helpers.datasets import make_dataset
from tests.helpers.tiny_models import TINY, TINY_SCORER, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ["ferry", "pier", "storm", "market", "nets", "harbour", "brothers", "bread"]


def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    return [f"{' '.join(rng.choice(WORDS, 4))} {i}" for i in range(n)]


def pairs(n):
    return pd.DataFrame({"a": texts(n), "b": texts(n, seed=1)})


def early(**how):
    how = {"epochs": 5, "batch_size": 8, "patience": 1, "random_state": 0, **how}
    return FineTuner(early_stopping=True, **how)


def parts(shape, loss, *, target=None, n=None, lists=None, kind=EMBEDDING, seed=0, fraction=None):
    """Return the rows that are learnt from and those that are validated on."""
    dataset = make_dataset(shape, n=n, target=target, query_ids=lists)
    tuner = FineTuner(early_stopping=True, validation_fraction=fraction)
    learnt, validated = split_validation(tuner, dataset, loss, kind, seed)
    assert np.array_equal(np.sort(np.r_[learnt.row_ids, validated.row_ids]), dataset.row_ids)
    return learnt, validated


@pytest.mark.parametrize(
    ("n_classes", "n_of_class", "seed"), list(product([2, 5, 30, 77], [4, 7, 10], [0, 1]))
)
def test_two_rows_of_a_class_are_held_out_where_a_loss_compares_them(n_classes, n_of_class, seed):
    y = np.tile(np.arange(n_classes), n_of_class)
    learnt, validated = parts(DataFormat.LABELS, SupervisedContrastiveLoss(), target=y, seed=seed)
    classes, sizes = np.unique(validated.target, return_counts=True)
    assert len(classes) >= 2
    assert (sizes % 2 == 0).all()
    assert np.bincount(learnt.target, minlength=n_classes).min() >= 2
    assert abs(len(validated) - max(6, 0.1 * len(y))) <= 2


def test_whole_classes_are_held_out_where_none_can_spare_two_rows():
    y = np.repeat(np.arange(20), 2)
    learnt, validated = parts(DataFormat.LABELS, SupervisedContrastiveLoss(), target=y)
    assert len(validated) == 6
    for part in (learnt, validated):
        assert (np.unique(part.target, return_counts=True)[1] == 2).all()


@pytest.mark.parametrize("seed", range(5))
def test_each_class_is_in_both_parts_where_there_are_rows_enough(seed):
    y = np.repeat([0, 1, 2], [80, 15, 5])
    learnt, validated = parts(DataFormat.LABELS, SoftmaxLoss(), target=y, seed=seed)
    assert set(validated.target) == set(learnt.target) == {0, 1, 2}
    # Ten rows for forty classes: a class with one row is learnt from.
    y = np.r_[np.repeat(np.arange(20), 4), np.arange(20, 40)]
    learnt, validated = parts(DataFormat.LABELS, SoftmaxLoss(), target=y, seed=seed)
    assert set(learnt.target) == set(range(40))
    assert len(validated) == 10


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("loss", "kind"),
    [(OnlineContrastiveLoss(), EMBEDDING), (BinaryCrossEntropyLoss(), PAIR_REGRESSION)],
)
def test_pairs_of_both_kinds_are_in_both_parts(loss, kind, seed):
    y = (np.arange(100) % 50 == 0).astype(np.float32)  # two of a hundred
    for part in parts(DataFormat.BINARY, loss, target=y, kind=kind, seed=seed):
        assert set(part.target) == {0, 1}


@pytest.mark.parametrize("seed", range(5))
def test_similarities_are_held_out_over_their_whole_range(seed):
    y = np.linspace(0, 1, 200, dtype=np.float32)
    _, validated = parts(DataFormat.SCORES, CoSENTLoss(), target=y, seed=seed)
    assert len(validated) == 20
    assert (np.histogram(validated.target, bins=5, range=(0, 1))[0] == 4).all()
    mostly_zero = np.where(np.arange(100) < 96, 0, 0.5).astype(np.float32)
    for part in parts(DataFormat.SCORES, CoSENTLoss(), target=mostly_zero, seed=seed):
        assert len(set(part.target)) == 2


@pytest.mark.parametrize("seed", range(5))
def test_lists_stay_whole_and_graded_ones_are_in_both_parts(seed):
    lists = np.repeat(np.arange(20), 3)
    y = np.zeros(60, dtype=np.float32)
    y[[0, 30]] = 1  # two lists have two grades
    for part in parts(
        DataFormat.LISTS, LambdaLoss(), target=y, lists=lists, kind=PAIR_REGRESSION, seed=seed
    ):
        assert part.target.sum() == 1
        assert (np.unique(part.query_ids, return_counts=True)[1] == 3).all()


def test_the_size_of_what_is_held_out():
    vectors = np.zeros((40, 8), dtype=np.float32)
    assert len(parts(DataFormat.EMBEDDINGS, MSELoss(), target=vectors)[1]) == 4
    assert len(parts(DataFormat.PAIRS, MultipleNegativesRankingLoss(), n=40)[1]) == 6
    assert len(parts(DataFormat.PAIRS, MultipleNegativesRankingLoss(), n=8)[1]) == 4
    assert len(parts(DataFormat.PAIRS, MultipleNegativesRankingLoss(), n=100)[1]) == 10
    with pytest.warns(FineTuningWarning, match=r"validation_fraction=0.05 is 2 of 40 rows, but 6"):
        parts(DataFormat.PAIRS, MultipleNegativesRankingLoss(), n=40, fraction=0.05)


def fitted(estimator, X, y=None, *, n_epochs, why=None, **fit):
    """Fit, and check how many epochs there were and what was said about the validation."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, y, **fit)
    said = [str(w.message) for w in caught if "is undefined" in str(w.message)]
    assert estimator.history_["epoch"].max() == n_epochs
    scores = estimator.history_.filter(like="validation_").to_numpy()
    if why is None:
        assert said == []
        assert (~np.isnan(scores)).sum() == n_epochs
    else:
        assert len(said) == 1
        assert why in said[0]
        assert np.isnan(scores).all()
    return estimator


@pytest.mark.parametrize(
    "loss", ["supervised_contrastive", "batch_hard_triplet", "batch_semi_hard_triplet"]
)
def test_losses_of_classes_are_validated_where_classes_are_many(loss):
    X, y = texts(300, seed=3), np.tile(np.arange(30), 10)
    tuner = FineTuner(loss, epochs=2, early_stopping=True, random_state=0)
    fitted(SentenceEmbedder(TINY, fine_tuner=tuner), X, y, n_epochs=2)


def test_one_row_of_each_class_is_no_validation_of_a_loss_that_compares_two():
    X, y = texts(40), np.arange(40) % 10
    tuner = early(validation_data=(texts(10, seed=1), np.arange(10)))
    embedder = SentenceEmbedder(TINY, fine_tuner=tuner)
    fitted(embedder, X, y, n_epochs=5, why="two rows of one class and one of another")
    last = SentenceEmbedder(TINY, fine_tuner=FineTuner(epochs=5, batch_size=8, random_state=0))
    assert embedder.fingerprint_ == last.fit(X, y).fingerprint_


@pytest.mark.parametrize("estimator", [SentenceEmbedder(TINY), CrossEncoderScorer(TINY_SCORER)])
def test_ten_scored_pairs_are_enough_to_measure_something(estimator):
    estimator.set_params(fine_tuner=early(patience=5))
    fitted(estimator, pairs(10), np.linspace(0, 1, 10), n_epochs=5)


@pytest.mark.parametrize("estimator", [SentenceEmbedder(TINY), CrossEncoderScorer(TINY_SCORER)])
@pytest.mark.parametrize(
    ("y", "of_validation", "why"),
    [
        (np.linspace(0, 1, 12), [0.5], "y is 0.5 in each of the 1 validation rows"),
        (np.linspace(0, 1, 12), [0.5] * 4, "y is 0.5 in each of the 4 validation rows"),
        (np.arange(12) % 2, [0] * 4, "y is 0 in each of the 4 validation rows"),
        (np.arange(12) % 2, [1] * 4, "y is 1 in each of the 4 validation rows"),
    ],
)
def test_targets_that_are_all_the_same_measure_nothing(estimator, y, of_validation, why):
    held_out = (pairs(len(of_validation)), np.asarray(of_validation, dtype=np.asarray(y).dtype))
    loss = "auto"
    if isinstance(estimator, SentenceEmbedder) and y.dtype.kind == "i":
        loss = "online_contrastive"
    tuner = early(loss=loss, validation_data=held_out, score_range=(0, 1))
    fitted(estimator.set_params(fine_tuner=tuner), pairs(12), y, n_epochs=5, why=why)


def test_lists_of_one_grade_measure_nothing():
    held_out = (pairs(4).assign(a=["q", "q", "r", "r"]), [1, 1, 0, 0])
    X = pairs(12).assign(a=np.repeat([*"abc"], 4))
    scorer = CrossEncoderScorer(
        TINY_SCORER, fine_tuner=early(loss="lambda", validation_data=held_out)
    )
    fitted(scorer, X, np.arange(12) % 3, n_epochs=5, why="none of the 2 validation lists has two")
    scorer.set_params(fine_tuner__metric="loss")
    fitted(scorer, X, np.arange(12) % 3, n_epochs=5, why="a list with two grades")


def test_graded_lists_are_validated_on_if_there_are_some():
    q = np.repeat(np.arange(15), 4)
    grades = np.zeros(60)
    grades[[1, 9, 20]] = 1
    scorer = CrossEncoderScorer(TINY_SCORER, fine_tuner=early(loss="lambda", patience=5))
    fitted(scorer, pairs(60), grades, n_epochs=5, query_id=q)


def test_one_pair_is_no_validation_of_negatives_in_the_batch():
    held_out = (pairs(1), None)
    embedder = SentenceEmbedder(TINY, fine_tuner=early(validation_data=held_out))
    fitted(embedder, pairs(10), n_epochs=5, why="two rows without a text in common")
    embedder.set_params(fine_tuner=early(patience=5))
    fitted(embedder, pairs(10), n_epochs=5)


def test_a_metric_of_ones_own_may_be_undefined():
    X, y = texts(24), np.arange(24) % 2
    classifier = SentenceClassifier(TINY, fine_tuner=early(metric=lambda outputs, y: np.nan))
    fitted(classifier, X, y, n_epochs=5, why="metric, a function, returned NaN")


def test_epochs_without_a_score_are_neither_better_nor_worse():
    X, y = texts(24), np.arange(24) % 2
    scores, seen = iter([0.5, np.nan, np.nan, 0.4, 0.3]), []

    def metric(outputs, y):
        seen.append(outputs[0])
        return next(scores)

    tuner = early(metric=metric, patience=2, learning_rate=1e-3, validation_data=(X[:4], y[:4]))
    embedder = SentenceEmbedder(TINY, fine_tuner=tuner)
    with pytest.warns(FineTuningWarning, match="epoch 2 is undefined"):
        embedder.fit(X, y)
    found = embedder.history_["validation_score"].groupby(embedder.history_["epoch"]).last()
    np.testing.assert_array_equal(found, [0.5, np.nan, np.nan, 0.4, 0.3])
    # The weights are those of the first epoch, which had the best of the scores that there are.
    assert_same_rows(embedder.transform(X[:4]), seen[0])
    assert np.abs(embedder.transform(X[:4]) - seen[1]).max() > 1e-3


def test_pairs_of_one_anchor_are_an_error_or_a_warning():
    X = pd.DataFrame({"a": ["the same question"] * 40, "b": texts(40)})
    embedder = SentenceEmbedder(TINY, fine_tuner=FineTuner(epochs=1, random_state=0))
    with pytest.raises(ValueError, match="loss=MultipleNegativesRankingLoss"):
        embedder.fit(X)
    with pytest.raises(ValueError, match="no batch of the"):
        embedder.fit(X[["b", "a"]])
    with pytest.raises(ValueError, match="two rows in a batch"):
        embedder.fit(["one text"])
    X = pd.concat([X[:3], pairs(8)])
    with pytest.warns(
        FineTuningWarning, match=r"in 1 of the 3 batches of an epoch there is nothing"
    ):
        embedder.set_params(fine_tuner__batch_size=16).fit(X)


def test_a_last_batch_of_one_row_joins_the_one_before():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for X, y in (
            (pairs(17), None),
            (pairs(17), np.linspace(0, 1, 17)),
            (texts(17), np.arange(17) % 3),
        ):
            tuner = FineTuner(epochs=1, batch_size=8, random_state=0)
            assert len(SentenceEmbedder(TINY, fine_tuner=tuner).fit(X, y).history_) == 2


def test_batches_without_two_rows_of_a_class_are_counted():
    X, y = texts(48), np.arange(48) % 12
    tuner = FineTuner(epochs=1, batch_size=4, sampling="shuffle", random_state=0)
    with pytest.warns(
        FineTuningWarning, match=r"in \d+ of the 12 batches .* two rows of one class"
    ):
        SentenceEmbedder(TINY, fine_tuner=tuner).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuner.set_params(sampling="auto")
        SentenceEmbedder(TINY, fine_tuner=tuner).fit(X, y)
    tuner.set_params(batch_size=2)
    with pytest.raises(ValueError, match=r"no batch of the .* a larger batch_size"):
        SentenceEmbedder(TINY, fine_tuner=tuner).fit(X, y)


def test_small_batches_of_one_class_are_no_reason_for_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(4):
            tuner = FineTuner(max_steps=1, batch_size=8, random_state=seed)
            SentenceEmbedder(TINY, fine_tuner=tuner).fit(texts(24), np.arange(24) % 2)


@pytest.mark.parametrize(("n_first", "n_second", "batch_size"), [(4, 2, 4), (10, 2, 4), (6, 6, 5)])
def test_small_batches_of_validation_have_two_classes(n_first, n_second, batch_size):
    y = np.repeat([0, 1], [n_first, n_second])
    held_out = (texts(len(y), seed=2), y)
    for seed in range(3):
        tuner = FineTuner(
            max_steps=1, batch_size=batch_size, validation_data=held_out, random_state=seed
        )
        embedder = SentenceEmbedder(TINY, fine_tuner=tuner).fit(texts(24), np.arange(24) % 2)
        assert embedder.history_["validation_loss"].notna().all()


@pytest.mark.parametrize("estimator", [SentenceEmbedder(TINY), CrossEncoderScorer(TINY_SCORER)])
def test_the_loss_decides_between_epochs_of_equal_ranks(estimator):
    X, y = pairs(10), np.linspace(0, 1, 10)
    how = {"validation_data": (X, y), "learning_rate": 1e-6, "epochs": 4}
    fitted(estimator.set_params(fine_tuner=early(**how)), X, y, n_epochs=4)
    assert estimator.history_["validation_spearman"].nunique() == 1


@pytest.mark.parametrize("kind", [SentenceEmbedder, SentenceClassifier])
@pytest.mark.parametrize(
    ("own", "held_out", "message"),
    [
        ([0, 1], ["0", "1"], "y has numbers and the y of validation_data has strings"),
        (["0", "1"], [0, 1], "y has strings and the y of validation_data has numbers"),
    ],
)
def test_classes_of_other_types_are_not_validated_on(kind, own, held_out, message):
    tuner = FineTuner(max_steps=1, validation_data=(texts(4, seed=1), held_out * 2))
    with pytest.raises(ValueError, match=message):
        kind(TINY, fine_tuner=tuner).fit(texts(24), own * 12)


def test_validation_data_have_a_target_for_each_row():
    tuner = FineTuner(max_steps=1, validation_data=(texts(4), 1))
    with pytest.raises(ValueError, match=r"validation_data\[1\] is the single value 1"):
        SentenceEmbedder(TINY, fine_tuner=tuner).fit(texts(24), np.arange(24) % 2)


@pytest.mark.parametrize("returned", [None, "high", [0.5, 0.5]])
def test_a_metric_returns_a_number(returned):
    tuner = early(metric=lambda columns, target: returned, validation_fraction=0.25)
    with pytest.raises(
        TypeError, match=r"metric, a function, returned .*; it must return one number"
    ):
        SentenceEmbedder(TINY, fine_tuner=tuner).fit(texts(24), np.arange(24) % 2)
