"""Embedders of saved indexes: by name, as a checkpoint, or the user's own; never another model."""

import json
import shutil

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceEmbedder, load_encoder, release_models
from sk_sentemb.cache import DiskCache, MemoryCache
from sk_sentemb.exceptions import ModelChangedError
from sk_sentemb.retrieval.stored_embedder import load_embedder, save_embedder
from tests.helpers.tiny_models import OTHER, PROMPTED, TINY

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["the ferry leaves", "a market opens", ""]
TUNER = FineTuner(epochs=1, batch_size=4, random_state=0)
TRAINING = [f"the {'ferry' if i % 2 else 'market'} opens at {i}" for i in range(16)]


def restore(embedder, folder, **options):
    """Save and load as if in another process, which does not have the model."""
    stored = json.loads(json.dumps(save_embedder(embedder, folder)))
    release_models()
    return load_embedder(stored, folder, **options)


def assert_same_embedder(found, expected):
    np.testing.assert_array_equal(found.transform(TEXTS), expected.transform(TEXTS))
    assert found.fingerprint_ == expected.fingerprint_
    assert found.embedding_dim_ == expected.embedding_dim_
    assert found.encoder_.prompts == expected.encoder_.prompts
    assert found.encoder_.resolve_max_length(None) == expected.encoder_.resolve_max_length(None)


PARAMETERS = [
    {},
    {"pooling": "max", "normalize": True},
    {"pooling": ["cls", "mean"]},
    {"prompt": "note: "},
    {"prompt_name": "query"},
    {"truncate_dim": np.int64(8), "max_length": 16},
    {"long_text": "chunk", "max_length": 16, "missing": "empty", "batch_tokens": 100},
    {"dtype": "bfloat16", "device": "cpu"},
    {"cache": None},
]


@pytest.mark.parametrize("params", PARAMETERS, ids=str)
def test_an_embedder_by_name_keeps_its_parameters(tmp_path, params):
    embedder = SentenceEmbedder(PROMPTED, **params).fit(TEXTS)
    found = restore(embedder, tmp_path)
    assert_same_embedder(found, embedder)
    assert not list(tmp_path.iterdir())
    assert found.get_params() == embedder.get_params() | {"model": str(PROMPTED)}


def test_a_relative_name_leads_to_the_model_from_another_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(TINY.parent)
    embedder = SentenceEmbedder(TINY.name).fit(TEXTS)
    monkeypatch.chdir(tmp_path)
    assert_same_embedder(restore(embedder, tmp_path / "embedder"), embedder)


@pytest.mark.parametrize("params", PARAMETERS[:-2], ids=str)
def test_a_fine_tuned_embedder_is_saved_as_a_checkpoint(tmp_path, params):
    embedder = SentenceEmbedder(PROMPTED, fine_tuner=TUNER, **params)
    embedder.fit(TRAINING, [0, 1] * 8)
    found = restore(embedder, tmp_path)
    assert_same_embedder(found, embedder)
    other = SentenceEmbedder(PROMPTED, **params).fit(TEXTS)
    assert np.abs(found.transform(TEXTS) - other.transform(TEXTS)).max() > 1e-6
    assert found.get_params()["fine_tuner"] is None
    # It is an ordinary checkpoint, and weights that no folder has to keep.
    assert SentenceEmbedder(tmp_path).fit(TEXTS).embedding_dim_
    shutil.rmtree(tmp_path)
    assert_same_embedder(found, embedder)
    again = restore(found, tmp_path)
    assert_same_embedder(again, embedder)


def test_a_fine_tuned_embedder_of_pairs_embeds_single_texts(tmp_path):
    pairs = [*zip(TRAINING, [f"{text} again" for text in TRAINING], strict=True)]
    embedder = SentenceEmbedder(TINY, fine_tuner=TUNER).fit(pairs)
    assert_same_embedder(restore(embedder, tmp_path), embedder)


