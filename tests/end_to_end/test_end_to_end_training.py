"""How SentenceClassifier and SentenceRegressor are trained: against plain torch, frozen, resumed."""

import signal
import subprocess
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from sklearn.base import clone
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.utils.estimator_checks import check_classifiers_train, check_regressors_train

from sk_sentemb import FineTuner, ImageEmbedder, SentenceClassifier, SentenceEmbedder, load_encoder
from sk_sentemb._training.optimizer import build_optimizer
from sk_sentemb.cache import DiskCache, MemoryCache
from sk_sentemb.encoder import TrainableEncoder
from sk_sentemb.end_to_end.fusion import FUSIONS
from sk_sentemb.exceptions import FineTuningWarning, TruncationWarning
from tests.end_to_end.test_end_to_end import (
    LABELS,
    NUMBERS,
    SEVERAL,
    SHOP,
    TEXTS,
    TwoLayers,
    classifier,
    outputs,
    regressor,
)
from tests.helpers.tiny_models import NO_DROPOUT, TINY, assert_same_rows
from tests.test_embedder_progress import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")


def weights(fitted):
    """Return all that was learnt."""
    encoder = fitted.encoder_.backbone.model.state_dict()
    return {**encoder, **{f"head.{k}": v for k, v in fitted.head_.state_dict().items()}}


def changed(fitted, before=TINY):
    old = load_encoder(before).backbone.model.state_dict()
    now = fitted.encoder_.backbone.model.state_dict()
    return {name for name in old if not torch.equal(old[name], now[name])}


def assert_equal_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


# Against plain torch


