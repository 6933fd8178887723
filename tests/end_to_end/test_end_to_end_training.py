"""Training of encoder and head: steps, learning rates and validation."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.utils.estimator_checks import check_classifiers_train, check_regressors_train

from sk_sentemb import FineTuner, SentenceClassifier, SentenceEmbedder, load_encoder
from sk_sentemb._training.optimizer import build_optimizer
from sk_sentemb.encoder import TrainableEncoder
from sk_sentemb.exceptions import FineTuningWarning, TruncationWarning
from tests.end_to_end.data import (
    LABELS,
    NUMBERS,
    SEVERAL,
    SHOP,
    TEXTS,
    TwoLayers,
    X,
    assert_equal_weights,
    changed,
    classifier,
    in_plain_torch,
    outputs,
    regressor,
    weights,
)
from tests.helpers.tiny_models import NO_DROPOUT, TINY, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def padded():
    """The same model as transformers runs it: mean pooling over padded batches, length one."""
    model = transformers.AutoModel.from_pretrained(NO_DROPOUT).train()
    tokenizer = transformers.AutoTokenizer.from_pretrained(NO_DROPOUT)

    def vectors_of(texts):
        tokens = tokenizer(list(texts), padding=True, return_tensors="pt")
        mask = tokens["attention_mask"][..., None]
        hidden = model(**tokens).last_hidden_state
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)

    return model, vectors_of


LOSSES = {
    "classes": (
        classifier,
        np.array([*"abc"] * 8),
        torch.arange(24) % 3,
        torch.nn.functional.cross_entropy,
        3,
    ),
    "labels": (
        classifier,
        SEVERAL,
        torch.tensor(SEVERAL).float(),
        torch.nn.functional.binary_cross_entropy_with_logits,
        3,
    ),
    "numbers": (
        regressor,
        NUMBERS,
        torch.tensor((NUMBERS - NUMBERS.mean()) / NUMBERS.std()).float()[:, None],
        torch.nn.functional.mse_loss,
        1,
    ),
}


@pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES)
def test_training_equals_plain_padded_loop(case, padded):
    make, y, target, loss_of, n_out = case
    fitted = make(NO_DROPOUT, dropout=0.0).fit(X, y)
    model, vectors_of = padded
    parameters = [p for n, p in model.named_parameters() if not n.startswith("pooler")]
    losses, layer = in_plain_torch(
        lambda rows: vectors_of(X[rows]), parameters, target, loss_of, n_out=n_out
    )
    np.testing.assert_allclose(fitted.history_["loss"], losses, rtol=0, atol=1e-5)
    with torch.no_grad():
        by_hand = layer(vectors_of(X)).numpy()
    found = outputs(fitted, X).reshape(24, -1)
    if make is regressor:
        by_hand = by_hand * NUMBERS.std() + NUMBERS.mean()
    np.testing.assert_allclose(found, by_hand, rtol=0, atol=1e-4 * np.abs(by_hand).max())


@pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES)
def test_head_alone_equals_layer_on_embeddings(case):
    make, y, target, loss_of, n_out = case
    # With a table beside the texts.
    frame = pd.DataFrame({"text": X, "price": SHOP["price"]})
    fitted = make(TINY, dropout=0.0, text="text", how={"trainable": "head"}).fit(frame, y)
    price = (SHOP["price"] - SHOP["price"].mean()) / SHOP["price"].std(ddof=0)
    vectors = SentenceEmbedder(TINY).fit_transform(X)
    fused = torch.tensor(np.column_stack([vectors, price])).float()
    losses, layer = in_plain_torch(
        lambda rows: fused[rows], [], target, loss_of, n_out=n_out, n_in=33
    )
    np.testing.assert_allclose(fitted.history_["loss"], losses, rtol=0, atol=1e-5)
    with torch.no_grad():
        by_hand = layer(fused).numpy()
    if make is regressor:
        by_hand = by_hand * NUMBERS.std() + NUMBERS.mean()
    np.testing.assert_allclose(
        outputs(fitted, frame).reshape(24, -1), by_hand, rtol=1e-4, atol=1e-4
    )


def test_bfloat16_trains():
    exact = classifier(NO_DROPOUT, dropout=0.0).fit(SHOP, LABELS)
    rough = classifier(NO_DROPOUT, dropout=0.0, how={"dtype": "bfloat16"}).fit(SHOP, LABELS)
    np.testing.assert_allclose(rough.history_["loss"], exact.history_["loss"], rtol=0.05)
    small = classifier(TINY, dtype="bfloat16").fit(SHOP, LABELS)
    assert small.encoder_.dtype == "bfloat16"
    assert small.transform(SHOP).dtype == np.float32
    assert np.isfinite(small.predict_proba(SHOP)).all()


class Seen:
    """A metric that keeps the vectors after each epoch."""

    def __init__(self):
        self.vectors = []

    def __call__(self, columns, y):
        self.vectors.append(columns[0].copy())
        return 1.0


def test_freeze_epochs_unfreezes_encoder():
    seen = Seen()
    how = {"freeze_epochs": 2, "epochs": 4, "metric": seen, "validation_data": (SHOP, LABELS)}
    fitted = classifier(how=how).fit(SHOP, LABELS)
    before = SentenceEmbedder(TINY).fit_transform(TEXTS)
    first, second, third, fourth = seen.vectors
    np.testing.assert_array_equal(first, before)
    np.testing.assert_array_equal(second, before)
    assert np.abs(third - second).max() > 1e-3
    assert np.abs(fourth - third).max() > 1e-3
    assert_same_rows(fitted.embedder_.transform(TEXTS), fourth)
    assert changed(fitted)
    # Until then it is the training of the head alone.
    alone = classifier(how={"trainable": "head", "epochs": 4}).fit(SHOP, LABELS)
    np.testing.assert_allclose(fitted.history_["loss"][:6], alone.history_["loss"][:6], rtol=1e-6)
    assert np.abs(fitted.history_["loss"][6:] - alone.history_["loss"][6:]).max() > 1e-5


@pytest.mark.parametrize(
    "how", [{"freeze_epochs": 2}, {"freeze_epochs": 1, "max_steps": 3}], ids=str
)
def test_encoder_never_unfrozen_gives_warning(how):
    with pytest.warns(FineTuningWarning, match="the encoder is not trained"):
        fitted = classifier(how=how).fit(SHOP, LABELS)
    assert changed(fitted) == set()


def test_layer_decay_scales_learning_rates():
    """AdamW's first step is the learning rate, wherever there is a gradient."""
    how = {"max_steps": 1, "warmup_ratio": 0.0, "layer_decay": 0.5, "learning_rate": 1e-3}
    fitted = classifier(how=how).fit(SHOP, LABELS)
    before = load_encoder(TINY).backbone.model.state_dict()
    steps = {}
    for name, now in fitted.encoder_.backbone.model.state_dict().items():
        place = next((p for p in ("layer.1.", "layer.0.", "embeddings.") if p in name), None)
        if place and (moved := (now - before[name]).abs().max().item()):
            steps.setdefault(place, []).append(moved)
    expected = {"layer.1.": 1e-3, "layer.0.": 5e-4, "embeddings.": 2.5e-4}
    assert {place: round(max(moved), 6) for place, moved in steps.items()} == expected
    # Without a decay, all are alike.
    plain = classifier(how=how | {"layer_decay": 1.0}).fit(SHOP, LABELS)
    moved = plain.encoder_.backbone.model.state_dict()["embeddings.word_embeddings.weight"]
    assert (moved - before["embeddings.word_embeddings.weight"]).abs().max() == pytest.approx(
        1e-3, rel=1e-3
    )