def test_an_encoder_keeps_its_settings(tmp_path):
    encoder = load_encoder(PROMPTED).with_pooling(pooling="cls", normalize=True)
    encoder = encoder.replace(truncate_dim=8, max_length=16, default_prompt="note: ")
    embedder = SentenceEmbedder(encoder).fit(TEXTS)
    assert_same_embedder(restore(embedder, tmp_path), embedder)


def test_weights_are_saved_on_request(tmp_path):
    model = shutil.copytree(TINY, tmp_path / "model")
    embedder = SentenceEmbedder(model, store_weights_in_pickle=True).fit(TEXTS)
    stored = save_embedder(embedder, tmp_path / "embedder")
    shutil.rmtree(model)
    assert_same_embedder(load_embedder(stored, tmp_path / "embedder"), embedder)


def test_a_frozen_embedder_stays_frozen(tmp_path):
    embedder = SentenceEmbedder(TINY, fine_tuner=TUNER).fit(TRAINING, [0, 1] * 8)
    found = restore(FrozenEstimator(embedder), tmp_path)
    assert isinstance(found, FrozenEstimator)
    assert_same_embedder(found.estimator, embedder)


def test_caches_are_saved_by_folder(tmp_path):
    for cache, expected in [
        (DiskCache(tmp_path / "cache"), str(tmp_path / "cache")),
        (tmp_path / "cache", str(tmp_path / "cache")),
        (MemoryCache(), "memory"),
        (np.bool_(False), False),
    ]:
        embedder = SentenceEmbedder(TINY, cache=cache).fit(TEXTS)
        assert restore(embedder, tmp_path / "embedder").cache == expected


def test_a_changed_model_is_refused(tmp_path):
    model = shutil.copytree(TINY, tmp_path / "model")
    stored = save_embedder(SentenceEmbedder(model).fit(TEXTS), tmp_path / "embedder")
    shutil.rmtree(model)
    with pytest.raises(OSError, match="model"):
        load_embedder(stored, tmp_path / "embedder")
    shutil.copytree(OTHER, model)
    with pytest.raises(ModelChangedError, match="have changed"):
        load_embedder(stored, tmp_path / "embedder")
    with pytest.raises(ModelChangedError, match="whose fingerprint is"):
        load_embedder(stored, tmp_path / "embedder", SentenceEmbedder(model))
    assert load_embedder(stored, tmp_path / "embedder", SentenceEmbedder(TINY)).fingerprint_


def test_a_damaged_checkpoint_is_refused(tmp_path):
    embedder = SentenceEmbedder(TINY, fine_tuner=TUNER).fit(TRAINING, [0, 1] * 8)
    stored = save_embedder(embedder, tmp_path)
    assert "config.json" in stored["files"]
    stored["files"].append("../../outside")
    with pytest.raises((ValueError, OSError)):
        load_embedder(stored, tmp_path)


def test_another_transformer_has_to_be_passed(tmp_path):
    pipeline = make_pipeline(SentenceEmbedder(TINY), PCA(2)).fit(TRAINING)
    stored = save_embedder(pipeline, tmp_path)
    with pytest.raises(ValueError, match=r"type sklearn.pipeline.Pipeline, .* load\(folder, emb"):
        load_embedder(stored, tmp_path)
    found = load_embedder(stored, tmp_path, pipeline)
    np.testing.assert_array_equal(found.transform(TEXTS), pipeline.transform(TEXTS))


def test_an_embedder_with_other_settings_is_refused(tmp_path):
    stored = save_embedder(SentenceEmbedder(TINY).fit(TEXTS), tmp_path)
    for params, name in [
        ({"pooling": "max"}, "modules"),
        ({"max_length": 16}, "max_length"),
        ({"truncate_dim": 8}, "embedding_dim"),
        ({"long_text": "chunk"}, "long_text"),
    ]:
        with pytest.raises(ModelChangedError, match=f"whose {name} is"):
            load_embedder(stored, tmp_path, SentenceEmbedder(TINY, **params))
    with pytest.raises(ModelChangedError, match="is of type sklearn"):
        load_embedder(stored, tmp_path, PCA())