def in_plain_torch(vectors_of, parameters, target, loss_of, *, n_out, n_in=32, epochs=2, norm=1.0):
    """The training loop that one writes by hand: its losses, and the layer that it trains."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = torch.nn.Linear(n_in, n_out)
    groups = [{"params": parameters, "lr": 1e-3}, {"params": layer.parameters(), "lr": 1e-2}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.0)
    scheduler = transformers.get_linear_schedule_with_warmup(optimizer, 1, 3 * epochs)
    losses = []
    for epoch in range(epochs):
        draw = np.random.default_rng([0, epoch])
        for rows in np.split(draw.permutation(24), 3):
            optimizer.zero_grad()
            loss = loss_of(layer(vectors_of(rows)), target[rows])
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*parameters, *layer.parameters()], norm)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
    return losses, layer


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


X = np.array([f"{text} {'and again ' * (i % 5)}" for i, text in enumerate(TEXTS)], dtype=object)
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
def test_a_training_is_that_of_a_plain_padded_loop(case, padded):
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
def test_a_head_alone_is_trained_as_a_layer_on_an_embedders_vectors(case):
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


@pytest.mark.parametrize("fusion", FUSIONS)
def test_other_ways_to_the_same_step(fusion):
    """In parts, over several batches, and in activations computed again."""

    def one_step(**how):
        made = classifier(
            NO_DROPOUT, dropout=0.0, fusion=fusion, how={"max_steps": 1, "batch_size": 24, **how}
        )
        return made.fit(SHOP, LABELS)

    whole = one_step()
    for how in (
        {"forward_batch_size": 5},
        {"batch_size": 8, "gradient_accumulation": 3},
        {"gradient_checkpointing": True},
    ):
        other = one_step(**how)
        assert other.history_["loss"].tolist() == pytest.approx(whole.history_["loss"].tolist())
        np.testing.assert_allclose(other.transform(SHOP), whole.transform(SHOP), atol=1e-4)


def test_other_number_formats():
    exact = classifier(NO_DROPOUT, dropout=0.0).fit(SHOP, LABELS)
    rough = classifier(NO_DROPOUT, dropout=0.0, how={"dtype": "bfloat16"}).fit(SHOP, LABELS)
    np.testing.assert_allclose(rough.history_["loss"], exact.history_["loss"], rtol=0.05)
    small = classifier(TINY, dtype="bfloat16").fit(SHOP, LABELS)
    assert small.encoder_.dtype == "bfloat16"
    assert small.transform(SHOP).dtype == np.float32
    assert np.isfinite(small.predict_proba(SHOP)).all()


# A frozen encoder


def test_a_frozen_encoder_embeds_each_text_once_over_ten_epochs():
    cache = MemoryCache()
    X = pd.DataFrame({"a": TEXTS * 2, "b": TEXTS[::-1] * 2, "n": np.arange(48)})
    made = classifier(cache=cache, how={"trainable": "head", "epochs": 10})
    fitted = made.fit(X, np.tile(LABELS, 2))
    assert len(fitted.history_) == 60
    assert cache.statistics().misses == len(TEXTS)
    fitted.predict(X)
    fitted.embedder_.transform(TEXTS)
    assert cache.statistics().misses == len(TEXTS)
    assert fitted.encoder_ is load_encoder(TINY)
    assert fitted.fingerprint_ == load_encoder(TINY).fingerprint
    assert fitted.history_["loss"].iloc[-6:].mean() < fitted.history_["loss"].iloc[:6].mean()


def test_a_frozen_encoder_does_not_run_while_the_head_learns():
    n_runs = []
    table = load_encoder(TINY).backbone.model.embeddings.word_embeddings
    hook = table.register_forward_hook(lambda _, ids, __: n_runs.append(ids[0].numel()))
    made = classifier(cache=None, how={"trainable": "head", "validation_fraction": 0.25})
    made.fit(TEXTS, LABELS)
    once = sum(n_runs)
    n_runs.clear()
    load_encoder(TINY).encode(TEXTS)
    hook.remove()
    assert once == sum(n_runs)


GRID = {"fusion": list(FUSIONS), "hidden_layer_sizes": [(), (8,)]}


def search(made, **how):
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    return GridSearchCV(made, GRID, cv=folds, scoring="neg_log_loss", error_score="raise", **how)


def test_a_search_embeds_each_text_once_for_all_folds_and_candidates():
    cache = MemoryCache()
    made = classifier(cache=cache, how={"trainable": "head"})
    found = search(made).fit(SHOP, LABELS)
    assert cache.statistics().misses == len(TEXTS)
    assert len(set(found.cv_results_["mean_test_score"])) == 6
    assert found.best_estimator_.encoder_ is load_encoder(TINY)
    np.testing.assert_array_equal(found.predict(SHOP), found.best_estimator_.predict(SHOP))


def test_a_search_in_two_processes_gives_the_same_and_shares_a_cache_on_disk(tmp_path):
    how = {"trainable": "head"}
    two = search(classifier(cache=tmp_path, how=how), n_jobs=2).fit(SHOP, LABELS)
    assert DiskCache(tmp_path).statistics().n_embedded == len(TEXTS)
    one = search(classifier(cache=None, how=how), n_jobs=1).fit(SHOP, LABELS)
    np.testing.assert_allclose(
        two.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"], rtol=1e-5
    )
    assert two.best_params_ == one.best_params_
    assert_same_rows(two.predict_proba(SHOP), one.predict_proba(SHOP))


def test_a_trained_encoder_is_searched_as_well():
    grid = {"fine_tuner__learning_rate": [1e-5, 1e-2], "fusion": ["concat", "gated"]}
    made = GridSearchCV(classifier(), grid, cv=2, scoring="neg_log_loss", error_score="raise")
    scores = made.fit(SHOP, LABELS).cv_results_["mean_test_score"]
    assert len(set(scores)) == 4


def test_a_frozen_encoder_reads_whole_texts_in_windows():
    """What is learnt from is what predictions see, and nothing is cut, so nothing is said."""
    long = [
        f"{text} {WORD * 30}" for text, WORD in zip(TEXTS, ["ferry ", "market "] * 12, strict=True)
    ]
    how = {"max_length": 12, "long_text": "chunk"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = classifier(dropout=0.0, how={"trainable": "head"}, **how).fit(long, LABELS)
    vectors = SentenceEmbedder(TINY, **how).fit_transform(long)
    assert_same_rows(fitted.transform(long), vectors)
    _, layer = in_plain_torch(
        lambda rows: torch.tensor(vectors)[rows],
        [],
        torch.arange(24) % 2,
        torch.nn.functional.cross_entropy,
        n_out=2,
    )
    by_hand = layer(torch.tensor(vectors)).detach().numpy()
    np.testing.assert_allclose(
        fitted.predict_proba(long)[:, 0], softmax_of(by_hand)[:, 0], atol=1e-5
    )
    with pytest.warns(TruncationWarning, match="exceed the limit of"):
        classifier(how={"max_steps": 1}, **how).fit(long, LABELS)


def softmax_of(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# Some of the encoder, or some of the time


class Seen:
    """A metric that keeps the vectors after each epoch."""

    def __init__(self):
        self.vectors = []

    def __call__(self, columns, y):
        self.vectors.append(columns[0].copy())
        return 1.0


def test_an_encoder_begins_to_learn_when_it_is_thawed():
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
def test_an_encoder_that_is_never_thawed_is_said(how):
    with pytest.warns(FineTuningWarning, match="the encoder is not trained"):
        fitted = classifier(how=how).fit(SHOP, LABELS)
    assert changed(fitted) == set()


def test_each_layer_has_the_rate_of_the_one_above_it_times_the_decay():
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


def test_what_is_above_the_layers_has_the_whole_rate():
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


def test_what_is_trainable():
    last = changed(classifier(how={"trainable": 1}).fit(SHOP, LABELS))
    assert last
    assert all("layer.1." in name for name in last)
    assert changed(classifier(how={"trainable": "modules"}).fit(SHOP, LABELS)) == set()
    without = changed(classifier(how={"train_embeddings": False}).fit(SHOP, LABELS))
    assert without
    assert not any("word_embeddings" in name for name in without)
    with pytest.raises(ValueError, match="the model has 2 layers"):
        classifier(how={"trainable": 3}).fit(SHOP, LABELS)


def test_low_rank_matrices_are_trained_with_a_head():
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
def test_an_embedder_has_no_head_to_train_alone(loss, how, message):
    with pytest.raises(ValueError, match=message):
        SentenceEmbedder(TINY, fine_tuner=FineTuner(loss, **how)).fit(TEXTS, LABELS)


def test_an_embedders_soft_max_may_be_learnt_first():
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
def test_bad_parameters_are_named(how, message):
    with pytest.raises(ValueError, match=message):
        classifier(how=how).fit(SHOP, LABELS)


def test_bad_validation_data_of_labels_and_numbers_are_named():
    with pytest.raises(ValueError, match=r"validation_data\[1\] has 2 labels, but y has 3"):
        classifier(how={"validation_data": (SHOP, SEVERAL[:, :2])}).fit(SHOP, SEVERAL)
    with pytest.raises(ValueError, match=r"validation_data\[1\] has 3 columns, but the head has 1"):
        regressor(how={"validation_data": (SHOP, SEVERAL)}).fit(SHOP, NUMBERS)
    holes = SHOP.assign(review=[None, *TEXTS[1:]])
    with pytest.raises(ValueError, match="row 0, column 0 of X has no text"):
        classifier(missing="error", how={"validation_data": (holes, LABELS)}).fit(SHOP, LABELS)


# Validation


@pytest.mark.parametrize("head", [None, TwoLayers])
@pytest.mark.parametrize(
    ("make", "y"),
    [(classifier, LABELS), (classifier, SEVERAL), (regressor, NUMBERS)],
    ids=["classes", "labels", "numbers"],
)
def test_early_stopping_takes_the_best_weights_of_encoder_and_head(make, y, head):
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


def test_validation_changes_nothing_of_a_training():
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


def test_a_fraction_to_validate_on_need_not_have_all_classes():
    """A tenth of few rows of many classes cannot."""
    y = np.repeat(np.arange(12), 2)
    fitted = classifier(how={"early_stopping": True}).fit(TEXTS, y)
    assert fitted.history_["validation_loss"].notna().sum() == 2
    assert fitted.classes_.tolist() == list(range(12))


# Over again, and on from there


@pytest.mark.parametrize("how", [{}, {"trainable": "head"}, {"freeze_epochs": 1}], ids=str)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_one_random_state_gives_one_model(fusion, how):
    how = how | {"validation_fraction": 0.25}
    made = classifier(fusion=fusion, hidden_layer_sizes=(8,), dropout=0.3, how=how)
    one = clone(made).fit(SHOP, LABELS)
    torch.manual_seed(4)
    assert_equal_weights(one, clone(made).fit(SHOP, LABELS))
    other = clone(made).set_params(fine_tuner__random_state=1).fit(SHOP, LABELS)
    assert np.abs(other.decision_function(SHOP) - one.decision_function(SHOP)).max() > 1e-4


class StopError(Exception):
    pass


class Breaks:
    """A metric that raises in its n-th call."""

    def __init__(self, n):
        self.n = n

    def __call__(self, columns, y):
        self.n -= 1
        if self.n == 0:
            raise StopError
        return float(columns[0].mean())


CASES = {
    "frame": (lambda **how: classifier(dropout=0.3, how=how), SHOP, LABELS),
    "texts": (lambda **how: classifier(how=how), TEXTS, SEVERAL),
    "numbers": (lambda **how: regressor(fusion="attention", how=how), SHOP, NUMBERS),
    "head alone": (lambda **how: classifier(how=how | {"trainable": "head"}), SHOP, LABELS),
    "thawed": (lambda **how: classifier(how=how | {"freeze_epochs": 2}), SHOP, LABELS),
    "head with counts": (lambda **how: classifier(head=TwoLayers, how=how), SHOP, LABELS),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_training_that_was_broken_off_goes_on_to_the_same_end(case, tmp_path):
    make, X, y = case
    how = {"epochs": 4, "validation_fraction": 0.25, "checkpoint_steps": 2}
    whole = make(**how, metric=Breaks(0)).fit(X, y)
    kept = {**how, "checkpoint_dir": tmp_path}
    with pytest.raises(StopError):
        make(**kept, metric=Breaks(3)).fit(X, y)
    assert list(tmp_path.rglob("training.pt"))
    metric = Breaks(0)
    resumed = make(**kept, metric=metric).fit(X, y)
    assert metric.n == -2  # of four epochs, two were left
    assert_equal_weights(resumed, whole)
    assert len(resumed.history_) == len(whole.history_)
    assert not list(tmp_path.rglob("*.pt"))


def test_other_heads_and_other_tables_are_other_trainings(tmp_path):
    """None of them goes on with what another one left behind."""
    how = {"validation_fraction": 0.25, "checkpoint_dir": tmp_path, "trainable": "head"}
    with pytest.raises(StopError):
        classifier(how={**how, "metric": Breaks(2)}).fit(SHOP, LABELS)
    others = [
        (classifier, {"dropout": 0.2}, SHOP, LABELS),
        (classifier, {"fusion": "gated"}, SHOP, LABELS),
        (classifier, {"head": torch.nn.Linear}, SHOP, LABELS),
        (classifier, {}, SHOP.assign(price=SHOP["price"] ** 2), LABELS),
        (classifier, {}, SHOP, (LABELS == "sea").astype(int)[:, None] * [1, 1]),
        (regressor, {}, SHOP, LABELS == "sea"),
    ]
    for make, params, X, y in others:
        kept = make(**params, how={**how, "metric": Breaks(0)}).fit(X, y)
        plain = make(**params, how={**how, "checkpoint_dir": None, "metric": Breaks(0)}).fit(X, y)
        assert_equal_weights(kept, plain)
    assert len(list(tmp_path.rglob("training.pt"))) == 1


def test_a_training_that_went_on_is_not_taken_for_the_first_one(tmp_path):
    how = {"validation_fraction": 0.25, "checkpoint_dir": tmp_path, "trainable": "head"}
    made = classifier(warm_start=True, how={**how, "metric": Breaks(0)})
    first = clone(made).fit(SHOP, LABELS)
    again = clone(made).fit(SHOP, LABELS)
    again.fine_tuner.metric.n = 2
    with pytest.raises(StopError):
        again.fit(SHOP, LABELS)
    assert_equal_weights(clone(made).fit(SHOP, LABELS), first)


KILLED = """
import os, signal, sys
import numpy as np, pandas as pd, torch
from sk_sentemb import FineTuner, SentenceClassifier
torch.set_num_threads(1)
model, folder, kill_after = sys.argv[1], sys.argv[2], int(sys.argv[3])
X = pd.DataFrame({"text": [f"ferry {i} of day {i % 5}" for i in range(24)], "n": range(24)})
X.loc[3] = None
calls = 0
def metric(columns, y):
    global calls
    calls += 1
    if calls == kill_after:
        os.kill(os.getpid(), signal.SIGKILL)
    return float(np.mean(columns[0]))
