import itertools
import json
import os
import random
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config

from sk_sentemb import SentenceEmbedder, load_encoder
from sk_sentemb.cache import MemoryCache
from sk_sentemb.cache.namespace import namespace_for
from sk_sentemb.encoder.modules.layers import Dense
from sk_sentemb.exceptions import TruncationWarning
from tests.cache.memory_cache_helpers import MARKS, TEXTS, embed, n_embedded_by
from tests.helpers.checkpoints import HIDDEN, MAX_TOKENS, make_checkpoint
from tests.helpers.checkpoints import TEXTS as LONG_AND_SHORT
from tests.helpers.tiny_models import (
    OTHER,
    PROMPTED,
    PROMPTS,
    TINY,
    assert_other_rows,
    assert_same_rows,
)

pytestmark = pytest.mark.usefixtures("one_thread")


# Half surrogate pairs, a whole one in two halves, its character, and what stands in for a half.
ODD = [
    "",
    " ",
    "\0",
    "a",
    "a\0",
    "\0a",
    "\ud83d",
    "\ude42",
    "\ud83d\ude42",
    "🙂",
    "\ufffd",
    "é",
    "e\u0301",
]


# A frame of objects, because pandas' own strings are UTF-8.
CELLS = pd.DataFrame(
    {
        "a": [*ODD, *TEXTS, MARKS, MARKS, None],
        "b": [*reversed(ODD), None, MARKS, *TEXTS, "Harbour"],
    },
    dtype=object,
)


N_DISTINCT = len({*ODD, *TEXTS, MARKS})


_seeds = itertools.count(7_000)


SETTINGS = [
    {},
    {"long_text": "truncate", "max_length": 12},
    {"long_text": "chunk", "max_length": 12},
    {"long_text": "error"},
    {"pooling": ["cls", "max"]},
    {"pooling": "weightedmean", "normalize": False},
    {"truncate_dim": 5},
    {"truncate_dim": 5, "normalize": False},
    {"missing": "nan"},
    {"missing": "empty"},
    {"dtype": "bfloat16"},
    {"batch_tokens": 7},
    {"n_jobs": 2},
    {"model": PROMPTED},
    {"model": PROMPTED, "prompt_name": "query"},
    {"model": PROMPTED, "prompt": ""},
]


@pytest.mark.parametrize("params", SETTINGS, ids=str)
def test_cache_changes_no_embedding(params, cache):
    with parallel_config(backend="threading"):
        expected = embed(CELLS, **params, cache=None)
        first = embed(CELLS, **params, cache=cache)
    assert cache.statistics().misses == N_DISTINCT
    again = embed(CELLS, **params, cache=cache)
    assert cache.statistics().misses == N_DISTINCT
    np.testing.assert_array_equal(first, again)
    if params.get("dtype") == "bfloat16":  # whose last bits depend on what runs together
        np.testing.assert_allclose(first, expected, atol=0.05)
    else:
        assert_same_rows(first, expected)


def test_cached_parts_in_any_order_equal_the_whole(cache):
    texts = list(dict.fromkeys([*ODD, *LONG_AND_SHORT, MARKS, *(f"ferry {i}" for i in range(80))]))
    expected = embed(texts, cache=None)
    order = random.Random(0)
    for _ in range(20):
        rows = order.choices(range(len(texts)), k=order.randrange(1, 60))
        assert_same_rows(embed([texts[row] for row in rows], cache=cache), expected[rows])
    assert cache.statistics().misses == cache.statistics().n_texts <= len(texts)


def test_cache_finds_a_text_of_ten_megabytes(cache):
    text = "the ferry passed the pier. " * 400_000
    first = embed([text, text + "!"], cache=cache)
    np.testing.assert_array_equal(embed([text + "!"], cache=cache), first[1:])
    assert_same_rows(first[:1], embed([text], cache=None))
    assert cache.statistics().misses == 2
    assert cache.statistics().n_bytes < 1_000_000


