"""What a pickle or a skops file holds, who may be trusted with it, and what comes back."""

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import sk_sentemb
from sk_sentemb import (
    CrossEncoderClassifier,
    CrossEncoderScorer,
    FineTuner,
    ImageEmbedder,
    SentenceClassifier,
    SentenceEmbedder,
    SentenceRegressor,
    release_models,
)
from sk_sentemb.cache import MemoryCache
from sk_sentemb.encoder import load_encoder
from tests.helpers.checkpoints import BACKBONES, make_checkpoint
from tests.helpers.tiny_models import (
    NLI,
    OTHER,
    TINY,
    TINY_NLI,
    TINY_SCORER,
    assert_same_outputs,
    outputs_of,
)
from tests.helpers.vision_checkpoints import VISION

sio = pytest.importorskip("skops.io")

TEXTS = [f"the {'ferry' if i % 2 else 'market'} opens at {i}" for i in range(16)]
LABELS = np.array(["sea", "land"] * 8)
SCORES = np.linspace(0, 1, 16)
PAIRS = [(a, b) for a, b in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)]
TABLE = pd.DataFrame(
    {
        "note": TEXTS,
        "size": ["small", "large"] * 8,
        "price": np.arange(16) * 1.5,
        "text": TEXTS[::-1],
    }
)
TUNER = FineTuner(epochs=1, batch_size=8, random_state=0)
TRUSTED_TUNER = "sk_sentemb._training.fine_tuner.FineTuner"


def make_head(n_inputs, n_outputs):
    """Build a head with state of its own: BatchNorm counts batches."""
    return torch.nn.Sequential(
        torch.nn.Linear(n_inputs, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, n_outputs)
    )


TUNED = {
    "SentenceEmbedder": (SentenceEmbedder(str(TINY), fine_tuner=TUNER), TEXTS, LABELS),
    "SentenceClassifier": (SentenceClassifier(str(TINY), fine_tuner=TUNER), TEXTS, LABELS),
    "SentenceRegressor": (SentenceRegressor(str(TINY), fine_tuner=TUNER), TEXTS, SCORES),
    "CrossEncoderScorer": (CrossEncoderScorer(str(TINY_SCORER), fine_tuner=TUNER), PAIRS, SCORES),
    "CrossEncoderClassifier": (
        CrossEncoderClassifier(str(TINY_NLI), fine_tuner=TUNER),
        PAIRS,
        [NLI[i % 3] for i in range(16)],
    ),
}
HEADS = {
    "hidden layers": {"hidden_layer_sizes": (6, 5), "activation": "gelu"},
    "head only": {"fine_tuner": clone(TUNER).set_params(trainable="head")},
    "a table, gated": {"fusion": "gated"},
    "a table, attention": {"fusion": "attention"},
    "of the user": {"head": make_head},
    "torch.nn.Linear": {"head": torch.nn.Linear},
}


def through_skops(estimator, trusted=None):
    dumped = sio.dumps(estimator)
    untrusted = sio.get_untrusted_types(data=dumped)
    assert trusted is None or untrusted == trusted
    release_models()
    return sio.loads(dumped, trusted=untrusted)


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


def assert_same(again, fitted, X):
    assert_same_outputs(outputs_of(again, X), outputs_of(fitted, X))
    if hasattr(fitted, "history_"):
        pd.testing.assert_frame_equal(again.history_, fitted.history_)
    assert set(again.__getstate__()) == set(fitted.__getstate__())


# What was trained


def test_every_estimator_that_can_be_tuned_is_here():
    public = {name: getattr(sk_sentemb, name) for name in sk_sentemb.__all__}
    tuned = {
        name
        for name, value in public.items()
        if inspect.isclass(value) and "fine_tuner" in inspect.signature(value).parameters
    }
    assert tuned == set(TUNED)


@pytest.mark.parametrize("name", TUNED)
def test_skops_writes_what_was_trained_and_trusts_two_classes(name):
    estimator, X, y = TUNED[name]
    fitted = clone(estimator).fit(X, y)
    path = f"{type(fitted).__module__}.{name}"
    again = through_skops(fitted, trusted=sorted([path, TRUSTED_TUNER]))
    assert_same(again, fitted, X)
    assert_same(through_pickle(fitted), fitted, X)