def head(n_inputs, n_outputs):
    return torch.nn.Sequential(torch.nn.BatchNorm1d(n_inputs), torch.nn.Linear(n_inputs, n_outputs))
tuner = FineTuner(
    epochs=4, batch_size=8, random_state=0, metric=metric, validation_fraction=0.25, freeze_epochs=1,
    checkpoint_dir=None if folder == "none" else folder, checkpoint_steps=2,
)
fitted = SentenceClassifier(model, text="text", numeric="n", head=head, fine_tuner=tuner)
fitted.fit(X, [i % 3 for i in range(24)])
print(fitted.fingerprint_, fitted.decision_function(X).tobytes().hex())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_and_resumed_is_as_if_it_had_not_been(tmp_path, run_python):
    whole = run_python(KILLED, TINY, "none", 0).stdout
    with pytest.raises(subprocess.CalledProcessError):
        run_python(KILLED, TINY, tmp_path, 3)
    assert list(tmp_path.rglob("training.pt"))
    assert run_python(KILLED, TINY, tmp_path, 0).stdout == whole
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("how", [{}, {"trainable": "head"}], ids=str)
def test_a_warm_start_goes_on(how):
    how = how | {"epochs": 6, "schedule": "constant_with_warmup", "warmup_ratio": 0.0}
    warm = classifier(dropout=0.0, warm_start=True, how=how).fit(SHOP, LABELS)
    before = warm.history_["loss"].iloc[-3:].mean()
    head, n_names = warm.head_, len(warm.feature_names_in_)
    warm.fit(SHOP, LABELS)
    assert warm.history_["loss"].iloc[-3:].mean() < before
    assert warm.head_ is not head
    assert len(warm.feature_names_in_) == n_names
    assert not warm.head_.training