def test_namespace_distinguishes_prompt_and_text(tmp_path, cache):
    model = make_checkpoint(tmp_path / "model", include_prompt=False)
    for prompt, text in [("the ", "ferry passed"), ("the ferry ", "passed"), ("", TEXTS[0])]:
        found = embed([text], model, prompt=prompt, cache=cache)
        assert_same_rows(found, embed([text], model, prompt=prompt, cache=None))
    assert cache.statistics().misses == 3


def test_cached_rows_are_copies(cache):
    first = embed(TEXTS, cache=cache)
    expected = first.copy()
    first[:] = 7
    second = embed(TEXTS, cache=cache)
    np.testing.assert_array_equal(second, expected)
    second[:] = 8
    np.testing.assert_array_equal(embed(TEXTS, cache=cache), expected)
    np.testing.assert_array_equal(first, np.full_like(first, 7))


def test_cache_accepts_no_texts(cache):
    assert embed([None, None], cache=cache).tolist() == [[0.0] * HIDDEN] * 2
    assert SentenceEmbedder(TINY, cache=cache).fit(TEXTS).transform([]).shape == (0, HIDDEN)
    assert cache.statistics().n_texts == 0


@pytest.mark.parametrize(
    "params",
    [
        {"model": OTHER},
        {"model": PROMPTED},
        {"pooling": "cls"},
        {"pooling": ["mean", "mean"]},
        {"normalize": False},
        {"prompt": "gulls: "},
        {"max_length": 12},
        {"long_text": "chunk"},
        {"long_text": "error"},
        {"dtype": "bfloat16"},
    ],
    ids=str,
)
def test_namespace_depends_on_parameters_that_change_embeddings(params, cache):
    base = embed([*TEXTS, MARKS], cache=cache)
    found = embed([*TEXTS, MARKS], **params, cache=cache)
    assert cache.statistics().misses == 2 * (len(TEXTS) + 1)
    assert_same_rows(found, embed([*TEXTS, MARKS], **params, cache=None))
    np.testing.assert_array_equal(embed([*TEXTS, MARKS], cache=cache), base)
    assert cache.statistics().misses == 2 * (len(TEXTS) + 1)


@pytest.mark.parametrize(
    "params",
    [
        {"model": str(TINY)},
        {"model": load_encoder(TINY)},
        {"pooling": "mean"},
        {"pooling": ["mean"]},
        {"normalize": True},
        {"prompt": ""},
        {"max_length": MAX_TOKENS},
        {"max_length": np.int64(MAX_TOKENS)},
        {"long_text": np.str_("truncate")},
        {"truncate_dim": 5},
        {"batch_tokens": 7},
        {"device": "cpu"},
        {"dtype": "float32"},
        {"missing": "nan"},
        {"n_jobs": 2},
        {"store_weights_in_pickle": True},
        {"verbose": 1},
    ],
    ids=str,
)
def test_namespace_ignores_parameters_that_change_no_embedding(params):
    cache = MemoryCache()
    device = None if isinstance(params.get("model", TINY), type(load_encoder(TINY))) else "cpu"
    embed([*TEXTS, MARKS], cache=cache, device=device)
    params = {"device": device} | params
    assert n_embedded_by(cache, lambda: embed([*TEXTS, MARKS], **params, cache=cache)) == 0


def test_namespace_is_the_same_for_a_prompt_and_its_name():
    cache = MemoryCache()
    for prompt in ({}, {"prompt_name": "document"}, {"prompt": PROMPTS["document"]}):
        embed(TEXTS, PROMPTED, **prompt, cache=cache)
    assert cache.statistics().misses == len(TEXTS)


def test_namespace_is_the_same_for_equal_files_in_two_folders(tmp_path, cache):
    embed(TEXTS, cache=cache)
    for name in ("a", "b"):
        shutil.copytree(TINY, tmp_path / name)
        embed(TEXTS, tmp_path / name, cache=cache)
    assert cache.statistics().misses == len(TEXTS)


def test_namespace_is_the_same_for_numpy_integers(cache):
    # A randomised search draws such.
    expected = embed([MARKS], max_length=12, cache=cache)
    found = embed([MARKS], max_length=np.int32(12), cache=cache)
    np.testing.assert_array_equal(found, expected)
    assert cache.statistics().misses == 1


