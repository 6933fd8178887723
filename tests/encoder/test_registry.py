import gc
import itertools
import logging
import multiprocessing
import os
import random
import shutil
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import huggingface_hub.utils as hub
import joblib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils import logging as transformers_logging

from sk_sentemb.encoder import load_encoder, registry, release_models
from tests.helpers.checkpoints import TEXTS, make_checkpoint, make_static_checkpoint
from tests.helpers.tiny_models import assert_same_rows

BARS = [(True, True), (True, False), (False, False), (False, True)]
LOGGERS = [None, "transformers", "torch", "huggingface_hub", "sk_sentemb"]

# Weights that no other test has, so that no other test's copy of the model is met.
_seeds = itertools.count(3_000)


@pytest.fixture
def folder(tmp_path):
    return make_checkpoint(tmp_path / "model", seed=next(_seeds))


@pytest.fixture
def n_read(caplog):
    """Count the models that were read from their files."""
    caplog.set_level(logging.INFO, "sk_sentemb.encoder.registry")
    return lambda: sum("loading the model" in record.message for record in caplog.records)


def nobody_holds(reference):
    gc.collect()
    return reference() is None


def test_many_threads_share_one_copy_and_get_the_rows_of_one(folder, n_read):
    texts = TEXTS * 10
    together = threading.Barrier(16)

    def run(seed):
        order = np.random.default_rng(seed).permutation(len(texts))
        together.wait()
        encoder = load_encoder(folder, device="cpu")
        vectors = np.empty((len(texts), encoder.embedding_dim), dtype=np.float32)
        vectors[order] = encoder.encode([texts[row] for row in order]).vectors
        return encoder, vectors

    with ThreadPoolExecutor(16) as threads:
        encoders, vectors = zip(*threads.map(run, range(16)), strict=True)
    assert n_read() == 1
    assert len(set(map(id, encoders))) == 1
    expected = encoders[0].encode(texts).vectors
    for found in vectors:
        assert_same_rows(found, expected)


def test_threads_with_settings_of_their_own_do_not_disturb_each_other(folder):
    encoder = load_encoder(folder, device="cpu")
    settings = [
        {"max_length": 8},
        {"max_length": 8, "long_text": "chunk"},
        {"prompt": "the pier "},
        {"batch_tokens": 30},
    ]
    expected = [encoder.encode(TEXTS, **options).vectors for options in settings]
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda i: encoder.encode(TEXTS, **settings[i % 4]).vectors, range(40))
        for i, vectors in enumerate(found):
            assert_same_rows(vectors, expected[i % 4])


