"""What X and y are read as where an encoder is fine-tuned, and what losses and models need of them."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix

from sk_sentemb import CrossEncoderScorer, FineTuner, SentenceClassifier, SentenceEmbedder
from sk_sentemb._training.task import EMBEDDING, PAIR_REGRESSION
from sk_sentemb.exceptions import FineTuningWarning, TruncationWarning
from sk_sentemb.losses import (
    EMBEDDER_LOSSES,
    Batch,
    DataFormat,
    MatryoshkaLoss,
    SoftmaxLoss,
    SupervisedContrastiveLoss,
)
from tests.helpers.checkpoints import make_checkpoint, make_static_checkpoint
from tests.helpers.tiny_models import NO_DROPOUT, TINY, TINY_SCORER

pytestmark = pytest.mark.usefixtures("one_thread")

N = 24
WORDS = ["ferry", "pier", "storm", "market", "nets", "harbour", "brothers", "bread"]
TEXTS = [f"the {WORDS[i % 8]} and the {WORDS[i % 3]} of day {i}" for i in range(N)]
TABLE = pd.DataFrame({"title": TEXTS, "body": TEXTS[::-1], "tags": TEXTS[3:] + TEXTS[:3]})
PAIRS = TABLE[["title", "body"]]
ZERO_ONE = np.arange(N) % 2
THREE = np.arange(N) % 3
NUMBERS = np.linspace(0.1, 0.9, N)


def tuned(X, y, *, model=TINY, estimator=SentenceEmbedder, fit=None, **how):
    how = {"epochs": 1, "batch_size": 8, "random_state": 0, **how}
    return estimator(model, fine_tuner=FineTuner(**how)).fit(X, y, **(fit or {}))


def first_shape(n_columns, y, asked=None, *, kind=EMBEDDING):
    return kind.possible_formats(n_columns, y, False, asked)[0]


@pytest.mark.parametrize("n_columns", [1, 3, 4])
@pytest.mark.parametrize(
    "y",
    [
        ZERO_ONE,
        ZERO_ONE.astype(bool),
        ZERO_ONE.astype(float),
        THREE,
        THREE - 1,
        np.array(["a", "b", "c"])[THREE],
        pd.Series(["a", "b"], dtype="category").repeat(12),
        pd.Series(THREE, dtype="Int64"),
        list(map(str, THREE)),
    ],
    ids=lambda y: f"{getattr(y, 'dtype', 'list')}-{len(set(y))}",
)
def test_a_class_is_learned_from_all_columns(n_columns, y):
    assert first_shape(n_columns, y) == DataFormat.LABELS


def test_two_columns_and_a_class_use_the_texts_and_their_difference():
    for y in (ZERO_ONE, ZERO_ONE.astype(float), THREE, np.array(["a", "b"])[ZERO_ONE]):
        assert first_shape(2, y) == DataFormat.PAIR_LABELS
    assert isinstance(EMBEDDER_LOSSES.resolve("auto", DataFormat.PAIR_LABELS), SoftmaxLoss)


def test_floats_are_numbers_whatever_a_fold_has_of_them():
    for y in (NUMBERS, NUMBERS * 9, THREE.astype(float), np.arange(N) + 0.5):
        assert first_shape(2, y) == DataFormat.SCORES
        assert first_shape(3, y) == DataFormat.MARGINS
        with pytest.raises(ValueError, match="SentenceRegressor"):
            first_shape(1, y)
        with pytest.raises(ValueError, match="SentenceRegressor"):
            first_shape(4, y)
    # Two of them as well, unless they are 0.0 and 1.0; beside one column, there are no numbers.
    for y in (ZERO_ONE * 5.0, ZERO_ONE + 1.0):
        assert [first_shape(n, y) for n in (1, 2, 3)] == [
            DataFormat.LABELS,
            DataFormat.SCORES,
            DataFormat.MARGINS,
        ]
    # Fractions are no classes, whatever the loss.
    for loss in ("softmax", "supervised_contrastive"):
        for table, fractions in ((PAIRS, "a score for each pair"), (TABLE, "a margin")):
            with pytest.raises(ValueError, match=f"does not support .* {fractions}"):
                tuned(table, NUMBERS, loss=loss)
    # Whole floats are classes if the loss is of classes.
    assert first_shape(1, THREE.astype(float), (DataFormat.LABELS,)) == DataFormat.LABELS
    with pytest.raises(ValueError, match="y is 'continuous', which no loss supports"):
        first_shape(1, NUMBERS, (DataFormat.LABELS,))
    with pytest.raises(ValueError, match=r"such as 0.0, which may be classes or numbers"):
        tuned(TEXTS, THREE.astype(float))
    tuned(TEXTS, THREE.astype(float), loss="supervised_contrastive")


def test_numbers_for_several_outputs_are_a_teachers_only_if_they_look_so():
    vectors = np.random.default_rng(0).normal(size=(N, 32))
    assert first_shape(1, vectors) == DataFormat.EMBEDDINGS
    assert first_shape(3, vectors[:, :2]) == DataFormat.MARGINS
    labels = (vectors > 0).astype(int)
    for y in (labels, labels.astype(float), labels.astype(bool), csr_matrix(labels)):
        with pytest.raises(ValueError, match=r"several labels at once.*SentenceClassifier.*'mse'"):
            first_shape(1, y)
        assert first_shape(1, y, (DataFormat.EMBEDDINGS,)) == DataFormat.EMBEDDINGS
    with pytest.raises(ValueError, match=r"several labels at once.*'margin_mse'"):
        first_shape(3, labels[:, :2])
    with pytest.raises(ValueError, match="32 columns, but not of floats"):
        first_shape(1, (vectors * 10).astype(int))
    with pytest.raises(ValueError, match="which no loss supports"):
        first_shape(2, vectors)
    with pytest.raises(ValueError, match=r"several labels at once"):
        tuned(TEXTS, labels)
    assert len(tuned(TEXTS, labels, loss="mse").history_) == 3


@pytest.mark.parametrize("y", [ZERO_ONE, THREE, np.array(["a", "b"])[ZERO_ONE]])
@pytest.mark.parametrize(
    "loss", ["auto", "softmax", "cosine_pairs", "batch_hard_triplet", MatryoshkaLoss(dims=(32, 8))]
)
def test_three_columns_and_a_class_are_classified(y, loss):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder = tuned(TABLE, y, loss=loss, epochs=8, batch_size=24, model=NO_DROPOUT)
    losses = embedder.history_["loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    assert embedder.transform(TABLE).shape == (N, 96)


def test_three_columns_and_integers_are_margins_if_the_loss_says_so():
    named = tuned(TABLE, THREE, loss="margin_mse")
    assert named.fingerprint_ == tuned(TABLE, THREE.astype(float)).fingerprint_
    with pytest.raises(ValueError, match=r"three columns, which are triplets .*'margin_mse'"):
        first_shape(3, THREE, kind=PAIR_REGRESSION)
    assert first_shape(3, THREE, (DataFormat.MARGINS,), kind=PAIR_REGRESSION) == DataFormat.MARGINS
    assert first_shape(3, NUMBERS, kind=PAIR_REGRESSION) == DataFormat.MARGINS


def test_the_loss_of_several_columns_is_that_of_their_embeddings_side_by_side():
    draw = torch.Generator().manual_seed(0)
    columns = [torch.randn(6, 4, generator=draw) for _ in range(3)]
    target = torch.tensor([0, 0, 1, 1, 2, 2])
    loss = SupervisedContrastiveLoss()
    joined = loss(Batch([torch.cat(columns, dim=1)], target))
    assert torch.equal(loss(Batch(columns, target)), joined)
    head = SoftmaxLoss().make_head(4, 3, n_columns=3)
    assert torch.isfinite(SoftmaxLoss()(Batch(columns, target, head=head)))


def test_zero_and_one_beside_two_columns_are_a_warning():
    with pytest.warns(
        UserWarning, match="0 or 1, which is interpreted as the class .*'online_contrastive'"
    ):
        embedder = tuned(PAIRS, ZERO_ONE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tuned(PAIRS, ZERO_ONE, loss="softmax").fingerprint_ == embedder.fingerprint_
        together = tuned(PAIRS, ZERO_ONE, loss="online_contrastive", validation_fraction=0.25)
        assert "validation_average_precision" in together.history_
        for loss in (
            "contrastive",
            "cosent",
            "cosine_similarity",
            "supervised_contrastive",
            "softmax",
        ):
            tuned(PAIRS, ZERO_ONE, loss=loss)
        # Of cross-encoders, they are pairs.
        tuned(PAIRS, ZERO_ONE, estimator=CrossEncoderScorer, model=TINY_SCORER)


def test_a_range_of_scores_says_that_integers_are_scores():
    grades = np.arange(N) % 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = tuned(PAIRS, grades, score_range=(0, 5))
        assert ours.fingerprint_ == tuned(PAIRS, grades / 5).fingerprint_
        tuned(PAIRS, ZERO_ONE, score_range=(0, 1))


def test_no_targets_are_counted():
    for X in (TEXTS, PAIRS, TABLE):
        with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[24, 0\]"):
            tuned(X, [])


@pytest.mark.parametrize("metric", ["spearman", "average_precision"])
def test_metrics_of_pairs_are_refused_for_classes_of_rows(metric):
    with pytest.raises(ValueError, match="requires text pairs with a numeric target"):
        tuned(PAIRS, ZERO_ONE, loss="supervised_contrastive", metric=metric)


# --- What losses and models need of each other


def test_angle_needs_an_even_number_of_dimensions(tmp_path):
    with pytest.raises(
        ValueError, match=r"AnglELoss\(scale=20.0\) requires an even number of dimensions, got 9"
    ):
        tuned(PAIRS, NUMBERS, loss=MatryoshkaLoss("angle", dims=(32, 9)))
    odd = make_checkpoint(tmp_path / "odd", dense={"out_features": 9})
    with pytest.raises(ValueError, match="even number of dimensions, got 9"):
        tuned(PAIRS, NUMBERS, loss="angle", model=odd)
    tuned(PAIRS, NUMBERS, loss=MatryoshkaLoss("angle", dims=(32, 8)))


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.FineTuningWarning")
@pytest.mark.parametrize("y", [np.arange(N) % 4 * 10.0 + 1, np.arange(N) * 40])
def test_grades_above_the_limit_of_a_loss_are_an_error(y):
    X = pd.DataFrame({"query": np.repeat(["a", "b"], 12), "document": TEXTS})
    how = {"estimator": CrossEncoderScorer, "model": TINY_SCORER}
    with pytest.raises(ValueError, match=r"y\[\d+\] is \d+, but loss=LambdaLoss.* up to 30"):
        tuned(X, y, loss="lambda", **how)
    assert np.isfinite(tuned(X, y, loss="ranknet", **how).history_["loss"]).all()
    assert np.isfinite(tuned(X, y.clip(max=30), loss="lambda", **how).history_["loss"]).all()


def test_grades_of_validation_data_are_checked_as_well():
    X = pd.DataFrame({"query": np.repeat(["a", "b"], 12), "document": TEXTS})
    with pytest.raises(ValueError, match=r"row 5 of the y of validation_data is 99"):
        tuned(
            X,
            np.arange(N) % 3,
            loss="lambda",
            validation_data=(X[:6], [0, 1, 2, 0, 1, 99]),
            estimator=CrossEncoderScorer,
            model=TINY_SCORER,
        )


def normalized(n_inputs, n_outputs):
    return torch.nn.Sequential(torch.nn.BatchNorm1d(n_inputs), torch.nn.Linear(n_inputs, n_outputs))


@pytest.mark.parametrize("n_rows", [9, 17])
def test_a_head_with_batch_normalization_has_no_batch_of_one_row(n_rows):
    tuner = FineTuner(epochs=1, batch_size=8, random_state=0)
    classifier = SentenceClassifier(TINY, head=normalized, fine_tuner=tuner)
    classifier.fit(TEXTS[:n_rows], ZERO_ONE[:n_rows])
    assert len(classifier.history_) == n_rows // 8
    with pytest.raises(ValueError, match="BatchNorm1d, which requires two rows in a batch"):
        classifier.set_params(fine_tuner__batch_size=1).fit(TEXTS, ZERO_ONE)


@pytest.mark.parametrize(
    "how",
    [
        {"gradient_checkpointing": True},
        {"lora_rank": 4},
        {"layer_decay": 0.9},
        {"trainable": 1},
    ],
    ids=lambda how: next(iter(how)),
)
def test_options_of_transformers_are_refused_for_a_table_of_tokens(how, tmp_path):
    folder = make_static_checkpoint(tmp_path / "static")
    with pytest.raises(ValueError, match=f"{next(iter(how))}=.* a table of token embeddings"):
        tuned(TEXTS, ZERO_ONE, model=folder, **how)
    tuned(TEXTS, ZERO_ONE, model=folder)
    with pytest.raises(ValueError, match="with train_embeddings=False leaves nothing to train"):
        tuned(TEXTS, ZERO_ONE, model=folder, train_embeddings=False)


def test_margins_out_of_reach_are_counted():
    y = np.linspace(-1.1, 3.1, N)
    with pytest.warns(FineTuningWarning, match="7 of 24 margins in y are beyond 2"):
        tuned(TABLE, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuned(TABLE, y / 2)
        embedder = SentenceEmbedder(TINY, normalize=False, fine_tuner=FineTuner(epochs=1))
        embedder.fit(TABLE, y)
        tuned(TABLE, y, estimator=CrossEncoderScorer, model=TINY_SCORER)


# --- Counts


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.SentenceEmbeddingWarning")
def test_cells_that_are_cut_are_counted_as_predictions_count_them():
    long = "ferry " * 30
    X = pd.DataFrame({"a": [long, long, *TEXTS[2:]], "b": [*TEXTS[:-1], long]})
    embedder = SentenceEmbedder(
        TINY, max_length=20, fine_tuner=FineTuner(epochs=1, batch_size=8, random_state=0)
    )
    with pytest.warns(TruncationWarning, match="^3 of 48 texts exceed the limit of 20 tokens"):
        embedder.fit(X)
    with pytest.warns(TruncationWarning, match="^3 of 48 texts exceed the limit of 20 tokens"):
        embedder.transform(X)
    # A row with a missing text is not learnt from.
    X.loc[0, "b"] = None
    with pytest.warns(TruncationWarning, match="^2 of 46 texts"):
        embedder.fit(X)


def test_pairs_that_are_cut_are_counted_without_the_negatives_that_are_drawn():
    X = pd.DataFrame({"a": ["ferry " * 30, *TEXTS[1:]], "b": TEXTS})
    tuner = FineTuner(epochs=1, batch_size=8, random_state=0)
    scorer = CrossEncoderScorer(TINY_SCORER, max_length=40, fine_tuner=tuner)
    with pytest.warns(TruncationWarning, match="^1 of 24 pairs exceed the limit of 40 tokens"):
        scorer.fit(X)


def test_every_shape_of_scores_stays_what_it_was():
    assert first_shape(2, ZERO_ONE, kind=PAIR_REGRESSION) == DataFormat.BINARY
    assert first_shape(2, THREE, kind=PAIR_REGRESSION) == DataFormat.SCORES
    assert PAIR_REGRESSION.possible_formats(2, THREE, True, None)[0] == DataFormat.LISTS
