"""Whatever a caller has set in torch: results are the same, and the settings stay as they are."""

import os
import pickle
import threading
from contextlib import contextmanager

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
    PairFeatures,
    PairSimilarity,
    SemanticIndex,
    SemanticRetriever,
    SentenceClassifier,
    SentenceEmbedder,
    SentenceRegressor,
    TextCleaner,
    release_models,
)
from sk_sentemb.cache import open_cache
from sk_sentemb.encoder import isolated
from sk_sentemb.encoder.isolation import default_torch_state
from tests.helpers.tiny_models import TINY, TINY_NLI, TINY_SCORER, assert_same_rows
from tests.helpers.vision_checkpoints import make_clip

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = [
    f"{text} {i}" for i in range(4) for text in ("The ferry sails.", "Rain.", "A market opens.")
]
PAIRS = np.array([TEXTS, TEXTS[1:] + TEXTS[:1]], dtype=object).T
CLASSES = np.array([0, 1, 2] * 4)
SHORT = FineTuner(max_steps=2, batch_size=6, random_state=0)


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


@contextmanager
def setting(set_value, value, default):
    set_value(value)
    try:
        yield
    finally:
        set_value(default)


def set_backend_precision(value):
    torch.backends.mkldnn.matmul.fp32_precision = value


STATES = {
    "autocast": autocast,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16": lambda: setting(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "meta": lambda: torch.device("meta"),
    # Not None: after it, torch 2.6 cannot get the default device.
    "default-device": lambda: setting(torch.set_default_device, "meta", "cpu"),
    "matmul": lambda: setting(torch.set_float32_matmul_precision, "medium", "highest"),
}
if hasattr(torch.backends, "fp32_precision"):  # since torch 2.9
    STATES["backend"] = lambda: setting(set_backend_precision, "bf16", "none")


def state_of_torch():
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # set for one backend
        precision = None
    return {
        "autocast": torch.is_autocast_enabled("cpu"),
        "autocast dtype": torch.get_autocast_dtype("cpu"),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "precision": precision,
        "backends": torch.backends.mkldnn.matmul.fp32_precision if precision is None else None,
        "threads": torch.get_num_threads(),
    }


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(make_clip(tmp_path_factory.mktemp("clip")))


IMAGES = [np.full((40, 50, 3), shade, dtype=np.uint8) for shade in (0, 90, 250)]
TABLE = pd.DataFrame({"text": TEXTS, "price": np.linspace(0, 9, len(TEXTS))})

# An estimator, X, y, and what it is asked: every public estimator that runs a model.
CASES = {
    "embedder": (SentenceEmbedder(TINY), TEXTS, None, "transform"),
    "tuned-embedder": (SentenceEmbedder(TINY, fine_tuner=SHORT), TEXTS, CLASSES, "transform"),
    "image-embedder": (ImageEmbedder(), IMAGES, None, "transform"),
    "tuned-by-pairs": (
        SentenceEmbedder(TINY, fine_tuner=SHORT),
        PAIRS,
        CLASSES / 2,
        "transform",
    ),
    "scorer": (CrossEncoderScorer(TINY_SCORER), PAIRS, None, "predict"),
    "tuned-scorer": (
        CrossEncoderScorer(TINY_SCORER, fine_tuner=SHORT),
        PAIRS,
        CLASSES / 2,
        "predict",
    ),
    "new-head": (CrossEncoderScorer(TINY, fine_tuner=SHORT), PAIRS, CLASSES / 2, "predict"),
    "pair-classifier": (CrossEncoderClassifier(TINY_NLI), PAIRS, None, "predict_proba"),
    "tuned-pair-classifier": (
        CrossEncoderClassifier(TINY_NLI, fine_tuner=SHORT),
        PAIRS,
        CLASSES,
        "predict_proba",
    ),
    "classifier": (
        SentenceClassifier(TINY, text="text", fine_tuner=SHORT),
        TABLE,
        CLASSES,
        "predict_proba",
    ),
    "regressor": (
        SentenceRegressor(TINY, text="text", fine_tuner=SHORT),
        TABLE,
        CLASSES / 2,
        "predict",
    ),
    "classifier-head-alone": (
        SentenceClassifier(
            TINY, fine_tuner=FineTuner(trainable="head", max_steps=2, random_state=0)
        ),
        TEXTS,
        CLASSES,
        "predict_proba",
    ),
}


