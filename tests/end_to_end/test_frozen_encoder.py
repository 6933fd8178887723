"""Training of a head over a frozen encoder."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GridSearchCV

from sk_sentemb import SentenceEmbedder, load_encoder
from sk_sentemb.cache import DiskCache, MemoryCache
from sk_sentemb.exceptions import TruncationWarning
from tests.end_to_end.data import LABELS, SHOP, TEXTS, classifier, in_plain_torch, search
from tests.helpers.tiny_models import TINY, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def test_frozen_encoder_embeds_each_text_once():
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


def test_frozen_encoder_does_not_run_in_training():
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


def test_search_embeds_each_text_once():
    cache = MemoryCache()
    made = classifier(cache=cache, how={"trainable": "head"})
    found = search(made).fit(SHOP, LABELS)
    assert cache.statistics().misses == len(TEXTS)
    assert len(set(found.cv_results_["mean_test_score"])) == 6
    assert found.best_estimator_.encoder_ is load_encoder(TINY)
    np.testing.assert_array_equal(found.predict(SHOP), found.best_estimator_.predict(SHOP))


def test_search_in_two_processes_shares_disk_cache(tmp_path):
    how = {"trainable": "head"}
    two = search(classifier(cache=tmp_path, how=how), n_jobs=2).fit(SHOP, LABELS)
    assert DiskCache(tmp_path).statistics().n_embedded == len(TEXTS)
    one = search(classifier(cache=None, how=how), n_jobs=1).fit(SHOP, LABELS)
    np.testing.assert_allclose(
        two.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"], rtol=1e-5
    )
    assert two.best_params_ == one.best_params_
    assert_same_rows(two.predict_proba(SHOP), one.predict_proba(SHOP))


def test_search_over_trained_encoder():
    grid = {"fine_tuner__learning_rate": [1e-5, 1e-2], "fusion": ["concat", "gated"]}
    made = GridSearchCV(classifier(), grid, cv=2, scoring="neg_log_loss", error_score="raise")
    scores = made.fit(SHOP, LABELS).cv_results_["mean_test_score"]
    assert len(set(scores)) == 4


def test_frozen_encoder_chunks_long_texts():
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
