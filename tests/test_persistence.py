import copy
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
from contextlib import contextmanager

import joblib
import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline

from sk_sentemb import SentenceEmbedder, load_encoder, release_models
from sk_sentemb.exceptions import ModelChangedError, ModelNotFoundError
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.tiny_models import PROMPTED, TINY, assert_same_rows

TEXTS = [
    "the ferry passed the pier",
    "the pier passed the ferry",
    "Nobody remembers the storm?",
    "Harbour",
] * 6
TARGET = np.arange(len(TEXTS)) % 2

SETTINGS = {
    "pooling": ["cls", "max"],
    "normalize": True,
    "prompt": "Nobody: ",
    "max_length": 9,
}

# Weights that no other test has, so that nothing but a test's own folder leads to them.
_seeds = itertools.count(1000)


@pytest.fixture
def model(tmp_path):
    return make_checkpoint(tmp_path / "model", seed=next(_seeds))


def run_python(code, *arguments):
    """Run code where no model is loaded yet."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def without_weights(size):
    return size < 5_000


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def no_file_above(n_bytes):
    """Let writing fail in the middle, as on a full disk."""
    resource = pytest.importorskip("resource", reason="Windows has no limit on a file's size")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# Pickles that name the model


def test_a_pickle_by_reference_is_small_and_shares_the_model(model):
    embedder = SentenceEmbedder(model).fit(TEXTS)
    dumped = pickle.dumps(embedder)
    assert without_weights(len(dumped))
    assert pickle.loads(dumped).encoder_ is embedder.encoder_


def test_a_pickle_keeps_pooling_and_normalisation_without_a_second_model(model):
    embedder = SentenceEmbedder(model, pooling=["cls", "max"], normalize=False).fit(TEXTS)
    loaded = pickle.loads(pickle.dumps(embedder))
    assert loaded.encoder_.backbone is embedder.encoder_.backbone
    np.testing.assert_array_equal(loaded.transform(TEXTS), embedder.transform(TEXTS))


def test_a_model_that_has_moved_is_an_error_that_names_it(model, tmp_path):
    dumped = pickle.dumps(SentenceEmbedder(model).fit(TEXTS))
    model.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelNotFoundError, match=str(model)):
        pickle.loads(dumped)


def test_a_model_that_has_changed_is_an_error_that_names_both_fingerprints(model):
    embedder = SentenceEmbedder(model).fit(TEXTS)
    dumped = pickle.dumps(embedder)
    shutil.rmtree(model)
    make_checkpoint(model, seed=next(_seeds))
    changed = load_encoder(model).fingerprint
    message = f"have changed: its fingerprint is {changed}, expected {embedder.fingerprint_}"
    with pytest.raises(ModelChangedError, match=message):
        pickle.loads(dumped)


def test_a_changed_configuration_is_a_changed_model(model):
    dumped = pickle.dumps(SentenceEmbedder(model).fit(TEXTS))
    config = model / "1_Pooling" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"include_prompt": False}))
    with pytest.raises(ModelChangedError):
        pickle.loads(dumped)


def test_a_relative_path_leads_to_the_model_from_another_folder(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dumped = pickle.dumps(SentenceEmbedder("model").fit(TEXTS))
    monkeypatch.chdir(os.path.sep)
    assert pickle.loads(dumped).transform(TEXTS).shape == (len(TEXTS), 32)


def test_a_pickle_names_the_folder_that_was_asked_for(model, tmp_path):
    SentenceEmbedder(model).fit(TEXTS)
    same = shutil.copytree(model, tmp_path / "same")
    embedder = SentenceEmbedder(same).fit(TEXTS)
    shutil.rmtree(model)
    pickle.loads(pickle.dumps(embedder))


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy])
def test_a_copy_shares_the_model_and_needs_no_folder(make_copy, model):
    embedder = SentenceEmbedder(model).fit(TEXTS)
    shutil.rmtree(model)
    assert make_copy(embedder).encoder_ is embedder.encoder_


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("weights", [False, True])
def test_a_pickle_made_on_cuda_opens_here(weights, model):
    embedder = SentenceEmbedder(model, store_weights_in_pickle=weights).fit(TEXTS)
    state = embedder.__getstate__()
    state["encoder_"]["device"] = "cuda"
    loaded = SentenceEmbedder.__new__(SentenceEmbedder)
    with pytest.warns(
        UserWarning, match="pickled encoder was on 'cuda', which is not available; using 'cpu'"
    ):
        loaded.__setstate__(state)
    np.testing.assert_array_equal(loaded.transform(TEXTS), embedder.transform(TEXTS))


# Pickles that carry the model


def test_a_pickle_with_weights_needs_no_folder(model, tmp_path):
    settings = SETTINGS | {"long_text": "chunk"}
    embedder = SentenceEmbedder(model, store_weights_in_pickle=True, **settings).fit(TEXTS)
    joblib.dump(embedder, tmp_path / "embedder.joblib")
    np.save(tmp_path / "rows.npy", embedder.transform(TEXTS[:4]))
    shutil.rmtree(model)
    code = """