@pytest.mark.parametrize("name", TUNED)
def test_what_was_loaded_is_saved_and_trained_again(name):
    estimator, X, y = TUNED[name]
    again = through_skops(clone(estimator).set_params(warm_start=True).fit(X, y))
    assert_same(through_skops(again), again, X)
    before = outputs_of(again, X)
    assert len(again.fit(X, y).history_) > 0
    changed = outputs_of(again, X)
    assert not all(np.array_equal(changed[name], rows) for name, rows in before.items())


@pytest.mark.parametrize("make", [SentenceClassifier, SentenceRegressor])
@pytest.mark.parametrize("how", HEADS)
def test_heads_come_back(how, make):
    X = TABLE if "table" in how else TEXTS
    estimator = make(str(TINY), **{"fine_tuner": TUNER, **HEADS[how]})
    fitted = estimator.fit(X, LABELS if make is SentenceClassifier else SCORES)
    state = torch.random.get_rng_state()
    assert_same(through_skops(fitted), fitted, X)
    again = through_pickle(fitted)
    assert_same(again, fitted, X)
    assert not any(p.requires_grad for p in again.head_.parameters())
    assert not again.head_.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_head_that_its_function_makes_in_another_way_is_an_error():
    sizes = iter([4, 5])

    def make(n_inputs, n_outputs):
        size = next(sizes)
        return torch.nn.Sequential(
            torch.nn.Linear(n_inputs, size), torch.nn.Linear(size, n_outputs)
        )

    fitted = SentenceClassifier(str(TINY), fine_tuner=TUNER, head=make).fit(TEXTS, LABELS)
    state = fitted.__getstate__()
    with pytest.raises(ValueError, match="builds a module that differs from the trained one"):
        SentenceClassifier.__new__(SentenceClassifier).__setstate__(state)


# Names of files


def state_of(estimator):
    return estimator.__getstate__()["encoder_"]


def load_state(estimator, encoder_state):
    state = estimator.__getstate__() | {"encoder_": encoder_state}
    type(estimator).__new__(type(estimator)).__setstate__(state)


CARRIED = {
    "texts": lambda folder: SentenceEmbedder(TINY, store_weights_in_pickle=True).fit(TEXTS),
    "pairs": lambda folder: CrossEncoderScorer(TINY_SCORER, store_weights_in_pickle=True).fit(
        PAIRS
    ),
    "images": lambda folder: ImageEmbedder(
        VISION["clip"](folder / "clip"), store_weights_in_pickle=True
    ).fit([np.zeros((8, 8, 3), np.uint8)]),
}
BAD_NAMES = [
    "../{victim}",
    "/{victim}",
    "1_Pooling/../../{victim}",
    "1_Pooling/1_Pooling/config.json",
    "../config.json",
    "folder/config.json",
    "..\\config.json",
    "C:config.json",
    "tokenizer/../../{victim}",
    "tokenizer\x00.json",
    "config.json/",
    "",
    ".",
    "..",
    "sitecustomize.py",
    ".config.json",
    "pytorch_model.bin",
]


@pytest.mark.parametrize("kind", CARRIED)
def test_a_state_with_a_name_of_another_file_writes_nothing(kind, tmp_path, monkeypatch):
    fitted = CARRIED[kind](tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)
    victim = tmp_path / "victim.json"
    carried = state_of(fitted)
    for pattern in [*BAD_NAMES, str(victim)]:
        name = pattern.replace("{victim}", victim.name)
        files = {name: b"owned", **carried["files"]}
        with pytest.raises(ValueError, match="is not the name of a file of a saved model"):
            load_state(fitted, carried | {"files": files})
    with pytest.raises(ValueError, match="is not the name of a file of a saved model"):
        load_state(fitted, carried | {"files": {1: b"owned", **carried["files"]}})
    assert not victim.exists()
    assert not list(scratch.rglob("*"))
    load_state(fitted, carried)  # as it was, it loads


def test_a_skops_file_writes_no_file_elsewhere(tmp_path):
    victim = tmp_path / "victim.sh"

    class Attacker(SentenceEmbedder):
        def __getstate__(self):
            state = super().__getstate__()
            state["encoder_"]["files"][str(victim)] = b"echo owned\n"
            return state

    Attacker.__module__, Attacker.__qualname__ = SentenceEmbedder.__module__, "SentenceEmbedder"
    Attacker.__name__ = "SentenceEmbedder"
    fitted = SentenceEmbedder(str(TINY), store_weights_in_pickle=True).fit(TEXTS)
    fitted.__class__ = Attacker
    dumped = sio.dumps(fitted)
    with pytest.raises(ValueError, match="is not the name of a file of a saved model"):
        sio.loads(dumped, trusted=sio.get_untrusted_types(data=dumped))
    assert not victim.exists()