def test_names_of_one_content_share_one_copy(folder, n_read, tmp_path, monkeypatch):
    other = shutil.copytree(folder, tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    names = [folder, str(folder), "model", "./model", other]
    backbones = [load_encoder(name, device="cpu").backbone for name in names]
    assert len(set(map(id, backbones))) == 1
    assert n_read() == 1


def test_number_formats_are_models_of_their_own(folder, n_read):
    formats = ["float32", "bfloat16", "float16", "float32"]
    first, *_, last = encoders = [load_encoder(folder, dtype=dtype) for dtype in formats]
    assert [encoder.dtype for encoder in encoders] == formats
    assert first is last
    assert n_read() == 3


def test_release_models_forgets_what_nobody_uses(folder, n_read):
    encoder = load_encoder(folder, device="cpu")
    weights = weakref.ref(encoder.backbone.model)
    release_models()
    derived = encoder.with_pooling(pooling="cls")
    del encoder
    release_models()
    assert load_encoder(folder, device="cpu").backbone is derived.backbone
    del derived
    assert not nobody_holds(weights)  # kept for who comes next
    release_models()
    assert nobody_holds(weights)
    load_encoder(folder, device="cpu")
    assert n_read() == 2


def test_the_latest_two_models_stay_however_large(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_RECENT_BYTES", 0)
    folders = [make_checkpoint(tmp_path / str(i), seed=next(_seeds)) for i in range(3)]
    weights = [weakref.ref(load_encoder(folder, device="cpu")) for folder in folders[:2]]
    load_encoder(folders[0], device="cpu")  # again the latest
    load_encoder(folders[2], device="cpu")
    assert nobody_holds(weights[1])
    assert not nobody_holds(weights[0])


def test_more_models_stay_while_they_have_room(tmp_path, monkeypatch):
    release_models()
    folders = [make_checkpoint(tmp_path / str(i), seed=next(_seeds)) for i in range(4)]
    n_bytes = load_encoder(folders[0], device="cpu").n_bytes
    monkeypatch.setattr(registry, "_RECENT_BYTES", 3 * n_bytes)
    weights = [weakref.ref(load_encoder(folder, device="cpu")) for folder in folders]
    assert [nobody_holds(weight) for weight in weights] == [True, False, False, False]


def global_state():
    """Everything that a library may not leave changed."""
    return {
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch random": torch.get_rng_state().tolist(),
        "numpy random": [np.asarray(part).tolist() for part in np.random.get_state()],  # noqa: NPY002
        "random": random.getstate(),
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "loggers": [(log.handlers[:], log.level) for log in map(logging.getLogger, LOGGERS)],
        "transformers": transformers_logging.get_verbosity(),
        "bars": (transformers_logging.is_progress_bar_enabled(), hub.are_progress_bars_disabled()),
    }


@pytest.mark.parametrize("kind", ["bert", "qwen3", "t5", "static"])
def test_loading_and_encoding_leave_global_state_alone(kind, tmp_path):
    make_static_checkpoint(tmp_path) if kind == "static" else make_checkpoint(tmp_path, kind)
    file = next(tmp_path.glob("**/model.safetensors"))
    # Without its pooler, whose weights nobody needs and transformers makes up by chance.
    kept = {name: tensor for name, tensor in load_file(file).items() if "pooler" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    transformers_logging.set_verbosity_warning()  # its default
    before = global_state()
    encoder = load_encoder(tmp_path, device="cpu", dtype="bfloat16")
    assert global_state() == before
    encoder.encode(TEXTS, max_length=8, long_text="chunk")
    assert global_state() == before


@pytest.mark.parametrize("bars", BARS, ids=str)
def test_loading_leaves_progress_bars_as_they_are(bars, folder):
    ours, hubs = bars
    try:
        if not ours:
            transformers_logging.disable_progress_bar()
        (hub.disable_progress_bars, hub.enable_progress_bars)[hubs]()
        load_encoder(folder, device="cpu")
        assert transformers_logging.is_progress_bar_enabled() == ours
        assert hub.are_progress_bars_disabled() == (not hubs)
    finally:
        transformers_logging.enable_progress_bar()
        hub.enable_progress_bars()


def test_loading_and_encoding_print_nothing(folder, run_python):
    code = (
        "import sys; from sk_sentemb.encoder import load_encoder\n"
        "for name in sys.argv[1:]: load_encoder(name, device='cpu').encode(['A text.'] * 9)"
    )
    done = run_python(code, folder, "all-MiniLM-L6-v2")
    assert (done.stdout, done.stderr) == ("", "")


def encode(encoder):
    return encoder.encode(TEXTS).vectors


def in_a_fork(function, *arguments):
    """Run a function in a forked child, and give up on it after a minute."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(function(*arguments)))
    child.start()
    try:
        assert receiver.poll(60), "the child hangs"
        return receiver.recv()
    finally:
        child.kill()
        child.join()


# Python 3.12 and newer warn of a fork that has threads, which is what is tried here.
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@needs_fork
def test_a_fork_encodes_with_the_model_of_its_parent(minilm):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # so that there are workers that the child has not
    try:
        expected = minilm.encode(TEXTS * 4).vectors
        found = in_a_fork(lambda: minilm.encode(TEXTS * 4).vectors)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@needs_fork
def test_a_fork_encodes_while_a_thread_of_its_parent_does(folder, tmp_path):
    encoder = load_encoder(folder, device="cpu")
    other = make_checkpoint(tmp_path / "other", seed=next(_seeds))
    expected, stop = encode(encoder), threading.Event()

    def keep_busy():
        while not stop.is_set():
            release_models()
            load_encoder(other, device="cpu").encode(TEXTS)
            encoder.encode(TEXTS)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        for _ in range(5):
            assert_same_rows(in_a_fork(lambda: encode(load_encoder(folder))), expected)
    finally:
        stop.set()
        busy.join()


@pytest.mark.parametrize("start", ["spawn", "loky"])
def test_a_worker_process_loads_the_model_itself(start, folder):
    encoder = load_encoder(folder, device="cpu")
    if start == "spawn":
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply_async(encode, [encoder]).get(timeout=120)
    else:
        (found,) = joblib.Parallel(n_jobs=2, timeout=120)([joblib.delayed(encode)(encoder)])
    assert_same_rows(found, encode(encoder))
