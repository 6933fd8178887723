"""Parameters as grids of NumPy give them are those of Python: in the cache, on disk and in pickles."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_sentemb import (
    CrossEncoderClassifier,
    CrossEncoderScorer,
    FineTuner,
    ImageEmbedder,
    SentenceClassifier,
    SentenceEmbedder,
)
from sk_sentemb.cache import DiskCache, MemoryCache
from tests.helpers.checkpoints import contents
from tests.helpers.tiny_models import NLI, TINY, TINY_NLI, TINY_SCORER
from tests.helpers.vision_checkpoints import VISION

TEXTS = [f"the {'ferry' if i % 2 else 'market'} opens at {i}" for i in range(12)]
LABELS = np.array([0, 1] * 6)
PAIRS = [(a, b) for a, b in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)]
IMAGES = [np.full((8, 8, 3), i, np.uint8) for i in range(4)]


def as_numpy(value):
    """Return a parameter as a grid of NumPy has it."""
    if isinstance(value, list):
        return [as_numpy(item) for item in value]
    return value if value is None else np.array([value])[0]


def outputs(estimator, X):
    predict = getattr(estimator, "decision_function", None) or estimator.transform
    return predict(X)


TEXT_PARAMETERS = {
    "model": str(TINY),
    "pooling": ["cls", "max"],
    "normalize": False,
    "prompt": "ferry: ",
    "truncate_dim": 8,
    "max_length": 20,
    "long_text": "chunk",
    "missing": "empty",
    "dtype": "float32",
    "device": "cpu",
    "batch_tokens": 512,
    "n_jobs": 1,
    "warm_start": False,
    "store_weights_in_pickle": False,
    "verbose": 0,
}
PAIR_PARAMETERS = {"max_length": 20, "prompt": "ferry: ", "symmetric": True, "device": "cpu"}
CASES = {
    "SentenceEmbedder": (SentenceEmbedder, TEXT_PARAMETERS, TEXTS, None),
    "CrossEncoderScorer": (
        CrossEncoderScorer,
        {"model": str(TINY_SCORER), **PAIR_PARAMETERS},
        PAIRS,
        None,
    ),
    "CrossEncoderClassifier": (
        CrossEncoderClassifier,
        {"model": str(TINY_NLI), **PAIR_PARAMETERS},
        PAIRS,
        [NLI[i % 3] for i in range(12)],
    ),
}


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.TruncationWarning")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_scalars_of_numpy_are_those_of_python(case, tmp_path):
    sio = pytest.importorskip("skops.io")
    make, params, X, y = case
    cache = MemoryCache()
    python = make(**params, cache=cache).fit(X, y)
    expected = outputs(python, X)
    numpy = make(**{k: as_numpy(v) for k, v in params.items()}, cache=cache)
    assert type(clone(numpy).fit(X, y).get_params()["max_length"]) is np.int64
    n_embedded = cache.statistics().n_embedded
    numpy.fit(X, y)
    np.testing.assert_array_equal(outputs(numpy, X), expected)
    assert cache.statistics().n_embedded == n_embedded
    python.save_pretrained(tmp_path / "python")
    numpy.save_pretrained(tmp_path / "numpy")
    assert contents(tmp_path / "numpy") == contents(tmp_path / "python")
    for weights in (as_numpy(True), as_numpy(False)):
        numpy.set_params(store_weights_in_pickle=weights, cache=None)
        loaded = pickle.loads(pickle.dumps(numpy))
        np.testing.assert_array_equal(outputs(loaded, X), expected)
        assert plain_types(numpy.__getstate__()["encoder_"])
        dumped = sio.dumps(numpy)
        trusted = sio.get_untrusted_types(data=dumped)
        np.testing.assert_array_equal(outputs(sio.loads(dumped, trusted=trusted), X), expected)


def plain_types(value):
    """Say whether a state has Python's own types only."""
    if isinstance(value, dict):
        return all(plain_types(k) and plain_types(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(plain_types, value))
    return type(value) in (str, int, float, bool, bytes, type(None))


def test_images(tmp_path):
    model = VISION["clip"](tmp_path / "clip")
    params = {"truncate_dim": 4, "normalize": True, "pooling": "auto", "device": "cpu"}
    python = ImageEmbedder(model, **params).fit(IMAGES)
    numpy = ImageEmbedder(model, **{k: as_numpy(v) for k, v in params.items()}).fit(IMAGES)
    np.testing.assert_array_equal(numpy.transform(IMAGES), python.transform(IMAGES))
    python.save_pretrained(tmp_path / "python")
    numpy.save_pretrained(tmp_path / "numpy")
    assert contents(tmp_path / "numpy") == contents(tmp_path / "python")
    assert plain_types(numpy.__getstate__()["encoder_"])


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.TruncationWarning")
def test_the_best_of_a_search_is_saved(tmp_path):
    grid = {
        "sentenceembedder__truncate_dim": np.array([8, 16]),
        "sentenceembedder__pooling": np.array(["cls", "max"]),
        "sentenceembedder__max_length": np.arange(10, 30, 10),
    }
    pipeline = make_pipeline(SentenceEmbedder(TINY), LogisticRegression())
    best = GridSearchCV(pipeline, grid, cv=2).fit(TEXTS, LABELS).best_estimator_[0]
    best.save_pretrained(tmp_path / "best")
    again = SentenceEmbedder(tmp_path / "best").fit(TEXTS)
    np.testing.assert_allclose(again.transform(TEXTS), best.transform(TEXTS), atol=1e-6)


def test_a_disk_cache_knows_them(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    params = {"max_length": 20, "pooling": "max", "prompt": "ferry: "}
    expected = SentenceEmbedder(TINY, cache=cache, **params).fit_transform(TEXTS)
    n_embedded = cache.statistics().n_embedded
    given = {name: as_numpy(value) for name, value in params.items()}
    rows = SentenceEmbedder(TINY, cache=cache, **given).fit_transform(TEXTS)
    np.testing.assert_array_equal(rows, expected)
    assert cache.statistics().n_embedded == n_embedded == len(TEXTS)


def test_a_fine_tuner_of_numpy_s_scalars():
    params = {
        "loss": "auto",
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "head_learning_rate": 1e-2,
        "warmup_ratio": 0.2,
        "schedule": "cosine",
        "weight_decay": 0.01,
        "trainable": 1,
        "layer_decay": 0.9,
        "train_embeddings": False,
        "early_stopping": True,
        "validation_fraction": 0.25,
        "patience": 1,
        "random_state": 3,
    }
    given = {name: as_numpy(value) for name, value in params.items()}
    head = {"hidden_layer_sizes": (6,), "dropout": 0.2}
    numpy_head = {"hidden_layer_sizes": (np.int64(6),), "dropout": np.float64(0.2)}
    python = SentenceClassifier(TINY, fine_tuner=FineTuner(**params), **head).fit(TEXTS, LABELS)
    numpy = SentenceClassifier(TINY, fine_tuner=FineTuner(**given), **numpy_head)
    numpy = numpy.fit(TEXTS, LABELS)
    np.testing.assert_array_equal(numpy.predict_proba(TEXTS), python.predict_proba(TEXTS))
    loaded = pickle.loads(pickle.dumps(numpy))
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), python.predict_proba(TEXTS))