def test_a_state_sets_no_other_attribute_of_the_encoder():
    fitted = SentenceEmbedder(TINY, store_weights_in_pickle=True).fit(TEXTS)
    state = state_of(fitted)
    state["settings"] = state["settings"] | {"fingerprint": "0" * 64, "shared_model": 1}
    loaded = SentenceEmbedder.__new__(SentenceEmbedder)
    loaded.__setstate__(fitted.__getstate__() | {"encoder_": state})
    assert loaded.encoder_.fingerprint == fitted.fingerprint_
    assert loaded.encoder_.shared_model is None


def test_other_weights_under_the_same_fingerprint_are_another_model():
    first = SentenceEmbedder(TINY, store_weights_in_pickle=True, cache=None).fit(TEXTS)
    second = SentenceEmbedder(OTHER, store_weights_in_pickle=True, cache=None).fit(TEXTS)
    state = state_of(second) | {"fingerprint": first.fingerprint_}
    honest = through_pickle(first)
    loaded = SentenceEmbedder.__new__(SentenceEmbedder)
    loaded.__setstate__(second.__getstate__() | {"encoder_": state})
    np.testing.assert_array_equal(honest.transform(TEXTS), first.transform(TEXTS))
    np.testing.assert_array_equal(loaded.transform(TEXTS), second.transform(TEXTS))


def test_every_architecture_writes_names_that_are_known(tmp_path):
    for backbone in BACKBONES:
        folder = make_checkpoint(tmp_path / backbone, backbone, dense={"out_features": 8})
        through_pickle(SentenceEmbedder(load_encoder(folder), store_weights_in_pickle=True))


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_carried_weights_leave_no_embeddings_for_the_model_they_claim_to_be(on_disk, tmp_path):
    texts = ["the ferry passed the pier", "Nobody remembers the storm?"]
    cache = tmp_path if on_disk else MemoryCache()
    claimed = SentenceEmbedder(make_checkpoint(tmp_path / "a", seed=1), cache=None).fit(texts)
    other = SentenceEmbedder(
        make_checkpoint(tmp_path / "b", seed=2), cache=cache, store_weights_in_pickle=True
    ).fit(texts)
    state = other.__getstate__()
    state["encoder_"]["fingerprint"] = claimed.fingerprint_
    loaded = SentenceEmbedder()
    loaded.__setstate__(state)
    for again in (loaded, pickle.loads(pickle.dumps(loaded))):
        again.set_params(cache=cache)
        np.testing.assert_array_equal(again.transform(texts), other.transform(texts))
    rewrapped = SentenceEmbedder(pickle.loads(pickle.dumps(loaded.encoder_)), cache=cache)
    np.testing.assert_array_equal(rewrapped.fit_transform(texts), other.transform(texts))
    found = SentenceEmbedder(claimed.model, cache=cache).fit_transform(texts)
    np.testing.assert_array_equal(found, claimed.transform(texts))


def test_carried_weights_that_are_those_of_a_folder_share_its_embeddings(tmp_path):
    folder, texts = tmp_path / "model", ["a", "b"]
    SentenceEmbedder(TINY).fit(texts).save_pretrained(folder)
    cache = MemoryCache()
    embedder = SentenceEmbedder(folder, cache=cache, store_weights_in_pickle=True).fit(texts)
    embedder.transform(texts)
    pickle.loads(pickle.dumps(embedder)).set_params(cache=cache).transform(texts)
    assert cache.statistics().n_embedded == 2


def test_what_was_trained_from_carried_weights_has_embeddings_of_its_own():
    texts, y = ["a", "b", "c", "d"] * 2, ["x", "y"] * 4
    first = SentenceEmbedder(TINY, store_weights_in_pickle=True).fit(texts)
    cache = MemoryCache()
    first = pickle.loads(pickle.dumps(first)).set_params(cache=cache)
    tuned = SentenceEmbedder(first.encoder_, cache=cache, fine_tuner=FineTuner(epochs=1))
    first.transform(texts)
    rows = tuned.fit(texts, y).transform(texts)
    np.testing.assert_array_equal(rows, tuned.set_params(cache=None).transform(texts))
    assert tuned.encoder_.encoding_params() != first.encoder_.encoding_params()
