"""What a FineTuner does by default: where weights start, how far they go, which loss they follow."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceClassifier, SentenceEmbedder, SentenceRegressor
from sk_sentemb.datasets import load_banking77_sample
from sk_sentemb.encoder import load_encoder
from sk_sentemb.exceptions import TruncationWarning
from tests.end_to_end.data import LABELS, NUMBERS, SHOP, TEXTS
from tests.end_to_end.test_end_to_end_resuming import Breaks, StopError
from tests.helpers.tiny_models import NO_DROPOUT, TINY, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")

PAIRS = np.array(list(zip(TEXTS, TEXTS[::-1], strict=True)), dtype=object)
MANY = np.repeat([*"abcdefghijkl"], 2)


def embedder(model=TINY, **how):
    return SentenceEmbedder(model, fine_tuner=FineTuner(random_state=0, max_steps=4, **how))


def state(encoder):
    return encoder.backbone.model.state_dict()


def ratios(fitted, plain):
    """Return how far the weights of one training went towards those of another."""
    start = state(load_encoder(TINY))
    found = []
    for name, end in state(plain.encoder_).items():
        way = end - start[name]
        if way.abs().max() > 1e-4:
            went = state(fitted.encoder_)[name] - start[name]
            found.append(float((went * way).sum() / way.square().sum()))
    return np.array(found)


@pytest.mark.parametrize(
    ("X", "y", "ratio"),
    [
        (TEXTS, LABELS, 12 / 18),
        (TEXTS, MANY, 2 / 8),
        (PAIRS, (NUMBERS + 5) / 45, 24 / 280),
        (PAIRS, None, 24 / 1024),
        (TEXTS, None, 24 / 1024),
        (TEXTS, SentenceEmbedder(TINY).fit_transform(TEXTS)[:, ::-1].copy(), 1.0),
    ],
    ids=["two classes", "many classes", "similarities", "pairs", "texts", "vectors"],
)
def test_weights_go_as_far_as_the_rows_can_tell(X, y, ratio):
    fitted, plain = embedder().fit(X, y), embedder(interpolation=1.0).fit(X, y)
    found = ratios(fitted, plain)
    assert len(found) > 4
    np.testing.assert_allclose(found, ratio, rtol=1e-2)


def test_a_number_of_epochs_is_a_plain_training_unless_asked_otherwise():
    plain = embedder(epochs=1).fit(TEXTS, LABELS)
    whole = embedder(epochs=1, interpolation=1.0).fit(TEXTS, LABELS)
    assert_same_rows(plain.transform(TEXTS), whole.transform(TEXTS))
    half = embedder(epochs=1, interpolation=0.5).fit(TEXTS, LABELS)
    np.testing.assert_allclose(ratios(half, plain), 0.5, rtol=1e-2)


@pytest.mark.parametrize(
    ("y", "loss"), [(LABELS, "cosine_pairs"), (MANY, "supervised_contrastive")]
)
def test_the_loss_follows_the_number_of_classes(y, loss):
    found, named = embedder().fit(TEXTS, y), embedder(loss=loss).fit(TEXTS, y)
    assert found.history_["loss"].tolist() == named.history_["loss"].tolist()


@pytest.mark.parametrize(
    ("make", "y"), [(SentenceClassifier, LABELS), (SentenceRegressor, NUMBERS)]
)
def test_encoder_and_head_start_from_the_solution_for_the_frozen_encoder(make, y):
    """With a learning rate of nearly nothing, they end there."""
    frozen = make(TINY, fine_tuner=FineTuner(trainable="head")).fit(SHOP, y)
    how = {"learning_rate": 1e-12, "head_learning_rate": 1e-12, "random_state": 0}
    fitted = make(TINY, fine_tuner=FineTuner(**how)).fit(SHOP, y)
    np.testing.assert_allclose(fitted.predict(SHOP) == y, frozen.predict(SHOP) == y)
    for name, parameter in fitted.head_.state_dict().items():
        np.testing.assert_allclose(parameter, frozen.head_.state_dict()[name], atol=1e-6)


def test_other_heads_start_at_random_and_are_kept_as_trained():
    how = {"random_state": 0, "max_steps": 3}
    made = SentenceClassifier(TINY, hidden_layer_sizes=(4,), fine_tuner=FineTuner(**how))
    fitted = made.fit(SHOP, LABELS)
    made.set_params(fine_tuner__interpolation=1.0)
    whole = made.fit(SHOP, LABELS)
    assert_same_rows(fitted.decision_function(SHOP), whole.decision_function(SHOP))


def test_validation_sees_the_weights_that_are_kept():
    seen = []

    def metric(columns, y):
        seen.append(columns[0])
        return float(len(seen))

    how = {"metric": metric, "validation_data": (TEXTS, LABELS)}
    fitted = embedder(NO_DROPOUT, **how).fit(TEXTS, LABELS)
    assert_same_rows(fitted.transform(TEXTS), seen[-1])
    # Looking on does not disturb the training.
    alone = embedder(NO_DROPOUT).fit(TEXTS, LABELS)
    assert_same_rows(fitted.transform(TEXTS), alone.transform(TEXTS))


def test_a_training_that_was_broken_off_ends_with_the_same_weights(tmp_path):
    how = {"validation_fraction": 0.25, "batch_size": 8, "random_state": 0}

    def fit(metric, **kept):
        tuner = FineTuner(metric=metric, **how, **kept)
        return SentenceClassifier(TINY, fine_tuner=tuner).fit(SHOP, LABELS)

    whole = fit(Breaks(0))
    with pytest.raises(StopError):
        fit(Breaks(3), checkpoint_dir=tmp_path)
    resumed = fit(Breaks(0), checkpoint_dir=tmp_path)
    for name, weight in state(whole.encoder_).items():
        assert torch.equal(weight, state(resumed.encoder_)[name])
    np.testing.assert_array_equal(whole.decision_function(SHOP), resumed.decision_function(SHOP))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_few_texts_of_each_class_do_better_than_with_the_frozen_model(seed):
    X, y = load_banking77_sample(return_X_y=True, as_frame=False)
    order = np.random.default_rng(seed).permutation(len(y))
    few = np.concatenate([order[y[order] == label][:8] for label in range(10)])
    others = np.setdiff1d(order, few)
    found = {}
    tuner = FineTuner(random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        for name, fine_tuner in (("frozen", None), ("tuned", tuner)):
            embed = SentenceEmbedder("all-MiniLM-L6-v2", max_length=48, fine_tuner=fine_tuner)
            model = make_pipeline(embed, LogisticRegression(max_iter=1000)).fit(X[few], y[few])
            found[name] = model.score(X[others], y[others])
        end_to_end = SentenceClassifier("all-MiniLM-L6-v2", max_length=48, fine_tuner=tuner)
        found["classifier"] = end_to_end.fit(X[few], y[few]).score(X[others], y[others])
    assert found["tuned"] >= found["frozen"] - 0.005
    assert found["classifier"] >= found["frozen"] - 0.005