def test_layer_decay_leaves_modules_above_layers():
    model = TrainableEncoder(load_encoder(TINY))
    head = torch.nn.Linear(2, 2)
    tuner = FineTuner(learning_rate=1.0, head_learning_rate=7.0, layer_decay=0.1, weight_decay=0.5)
    optimizer = build_optimizer(tuner, model, head)
    rate = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    names = dict(model.named_parameters())
    assert len(rate) == len(names) + 2
    for name, parameter in names.items():
        place = 0 if "layer.1." in name or "pooler" in name else 1 if "layer.0." in name else 2
        assert rate[id(parameter)] == pytest.approx(0.1**place), name
        assert decay[id(parameter)] == (0.5 if parameter.ndim > 1 else 0.0), name
    assert {rate[id(p)] for p in head.parameters()} == {7.0}
    assert optimizer.param_groups[0]["lr"] == 1.0  # which the history shows


def test_trainable_selects_weights():
    last = changed(classifier(how={"trainable": 1}).fit(SHOP, LABELS))
    assert last
    assert all("layer.1." in name for name in last)
    assert changed(classifier(how={"trainable": "modules"}).fit(SHOP, LABELS)) == set()
    without = changed(classifier(how={"train_embeddings": False}).fit(SHOP, LABELS))
    assert without
    assert not any("word_embeddings" in name for name in without)
    with pytest.raises(ValueError, match="the model has 2 layers"):
        classifier(how={"trainable": 3}).fit(SHOP, LABELS)