def test_dropout_goes_on_in_a_warm_start():
    """A head that learns nothing has the same mean loss in any order, but for its dropout."""

    def mean_loss(dropout, seed):
        how = {"trainable": "head", "epochs": 1}
        warm = classifier(dropout=dropout, warm_start=True, how=how).fit(SHOP, LABELS)
        warm.set_params(fine_tuner__head_learning_rate=1e-12, fine_tuner__random_state=seed)
        return warm.fit(SHOP, LABELS).history_["loss"].mean()

    assert mean_loss(0.0, 1) == pytest.approx(mean_loss(0.0, 2), rel=1e-5)
    assert abs(mean_loss(0.5, 1) - mean_loss(0.5, 2)) > 1e-3


def test_a_warm_start_keeps_units_and_tables():
    warm = regressor(warm_start=True, how={"trainable": "head", "epochs": 20}).fit(SHOP, NUMBERS)
    before = warm.predict(SHOP)
    warm.set_params(fine_tuner__head_learning_rate=1e-12).fit(SHOP[:12], NUMBERS[:12] + 100)
    np.testing.assert_allclose(warm.predict(SHOP), before, rtol=1e-5)


@pytest.mark.parametrize(
    ("X", "y", "params", "message"),
    [
        (TEXTS, LABELS, {}, "1 features, but SentenceClassifier is expecting 5"),
        (SHOP.drop(columns="size"), LABELS, {}, "feature names should match"),
        (SHOP, [*"abc"] * 8, {}, r"classes \['a', 'b', 'c'\], but with warm_start"),
        (SHOP, SEVERAL, {}, r"labels \[0, 1, 2\], but with warm_start they must be those of"),
        (
            SHOP,
            LABELS,
            {"hidden_layer_sizes": (8,)},
            "With warm_start, training continues with the head",
        ),
        (SHOP, LABELS, {"fusion": "gated"}, "With warm_start, training continues with the head"),
        (SHOP[:0], [], {}, "with warm_start"),
        (SHOP, LABELS, {"categorical": []}, "where categorical was auto, but now it is"),
        (SHOP, LABELS, {"image_embedder": ImageEmbedder()}, "image_embedder was None"),
    ],
)
def test_a_warm_start_with_something_else_is_named(X, y, params, message):
    warm = classifier(warm_start=True, how={"trainable": "head"}).fit(SHOP, LABELS)
    with pytest.raises(ValueError, match=message):
        warm.set_params(**params).fit(X, y)


