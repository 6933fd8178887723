"""Heads, fusions and the outputs of `transform`."""

import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from scipy.special import softmax
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_sentemb import SentenceEmbedder
from sk_sentemb.end_to_end.fusion import FUSIONS
from sk_sentemb.end_to_end.head import ACTIVATIONS
from sk_sentemb.exceptions import TruncationWarning
from tests.end_to_end.data import (
    HEAD_ALONE,
    LABELS,
    NUMBERS,
    SHOP,
    TEXTS,
    TwoLayers,
    classifier,
    regressor,
)
from tests.helpers.tiny_models import NO_DROPOUT, PROMPTED, TINY, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def two_layers(n_inputs, n_outputs):
    return TwoLayers(n_inputs, n_outputs)


HEADS = [
    *((fusion, sizes, "relu") for fusion in FUSIONS for sizes in ((), [8, 4])),
    *(("concat", np.array([8]), activation) for activation in ACTIVATIONS),
]


@pytest.mark.parametrize(("fusion", "sizes", "activation"), HEADS, ids=str)
def test_head_trains_and_predicts_without_dropout(fusion, sizes, activation):
    made = classifier(
        fusion=fusion, hidden_layer_sizes=sizes, activation=activation, dropout=0.5, how=HEAD_ALONE
    )
    fitted = made.fit(SHOP, LABELS)
    losses = fitted.history_["loss"]
    assert losses[-6:].mean() < losses[:6].mean()
    assert not any(module.training for module in fitted.head_.modules())
    assert not any(p.requires_grad for p in fitted.head_.parameters())
    np.testing.assert_array_equal(fitted.decision_function(SHOP), fitted.decision_function(SHOP))
    linear = [m for m in fitted.head_.layers if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in linear] == [*sizes, 2]
    assert fitted.transform(SHOP).shape == (24, linear[0].in_features)
    assert fitted.transform(SHOP).shape[1] == (43 if fusion == "concat" else 32)


def test_outputs_are_layers_of_fused():
    fitted = classifier(hidden_layer_sizes=(4,), activation="tanh").fit(SHOP, [*"abc"] * 8)
    first, last = (m for m in fitted.head_.layers if isinstance(m, torch.nn.Linear))
    W, b, V, c = (p.numpy() for m in (first, last) for p in (m.weight, m.bias))
    by_hand = np.tanh(fitted.transform(SHOP) @ W.T + b) @ V.T + c
    np.testing.assert_allclose(fitted.decision_function(SHOP), by_hand, atol=1e-5)


def linear(module, x):
    return x @ module.weight.numpy().T + module.bias.numpy()


@pytest.fixture(scope="module")
def parts():
    """The texts' vectors, and the table, of a model that has not been trained."""
    fitted = classifier(how={"trainable": "head"}).fit(SHOP, LABELS)
    return fitted.transform(SHOP)[:, :32], fitted.transform(SHOP)[:, 32:]


def test_gated_fusion_weighs_parts(parts):
    fused = classifier(fusion="gated", how={"trainable": "head"}).fit(SHOP, LABELS)
    gate = fused.head_.fusion
    projected = np.stack(
        [np.tanh(linear(p, x)) for p, x in zip(gate.projections, parts, strict=True)]
    )
    weights = softmax(linear(gate.gates, np.hstack(parts)).reshape(24, 2, 32), axis=1)
    by_hand = (weights.transpose(1, 0, 2) * projected).sum(axis=0)
    np.testing.assert_allclose(fused.transform(SHOP), by_hand, atol=1e-5)


def test_attention_fusion_attends_to_parts(parts):
    fused = classifier(fusion="attention", how={"trainable": "head"}).fit(SHOP, LABELS)
    found = fused.head_.fusion
    tokens = np.stack([linear(p, x) for p, x in zip(found.projections, parts, strict=True)], axis=1)
    W, b = found.attention.in_proj_weight.numpy(), found.attention.in_proj_bias.numpy()
    heads = {"q": found.query[0].numpy(), "k": tokens, "v": tokens}
    for i, (name, x) in enumerate(heads.items()):
        rows = slice(32 * i, 32 * (i + 1))
        heads[name] = (x @ W[rows].T + b[rows]).reshape(*x.shape[:-1], 8, 4)
    attention = softmax(np.einsum("qhd,nkhd->nhqk", heads["q"], heads["k"]) / 2, axis=-1)
    read = np.einsum("nhqk,nkhd->nqhd", attention, heads["v"]).reshape(24, 32)
    by_hand = linear(found.attention.out_proj, read) + tokens.mean(axis=1)
    by_hand = (by_hand - by_hand.mean(1, keepdims=True)) / np.sqrt(by_hand.var(1) + 1e-5)[:, None]
    by_hand = by_hand * found.norm.weight.numpy() + found.norm.bias.numpy()
    np.testing.assert_allclose(fused.transform(SHOP), by_hand, atol=1e-4)