def test_lora_rank_trains_with_head():
    pytest.importorskip("peft")
    fitted = classifier(how={"lora_rank": 2, "freeze_epochs": 1, "layer_decay": 0.5}).fit(
        SHOP, LABELS
    )
    assert changed(fitted)
    assert all("layer." in name for name in changed(fitted))
    assert weights(fitted).keys() == weights(classifier().fit(SHOP, LABELS)).keys()


@pytest.mark.parametrize(
    ("loss", "how", "message"),
    [
        ("auto", {"trainable": "head"}, "trains nothing of a SentenceEmbedder"),
        ("softmax", {"trainable": "head"}, "trains nothing of a SentenceEmbedder"),
        ("auto", {"freeze_epochs": 1}, "leave nothing to train, because CosinePairsLoss"),
    ],
)
def test_trainable_head_of_embedder_raises(loss, how, message):
    with pytest.raises(ValueError, match=message):
        SentenceEmbedder(TINY, fine_tuner=FineTuner(loss, **how)).fit(TEXTS, LABELS)


def test_freeze_epochs_of_softmax_loss():
    tuner = FineTuner("softmax", freeze_epochs=1, epochs=2, random_state=0)
    assert changed(SentenceEmbedder(TINY, fine_tuner=tuner).fit(TEXTS, LABELS))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"loss": "softmax"}, "loss='softmax': estimators with a head use the loss"),
        ({"metric": "spearman", "validation_fraction": 0.2}, "requires text pairs"),
        ({"validation_data": (SHOP,)}, "validation_data has 1 items"),
        ({"validation_data": (SHOP, None)}, r"validation_data\[1\] is None"),
        ({"validation_data": (TEXTS, LABELS)}, "1 features, but SentenceClassifier is expecting 5"),
        ({"validation_data": (SHOP, LABELS[:3])}, "inconsistent numbers of samples"),
        (
            {"validation_data": (SHOP, ["air"] * 24)},
            r"y has the classes \['air'\], which the model",
        ),
        ({"validation_data": (SHOP[["review"]], LABELS)}, "feature names should match"),
        ({"freeze_epochs": -1}, "'freeze_epochs' parameter"),
        ({"layer_decay": 0.0}, "'layer_decay' parameter"),
        ({"trainable": "heads"}, "'trainable' parameter"),
    ],
)
def test_bad_fine_tuner_parameters_raise(how, message):
    with pytest.raises(ValueError, match=message):
        classifier(how=how).fit(SHOP, LABELS)