import sys, joblib, numpy as np
embedder = joblib.load(sys.argv[1])
rows = embedder.transform(sys.argv[3:])
print(np.abs(rows - np.load(sys.argv[2])).max(), embedder.fingerprint_)
"""
    files = [tmp_path / "embedder.joblib", tmp_path / "rows.npy"]
    difference, fingerprint = run_python(code, *files, *TEXTS[:4]).split()
    assert float(difference) < 1e-6
    assert fingerprint == embedder.fingerprint_


def test_a_pickle_with_weights_leaves_the_folder_s_model_as_it_is(model):
    expected = SentenceEmbedder(model).fit_transform(TEXTS)
    other = SentenceEmbedder(model, pooling="max", normalize=False, store_weights_in_pickle=True)
    dumped = pickle.dumps(other.fit(TEXTS))
    del other
    release_models()
    loaded = pickle.loads(dumped)
    assert loaded.encoder_.pooling == ("max",)
    np.testing.assert_array_equal(SentenceEmbedder(model).fit_transform(TEXTS), expected)


def test_a_pickle_by_reference_stays_small_after_one_with_weights(model):
    dumped = pickle.dumps(SentenceEmbedder(model, store_weights_in_pickle=True).fit(TEXTS))
    release_models()
    loaded = pickle.loads(dumped)
    assert_same_rows(loaded.transform(TEXTS), SentenceEmbedder(model).fit_transform(TEXTS))
    assert without_weights(len(pickle.dumps(SentenceEmbedder(model).fit(TEXTS))))


def test_a_pickle_with_weights_carries_an_encoder_that_is_a_parameter(model):
    embedder = SentenceEmbedder(load_encoder(model), store_weights_in_pickle=True).fit(TEXTS)
    dumped = pickle.dumps(embedder)
    shutil.rmtree(model)
    assert_same_rows(pickle.loads(dumped).transform(TEXTS), embedder.transform(TEXTS))


@pytest.mark.parametrize("how", ["pickle", "save_pretrained"])
def test_writing_weights_prints_nothing(how, model, tmp_path, capfd):
    embedder = SentenceEmbedder(model, store_weights_in_pickle=True).fit(TEXTS)
    capfd.readouterr()
    if how == "pickle":
        pickle.dumps(embedder)
    else:
        embedder.save_pretrained(tmp_path / "saved")
    assert "".join(capfd.readouterr()) == ""


# skops


@pytest.mark.parametrize("weights", [False, True])
def test_skops_needs_to_trust_the_embedder_alone(weights, model):
    sio = pytest.importorskip("skops.io")
    embedder = SentenceEmbedder(str(model), store_weights_in_pickle=weights).fit(TEXTS)
    dumped = sio.dumps(make_pipeline(embedder))
    trusted = ["sk_sentemb.embedder.SentenceEmbedder"]
    assert sio.get_untrusted_types(data=dumped) == trusted
    loaded = sio.loads(dumped, trusted=trusted)
    np.testing.assert_array_equal(loaded.transform(TEXTS), embedder.transform(TEXTS))


def test_skops_takes_an_encoder_that_is_a_parameter():
    sio = pytest.importorskip("skops.io")
    sio.dumps(SentenceEmbedder(load_encoder(TINY)).fit(TEXTS))


# save_pretrained


def test_sentence_transformers_loads_what_is_saved(tmp_path):
    st = pytest.importorskip("sentence_transformers")
    embedder = SentenceEmbedder(TINY, **SETTINGS).fit(TEXTS)
    with pytest.warns(UserWarning, match="exceed the limit of 9 tokens"):
        expected = embedder.transform(TEXTS)
    embedder.save_pretrained(tmp_path / "saved")
    peer = st.SentenceTransformer(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    assert_same_rows(peer.encode(TEXTS), expected)
    assert peer.max_seq_length == 9
    assert peer.prompts[peer.default_prompt_name] == SETTINGS["prompt"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        SETTINGS,
        {"truncate_dim": 5},
        {"prompt_name": "query", "truncate_dim": 5, "normalize": False},
        {"prompt": "", "pooling": "lasttoken"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.TruncationWarning")
def test_what_is_saved_is_loaded_with_equal_rows(settings, tmp_path):
    embedder = SentenceEmbedder(PROMPTED, **settings).fit(TEXTS)
    embedder.save_pretrained(tmp_path / "deep" / "saved")
    again = SentenceEmbedder(tmp_path / "deep" / "saved").fit(TEXTS)
    np.testing.assert_array_equal(again.transform(TEXTS), embedder.transform(TEXTS))


def test_saving_replaces_a_checkpoint_even_the_one_in_use(model):
    embedder = SentenceEmbedder(model, pooling="max").fit(TEXTS)
    embedder.save_pretrained(model)
    assert load_encoder(model).pooling == ("max",)
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_saving_over_something_else_is_an_error(tmp_path):
    embedder = SentenceEmbedder(TINY).fit(TEXTS)
    diary = tmp_path / "diary.txt"
    diary.write_text("dear diary")
    with pytest.raises(FileExistsError, match="which do not belong to a checkpoint"):
        embedder.save_pretrained(tmp_path)
    with pytest.raises(FileExistsError, match=r"diary\.txt is a file\. Pass a folder"):
        embedder.save_pretrained(diary)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_an_interrupted_save_leaves_the_old_checkpoint(model):
    embedder = SentenceEmbedder(model).fit(TEXTS)
    before = contents(model)
    with no_file_above(50_000), pytest.raises((OSError, SafetensorError), match="File too large"):
        embedder.save_pretrained(model)
    with no_file_above(50_000), pytest.raises((OSError, SafetensorError), match="File too large"):
        embedder.save_pretrained(model.with_name("new"))
    assert contents(model) == before
    assert [path.name for path in model.parent.iterdir()] == ["model"]


# joblib


def test_worker_processes_get_the_same_rows():
    pipeline = make_pipeline(SentenceEmbedder(TINY), LogisticRegression())
    here = cross_val_predict(pipeline, TEXTS, TARGET, cv=2, method="predict_proba")
    there = cross_val_predict(pipeline, TEXTS, TARGET, cv=2, method="predict_proba", n_jobs=2)
    np.testing.assert_allclose(there, here, atol=1e-4)
    assert len(cross_val_score(pipeline, TEXTS, TARGET, cv=2, n_jobs=2, error_score="raise")) == 2


def test_a_fitted_embedder_travels_to_worker_processes():
    embedder = SentenceEmbedder(TINY).fit(TEXTS)
    with joblib.Parallel(n_jobs=2) as parallel:
        halves = parallel(joblib.delayed(embedder.transform)(X) for X in (TEXTS[:9], TEXTS[9:]))
    assert_same_rows(np.vstack(halves), embedder.transform(TEXTS))


def test_a_pipeline_s_memory_keeps_the_vectors(tmp_path, capfd):
    def fit(**params):
        embedder = SentenceEmbedder(TINY, verbose=1, **params)
        pipeline = make_pipeline(embedder, LogisticRegression(), memory=str(tmp_path))
        pipeline.fit(TEXTS, TARGET)
        return "embedding" in capfd.readouterr().err

    assert fit()
    assert not fit()
    assert fit(pooling="max")