def test_a_warm_start_with_other_outputs_is_named():
    warm = regressor(warm_start=True, how={"trainable": "head"}).fit(SHOP, NUMBERS)
    with pytest.raises(ValueError, match="y has 2 columns, but the head has 1 outputs"):
        warm.fit(SHOP, np.c_[NUMBERS, NUMBERS])
    labels = classifier(warm_start=True, how={"trainable": "head"}).fit(SHOP, SEVERAL)
    with pytest.raises(ValueError, match="those of the last fit"):
        labels.fit(SHOP, SEVERAL[:, :2])


def test_interruption_leaves_a_fitted_classifier():
    calls = iter([None, None, KeyboardInterrupt])

    def metric(columns, y):
        if (error := next(calls)) is not None:
            raise error
        return 1.0

    how = {"epochs": 9, "metric": metric, "validation_fraction": 0.25}
    with pytest.warns(FineTuningWarning, match="interrupted after 9 of 27 steps"):
        fitted = classifier(how=how).fit(SHOP, LABELS)
    assert fitted.predict(SHOP).shape == (24,)
    # The weights are those of the best epoch, the first one, of encoder and head.
    assert_equal_weights(fitted, best_of_first_epoch(how))


def best_of_first_epoch(how):
    scores = iter([1.0, *[0.0] * 9])
    stopped = how | {"metric": lambda columns, y: next(scores), "early_stopping": True}
    return classifier(how=stopped).fit(SHOP, LABELS)