def result_of(name, clip, *, fitted=None):
    """Load, fit and predict; or predict by a fitted estimator, with empty caches."""
    estimator, X, y, method = CASES[name]
    if fitted is None:
        release_models()
        estimator = clone(estimator)
        if isinstance(estimator, ImageEmbedder):
            estimator.set_params(model=clip)
        fitted = estimator.fit(X, y)
    open_cache("memory").clear()
    return fitted, getattr(fitted, method)(X)


def test_the_cases_are_all_estimators_that_run_a_model():
    public = [getattr(sk_sentemb, name) for name in sk_sentemb.__all__]
    estimators = {kind for kind in public if isinstance(kind, type) and hasattr(kind, "fit")}
    without_a_model = {PairFeatures, PairSimilarity, TextCleaner}
    through_an_embedder = {SemanticIndex, SemanticRetriever}
    expected = estimators - without_a_model - through_an_embedder
    assert {type(case[0]) for case in CASES.values()} == expected


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.SentenceEmbeddingWarning")
@pytest.mark.parametrize("name", CASES)
def test_every_estimator_gives_the_same_under_every_state(name, clip):
    plain, expected = result_of(name, clip)
    for state, enter in STATES.items():
        with enter():
            before = state_of_torch()
            _, found = result_of(name, clip)
            _, asked = result_of(name, clip, fitted=plain)
            assert state_of_torch() == before, state
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=state)
        np.testing.assert_array_equal(asked, expected, err_msg=state)
        assert state_of_torch()["dtype"] == torch.float32


def test_autocast_leaves_nothing_in_the_cache(tmp_path):
    cache = f"{tmp_path}/cache"
    embedder = SentenceEmbedder(TINY, cache=cache).fit(TEXTS)
    with autocast():
        embedder.transform(TEXTS)
    assert_same_rows(
        embedder.transform(TEXTS), SentenceEmbedder(TINY, cache=None).fit_transform(TEXTS)
    )


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.SentenceEmbeddingWarning")
def test_what_was_loaded_under_inference_mode_can_be_trained_on():
    def fitted():
        return SentenceClassifier(TINY, fine_tuner=SHORT, warm_start=True).fit(TEXTS, CLASSES)

    expected = fitted().fit(TEXTS, CLASSES).predict_proba(TEXTS)
    pickled = pickle.dumps(fitted())
    release_models()
    with torch.inference_mode():
        again = pickle.loads(pickled)
    np.testing.assert_allclose(again.fit(TEXTS, CLASSES).predict_proba(TEXTS), expected, atol=1e-6)


def test_a_dtype_of_the_process_comes_back_when_the_last_thread_is_done():
    inside, leave = threading.Event(), threading.Event()

    @isolated
    def compute():
        inside.set()
        assert leave.wait(30)
        return torch.get_default_dtype()

    found = []
    with setting(torch.set_default_dtype, torch.float64, torch.float32):
        thread = threading.Thread(target=lambda: found.append(compute()))
        thread.start()
        assert inside.wait(30)
        with default_torch_state():
            assert torch.zeros(1).dtype == torch.float32
        assert torch.get_default_dtype() == torch.float32  # the other thread is not done
        leave.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float64
    assert found == [torch.float32]


def test_settings_of_one_thread_do_not_reach_another(tmp_path):
    expected = SentenceEmbedder(TINY, cache=None).fit_transform(TEXTS)
    found = []

    def embed():
        with torch.inference_mode(), autocast():
            found.append(SentenceEmbedder(TINY, cache=None).fit_transform(TEXTS))
            found.append(torch.is_autocast_enabled("cpu") and torch.is_inference_mode_enabled())

    thread = threading.Thread(target=embed)
    thread.start()
    thread.join()
    assert_same_rows(found[0], expected)
    assert found[1]
    assert not torch.is_inference_mode_enabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_gets_back_what_another_thread_of_its_parent_had_changed(run_python):
    code = """
import os, threading, torch
from sk_sentemb.encoder import isolated
inside, leave = threading.Event(), threading.Event()

@isolated
def compute():
    inside.set()
    leave.wait(30)

torch.set_default_dtype(torch.float64)
torch.set_float32_matmul_precision("medium")
thread = threading.Thread(target=compute)
thread.start()
inside.wait(30)
assert torch.get_default_dtype() == torch.float32
child = os.fork()
if not child:
    same = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    os._exit(same != (torch.float64, "medium"))
assert os.waitpid(child, 0)[1] == 0
leave.set()
thread.join()
assert torch.get_default_dtype() == torch.float64
"""
    run_python(code)