def test_bad_validation_data_raise():
    with pytest.raises(ValueError, match=r"validation_data\[1\] has 2 labels, but y has 3"):
        classifier(how={"validation_data": (SHOP, SEVERAL[:, :2])}).fit(SHOP, SEVERAL)
    with pytest.raises(ValueError, match=r"validation_data\[1\] has 3 columns, but the head has 1"):
        regressor(how={"validation_data": (SHOP, SEVERAL)}).fit(SHOP, NUMBERS)
    holes = SHOP.assign(review=[None, *TEXTS[1:]])
    with pytest.raises(ValueError, match="row 0, column 0 of X has no text"):
        classifier(missing="error", how={"validation_data": (holes, LABELS)}).fit(SHOP, LABELS)


@pytest.mark.parametrize("head", [None, TwoLayers])
@pytest.mark.parametrize(
    ("make", "y"),
    [(classifier, LABELS), (classifier, SEVERAL), (regressor, NUMBERS)],
    ids=["classes", "labels", "numbers"],
)
def test_early_stopping_restores_best_encoder_and_head(make, y, head):
    # The opposite of what is learnt, so that it gets worse soon.
    X, target = SHOP[:8], y[::-1][:8]
    how = {"epochs": 12, "learning_rate": 0.01, "head_learning_rate": 0.1}
    how |= {"early_stopping": True, "validation_data": (X, target)}
    fitted = make(head=head, how=how).fit(SHOP, y)
    losses = fitted.history_["validation_loss"].dropna()
    assert losses.iloc[-1] > losses.min() + 1e-3
    if make is regressor:
        found = mean_squared_error(target, fitted.predict(X)) / y.std() ** 2
    elif y.ndim == 2:
        proba = np.clip(fitted.predict_proba(X), 1e-7, 1 - 1e-7)
        found = -np.mean(np.where(target, np.log(proba), np.log(1 - proba)))
    else:
        found = log_loss(target, fitted.predict_proba(X))
    assert found == pytest.approx(losses.min(), rel=1e-3)


def test_validation_does_not_change_training():
    plain = classifier(dropout=0.5).fit(SHOP, LABELS)
    data = {"validation_data": (SHOP[:5], LABELS[:5])}
    validated = classifier(dropout=0.5, how=data).fit(SHOP, LABELS)
    assert_equal_weights(plain, validated)
    # And it has no dropout itself, so that it is the same each time.
    again = classifier(dropout=0.5, how=data).fit(SHOP, LABELS)
    columns = [fitted.history_["validation_loss"].dropna() for fitted in (validated, again)]
    assert columns[0].tolist() == columns[1].tolist()
    last = log_loss(LABELS[:5], validated.predict_proba(SHOP[:5]))
    assert columns[0].iloc[-1] == pytest.approx(last, rel=1e-4)


def test_validation_fraction_may_lack_classes():
    """A tenth of few rows of many classes cannot."""
    y = np.repeat(np.arange(12), 2)
    fitted = classifier(how={"early_stopping": True}).fit(TEXTS, y)
    assert fitted.history_["validation_loss"].notna().sum() == 2
    assert fitted.classes_.tolist() == list(range(12))


@pytest.mark.slow
def test_training_on_numbers_as_texts():
    def tuner(epochs):
        return FineTuner(epochs=epochs, learning_rate=1e-3, random_state=0)

    made = SentenceClassifier(TINY, fine_tuner=tuner(10))
    check_classifiers_train("SentenceClassifier", made)
    check_regressors_train("SentenceRegressor", regressor(TINY).set_params(fine_tuner=tuner(30)))


@pytest.mark.slow
def test_fine_tuned_minilm_beats_frozen():
    from sk_sentemb.datasets import load_banking77_sample

    X, y = load_banking77_sample(return_X_y=True, as_frame=False)
    learnt, held_out = np.arange(300), np.arange(300, 500)
    scores = {}
    for trainable in ("head", "all"):
        how = {"trainable": trainable, "epochs": 3, "random_state": 0}
        fitted = SentenceClassifier("all-MiniLM-L6-v2", max_length=48, fine_tuner=FineTuner(**how))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)
            scores[trainable] = fitted.fit(X[learnt], y[learnt]).score(X[held_out], y[held_out])
    assert scores["all"] > scores["head"]