# Callbacks


@pytest.fixture
def callback():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")


def test_epochs_and_steps_are_tasks(callback):
    recorder = Recorder()
    classifier().set_callbacks(recorder).fit(SHOP, LABELS)
    name = "SentenceClassifier"
    assert recorder.n_tasks() == {(name, "fit"): 1, (name, "epoch"): 2, (name, "step"): 6}


@pytest.mark.parametrize(
    ("made", "y"),
    [
        (lambda: classifier(dropout=0.5), LABELS),
        (lambda: classifier(how={"trainable": "head"}), SEVERAL),
        (lambda: regressor(), NUMBERS),
    ],
    ids=["classes", "frozen", "numbers"],
)
def test_a_scoring_monitor_scores_encoder_and_head_after_each_epoch(callback, made, y):
    seen = []

    def score(fitted, X, y):
        seen.append((fitted.fingerprint_, outputs(fitted, X), fitted.transform(X)))
        return fitted.score(X, y)

    monitor = callback.ScoringMonitor(scoring={"score": score})
    fitted = made().set_callbacks(monitor).fit(SHOP, y)
    scores = monitor.get_logs().data_as_pandas
    assert (scores["task_name"] == "epoch").sum() == 2
    (_, first, _), (fingerprint, last, fused) = seen
    assert np.abs(first - last).max() > 1e-4
    np.testing.assert_array_equal(last, outputs(fitted, SHOP))
    np.testing.assert_array_equal(fused, fitted.transform(SHOP))
    assert fingerprint == fitted.fingerprint_
    # Looking on changes nothing.
    assert_equal_weights(fitted, made().fit(SHOP, y))


def test_a_callback_can_stop_after_an_epoch(callback):
    class Stops(Recorder):
        def on_fit_task_end(self, estimator, context):
            super().on_fit_task_end(estimator, context)
            return context.task_name == "epoch"

    fitted = classifier().set_callbacks(Stops()).fit(SHOP, LABELS)
    assert len(fitted.history_) == 3
    assert fitted.predict(SHOP).shape == (24,)


def test_bars(capfd):
    made = classifier(verbose=1, how={"trainable": "head", "verbose": 1})
    made.fit(TEXTS, LABELS).predict(TEXTS)
    out, err = capfd.readouterr()
    assert out == ""
    assert "fine-tuning: 100%" in err
    assert "embedding: 100%" in err
    assert "24/24" in err


# scikit-learn's checks that two steps are too few for


@pytest.mark.slow
def test_numbers_as_texts_are_learnt_well_enough_for_scikit_learn():
    def tuner(epochs):
        return FineTuner(epochs=epochs, learning_rate=1e-3, random_state=0)

    made = SentenceClassifier(TINY, fine_tuner=tuner(10))
    check_classifiers_train("SentenceClassifier", made)
    check_regressors_train("SentenceRegressor", regressor(TINY).set_params(fine_tuner=tuner(30)))


@pytest.mark.slow
def test_a_real_model_learns_better_than_its_frozen_vectors():
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