def _other_weights(folder):
    file = folder / "model.safetensors"
    before = file.stat()
    shutil.copy(OTHER / "model.safetensors", file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


def _other_pooling(folder):
    file = folder / "1_Pooling" / "config.json"
    config = json.loads(file.read_text())
    config |= {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}
    file.write_text(json.dumps(config))


def _other_letters(folder):
    file = folder / "sentence_bert_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"do_lower_case": True}))


@pytest.mark.parametrize("change", [_other_weights, _other_pooling, _other_letters])
def test_namespace_changes_with_the_files_of_the_model(change, tmp_path, cache):
    model = make_checkpoint(tmp_path / "model", seed=next(_seeds))
    texts = [text for text in TEXTS if text != text.lower()]
    fitted = SentenceEmbedder(model, cache=cache).fit(texts)
    old = fitted.transform(texts)
    change(model)
    new = embed(texts, model, cache=cache)
    assert_other_rows(new, old)
    assert_same_rows(new, embed(texts, model, cache=None))
    np.testing.assert_array_equal(fitted.transform(texts), old)


def _random_dense(seed):
    dense = Dense(HIDDEN, HIDDEN)
    random = np.random.default_rng(seed)
    for parameter in dense.parameters():
        values = random.normal(size=tuple(parameter.shape)).astype(np.float32)
        parameter.data = parameter.data.new_tensor(values)
    return dense


def test_namespace_differs_for_derived_encoders(cache):
    encoder = load_encoder(TINY, device="cpu")
    modules = encoder.modules
    derived = [
        encoder,
        encoder.with_pooling(pooling="cls"),
        encoder.with_pooling(normalize=False),
        encoder.replace(max_length=12),
        encoder.replace(default_prompt="gulls: "),
        encoder.replace(modules=(*modules, _random_dense(0))),
        encoder.replace(modules=(*modules, _random_dense(1))),
        encoder.replace(modules=(modules[0], _random_dense(1), *modules[1:])),
        encoder.replace(fingerprint="another", source=None),
    ]
    texts = [*TEXTS, MARKS]
    for model in derived:
        assert_same_rows(embed(texts, model, cache=cache), embed(texts, model, cache=None))
    assert cache.statistics().misses == len(derived) * len(texts)
    # This one keeps fewer dimensions of the same vectors.
    found = embed(texts, encoder.replace(truncate_dim=5), cache=cache)
    assert_same_rows(found, embed(texts, truncate_dim=5, cache=None))
    assert cache.statistics().misses == len(derived) * len(texts)


def test_namespaces_have_different_prefixes():
    encoder = load_encoder(TINY, device="cpu")
    settings = itertools.product((None, "a", "b"), (None, 12, 13), ("truncate", "chunk", "error"))
    spaces = [
        namespace_for(encoder, prompt=prompt, max_length=max_length, long_text=long_text)
        for prompt, max_length, long_text in settings
    ]
    assert len({space.prefix for space in spaces}) == len(spaces)


def test_cache_hits_count_truncated_texts(cache):
    X = pd.DataFrame({"a": [MARKS, MARKS, "?"], "b": ["?", MARKS + "!", None]})
    embedder = SentenceEmbedder(TINY, max_length=12, missing="nan", cache=cache).fit(X)
    for _ in range(3):
        with pytest.warns(TruncationWarning, match="^3 of 5 texts exceed the limit of 12 tokens"):
            embedder.transform(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.transform(X[2:])
    assert cache.statistics().misses == 3


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_cache_names_the_row_of_a_text_that_is_too_long(n_jobs, cache):
    embedder = SentenceEmbedder(TINY, max_length=12, long_text="error", cache=cache, n_jobs=n_jobs)
    embedder.fit([["?", "?"]])
    rows = [[f"! {i}", f"? {i}"] for i in range(9)]
    with parallel_config(backend="threading"):
        for at in (5, 5, 0, 9, 3):
            message = rf"^row {at}, column 1 of X has more than 12 tokens"
            with pytest.raises(ValueError, match=message):
                embedder.transform([*rows[:at], ["?", MARKS], *rows[at:]])
        assert_same_rows(embedder.transform(rows), embed(rows, cache=None))