@pytest.mark.parametrize(
    "head", [TwoLayers, two_layers, partial(TwoLayers, width=3), torch.nn.Linear], ids=repr
)
def test_custom_head(head):
    fitted = classifier(head=head, fusion="gated").fit(SHOP, LABELS)
    assert isinstance(fitted.head_.layers, (TwoLayers, torch.nn.Linear))
    assert not fitted.head_.layers.training
    np.testing.assert_array_equal(fitted.predict(SHOP), fitted.predict(SHOP))
    again = pickle.loads(pickle.dumps(fitted))
    assert_same_rows(again.decision_function(SHOP), fitted.decision_function(SHOP))
    assert clone(fitted).head.__class__ is head.__class__
    alone = clone(fitted).fit(SHOP, LABELS)
    np.testing.assert_array_equal(alone.decision_function(SHOP), fitted.decision_function(SHOP))
    assert regressor(head=head).fit(SHOP, np.c_[NUMBERS, NUMBERS]).predict(SHOP).shape == (24, 2)


@pytest.mark.parametrize(
    ("head", "error", "message"),
    [
        (torch.nn.Linear(32, 2), TypeError, "head is the module Linear.*Pass a callable"),
        (lambda n_inputs, n_outputs: None, TypeError, r"head\(32, 2\) returned None"),
        (lambda n_in, n_out: torch.nn.Linear(n_in, n_out + 1), ValueError, r"shape \(8, 3\)"),
        (lambda n_in, n_out: torch.nn.Linear(n_in, 1), ValueError, r"expected \(8, 2\)"),
        (lambda n_in, n_out: torch.nn.Flatten(0), ValueError, "2 numbers for each row"),
        ("linear", ValueError, "'head' parameter"),
    ],
)
def test_bad_custom_head_raises(head, error, message):
    with pytest.raises(error, match=message):
        classifier(head=head).fit(TEXTS, LABELS)


def test_custom_head_ignores_parameters_with_warning():
    with pytest.warns(UserWarning, match="hidden_layer_sizes and dropout have no effect") as said:
        classifier(head=TwoLayers, hidden_layer_sizes=(8,), dropout=0.2).fit(TEXTS, LABELS)
    assert said[0].filename == __file__


def test_transform_feature_names_and_frames(of_shop):
    names = of_shop.get_feature_names_out()
    assert names[0] == "sentenceclassifier0"
    assert len(names) == of_shop.transform(SHOP).shape[1]
    X = SHOP.set_axis(range(10, 34))
    for kind, frame in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        shown = classifier().set_output(transform=kind).fit(X, LABELS)
        rows = shown.transform(X)
        assert type(rows) is frame
        assert list(rows.columns) == list(names)
        np.testing.assert_array_equal(rows.to_numpy(), of_shop.transform(SHOP))
        assert type(shown.predict(X)) is np.ndarray
        if kind == "pandas":
            assert list(rows.index) == list(X.index)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_global_set_output_changes_nothing(kind, of_shop):
    with sklearn.config_context(transform_output=kind), warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = classifier().fit(SHOP, LABELS)
        np.testing.assert_array_equal(
            fitted.decision_function(SHOP), of_shop.decision_function(SHOP)
        )
    np.testing.assert_array_equal(fitted.transform(SHOP), of_shop.transform(SHOP))


def test_transform_in_pipeline(of_shop):
    model = make_pipeline(classifier(), LogisticRegression()).fit(SHOP, LABELS)
    np.testing.assert_array_equal(model[0].transform(SHOP), of_shop.transform(SHOP))
    assert model.predict(SHOP).shape == (24,)
    np.testing.assert_array_equal(classifier().fit_transform(SHOP, LABELS), of_shop.transform(SHOP))


def test_embedder_gives_embeddings_of_head(of_texts, of_shop):
    for fitted, X in ((of_texts, TEXTS), (of_shop, SHOP)):
        embedder = fitted.embedder_
        assert isinstance(embedder, SentenceEmbedder)
        assert embedder.encoder_ is fitted.encoder_
        assert embedder.fingerprint_ == fitted.fingerprint_
        np.testing.assert_array_equal(embedder.transform(TEXTS), fitted.transform(X)[:, :32])
    assert np.abs(of_texts.embedder_.transform([None]) - of_texts.transform([None])).max() == 0
    assert (
        np.abs(
            of_texts.embedder_.transform(TEXTS) - SentenceEmbedder(TINY).fit_transform(TEXTS)
        ).max()
        > 0.01
    )
    model = make_pipeline(of_texts.embedder_, LogisticRegression())
    searched = GridSearchCV(model, {"logisticregression__C": [1, 10]}, cv=3).fit(TEXTS, LABELS)
    assert searched.best_estimator_[0].encoder_ is of_texts.encoder_
    again = pickle.loads(pickle.dumps(of_texts.embedder_))
    assert_same_rows(again.transform(TEXTS), of_texts.transform(TEXTS))


@pytest.mark.parametrize(
    "params",
    [{"prompt_name": "query"}, {"prompt": "the pier: "}, {"max_length": 6}, {"missing": "error"}],
    ids=str,
)
def test_embedder_has_parameters_of_training(params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        fitted = classifier(PROMPTED, **params).fit(TEXTS, LABELS)
        plain = classifier(PROMPTED).fit(TEXTS, LABELS)
        rows = fitted.embedder_.transform(TEXTS)
        assert_same_rows(rows, fitted.transform(TEXTS))
        assert fitted.embedder_.missing == fitted.missing
        if "missing" not in params:
            assert np.abs(rows - plain.transform(TEXTS)).max() > 1e-3


@pytest.mark.parametrize("fusion", FUSIONS)
def test_forward_batches_and_gradient_checkpointing_give_same_step(fusion):
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
