import copy
import itertools
import json
import os
import pickle
import random
import shutil
import signal
import threading
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from sk_sentemb import SentenceEmbedder, load_encoder
from sk_sentemb.cache import DiskCache, MemoryCache, open_cache, prewarm
from sk_sentemb.cache.memory import ENTRY_BYTES
from sk_sentemb.cache.namespace import Namespace, namespace_for
from sk_sentemb.cache.single_flight import get_or_compute
from sk_sentemb.encoder import Embedded
from sk_sentemb.encoder.modules.layers import Dense
from sk_sentemb.exceptions import CacheWarning, SentenceEmbeddingWarning, TruncationWarning
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

TEXTS = ["the ferry passed the pier", "Harbour", "Nobody remembers the storm?"]
# Each question mark is one token.
MARKS = "?" * 30
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

LIMIT = 20.0

pytestmark = pytest.mark.usefixtures("one_thread")

_seeds = itertools.count(7_000)


@pytest.fixture(params=["memory", "disk"])
def cache(request, tmp_path):
    return MemoryCache() if request.param == "memory" else DiskCache(tmp_path / "cache")


def embed(X, model=TINY, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SentenceEmbeddingWarning)
        return SentenceEmbedder(model, **params).fit_transform(X)


def n_embedded_by(cache, action):
    before = cache.statistics().misses
    action()
    return cache.statistics().misses - before


def in_time(action):
    """Call in a thread, because what should not hang may hang."""
    done = []
    thread = threading.Thread(target=lambda: done.append(action()), daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive(), f"not done within {LIMIT} seconds"
    assert done, "raised"
    return done[0]


# The same vectors with a cache as without


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
def test_vectors_are_those_of_an_embedder_without_a_cache(params, cache):
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


def test_parts_in_any_order_get_the_rows_of_the_whole(cache):
    texts = list(dict.fromkeys([*ODD, *LONG_AND_SHORT, MARKS, *(f"ferry {i}" for i in range(80))]))
    expected = embed(texts, cache=None)
    order = random.Random(0)
    for _ in range(20):
        rows = order.choices(range(len(texts)), k=order.randrange(1, 60))
        assert_same_rows(embed([texts[row] for row in rows], cache=cache), expected[rows])
    assert cache.statistics().misses == cache.statistics().n_texts <= len(texts)


def test_a_text_of_ten_megabytes_is_found_again(cache):
    text = "the ferry passed the pier. " * 400_000
    first = embed([text, text + "!"], cache=cache)
    np.testing.assert_array_equal(embed([text + "!"], cache=cache), first[1:])
    assert_same_rows(first[:1], embed([text], cache=None))
    assert cache.statistics().misses == 2
    assert cache.statistics().n_bytes < 1_000_000


def test_what_is_prompt_and_what_is_text_is_told_apart(tmp_path, cache):
    model = make_checkpoint(tmp_path / "model", include_prompt=False)
    for prompt, text in [("the ", "ferry passed"), ("the ferry ", "passed"), ("", TEXTS[0])]:
        found = embed([text], model, prompt=prompt, cache=cache)
        assert_same_rows(found, embed([text], model, prompt=prompt, cache=None))
    assert cache.statistics().misses == 3


def test_rows_are_the_callers_own(cache):
    first = embed(TEXTS, cache=cache)
    expected = first.copy()
    first[:] = 7
    second = embed(TEXTS, cache=cache)
    np.testing.assert_array_equal(second, expected)
    second[:] = 8
    np.testing.assert_array_equal(embed(TEXTS, cache=cache), expected)
    np.testing.assert_array_equal(first, np.full_like(first, 7))


def test_no_texts_need_no_cache(cache):
    assert embed([None, None], cache=cache).tolist() == [[0.0] * HIDDEN] * 2
    assert SentenceEmbedder(TINY, cache=cache).fit(TEXTS).transform([]).shape == (0, HIDDEN)
    assert cache.statistics().n_texts == 0


# Which settings have keys of their own


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
def test_what_may_change_a_vector_has_keys_of_its_own(params, cache):
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
def test_what_changes_no_vector_shares_the_keys(params):
    cache = MemoryCache()
    device = None if isinstance(params.get("model", TINY), type(load_encoder(TINY))) else "cpu"
    embed([*TEXTS, MARKS], cache=cache, device=device)
    params = {"device": device} | params
    assert n_embedded_by(cache, lambda: embed([*TEXTS, MARKS], **params, cache=cache)) == 0


def test_a_prompt_and_its_name_share_the_keys():
    cache = MemoryCache()
    for prompt in ({}, {"prompt_name": "document"}, {"prompt": PROMPTS["document"]}):
        embed(TEXTS, PROMPTED, **prompt, cache=cache)
    assert cache.statistics().misses == len(TEXTS)


def test_equal_files_share_the_keys_wherever_they_lie(tmp_path, cache):
    embed(TEXTS, cache=cache)
    for name in ("a", "b"):
        shutil.copytree(TINY, tmp_path / name)
        embed(TEXTS, tmp_path / name, cache=cache)
    assert cache.statistics().misses == len(TEXTS)


def test_a_numpy_integer_is_the_length_that_it_is(cache):
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
def test_a_model_that_changed_at_its_path_gets_no_old_vectors(change, tmp_path, cache):
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


def test_derived_encoders_have_keys_of_their_own(cache):
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


def test_namespaces_of_different_settings_do_not_share_the_start_of_their_keys():
    encoder = load_encoder(TINY, device="cpu")
    settings = itertools.product((None, "a", "b"), (None, 12, 13), ("truncate", "chunk", "error"))
    spaces = [
        namespace_for(encoder, prompt=prompt, max_length=max_length, long_text=long_text)
        for prompt, max_length, long_text in settings
    ]
    assert len({space.prefix for space in spaces}) == len(spaces)


# What has to be said is said on hits as well


def test_truncation_is_counted_on_hits_as_well(cache):
    X = pd.DataFrame({"a": [MARKS, MARKS, "?"], "b": ["?", MARKS + "!", None]})
    embedder = SentenceEmbedder(TINY, max_length=12, missing="nan", cache=cache).fit(X)
    for _ in range(3):
        with pytest.warns(TruncationWarning, match="^3 of 5 texts are longer than 12 tokens"):
            embedder.transform(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.transform(X[2:])
    assert cache.statistics().misses == 3


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_text_that_is_too_long_is_named_by_its_row_each_time(n_jobs, cache):
    embedder = SentenceEmbedder(TINY, max_length=12, long_text="error", cache=cache, n_jobs=n_jobs)
    embedder.fit([["?", "?"]])
    rows = [[f"! {i}", f"? {i}"] for i in range(9)]
    with parallel_config(backend="threading"):
        for at in (5, 5, 0, 9, 3):
            message = rf"^row {at}, column 1 of X has more than 12 tokens"
            with pytest.raises(ValueError, match=message):
                embedder.transform([*rows[:at], ["?", MARKS], *rows[at:]])
        assert_same_rows(embedder.transform(rows), embed(rows, cache=None))


# Memory: what goes first, and how much there is

SPACE = Namespace(bytes(range(32)), model="some/model", fingerprint="f00d", dim=4)


def records_of(texts, space=SPACE):
    vectors = np.array([[len(text)] * space.dim for text in texts], dtype=np.float32)
    packed = space.serialize(Embedded(vectors, np.zeros(len(texts), dtype=bool)))
    return dict(zip(space.keys(texts), packed, strict=True))


def room_for(n, space=SPACE):
    return n * (space.record_bytes + ENTRY_BYTES)


def texts_in(cache, texts, space=SPACE):
    """Look without touching: what was asked for goes last."""
    there = copy.copy(cache._records)
    return [text for text, key in zip(texts, space.keys(texts), strict=True) if key in there]


def test_what_was_used_least_recently_goes_first():
    cache = MemoryCache(room_for(3))
    cache.put(SPACE, records_of("abc"))
    cache.get(SPACE, SPACE.keys("a"))
    cache.put(SPACE, records_of("d"))
    assert texts_in(cache, "abcd") == ["a", "c", "d"]
    cache.get(SPACE, SPACE.keys("cxa"))
    cache.put(SPACE, records_of("ef"))
    assert texts_in(cache, "abcdef") == ["a", "e", "f"]


def test_the_order_is_that_of_a_plain_list():
    choose = random.Random(1)
    cache, order, room = MemoryCache(room_for(8)), [], 8
    for _ in range(2_000):
        action = choose.random()
        asked = choose.sample("abcdefghijklmnopqrst", choose.randrange(1, 5))
        if action < 0.5:
            found = cache.get(SPACE, SPACE.keys(asked))
            assert [record is not None for record in found] == [text in order for text in asked]
            asked = [text for text in asked if text in order]
        elif action < 0.9:
            cache.put(SPACE, records_of(asked))
        else:
            room, asked = choose.randrange(1, 12), []
            cache.max_bytes = room_for(room)
        order = [text for text in order if text not in asked] + asked
        order = order[-room:]
        assert list(cache._records) == SPACE.keys(order)
        assert cache.statistics().n_bytes == room_for(len(order)) <= cache.max_bytes


def test_an_embedder_embeds_again_what_had_to_go():
    cache = MemoryCache(3 * (4 * HIDDEN + 1 + ENTRY_BYTES))
    embedder = SentenceEmbedder(TINY, cache=cache).fit(["a"])
    n_misses = []
    for asked in ("abc", "a", "d", "ca", "b", "d"):
        embedder.transform(list(asked))
        n_misses.append(cache.statistics().misses)
    assert np.diff(n_misses, prepend=0).tolist() == [3, 0, 1, 0, 1, 1]


def test_bytes_are_what_python_takes():
    space = Namespace(b"x" * 32, model="m", fingerprint="f", dim=64)
    vectors = Embedded(np.ones((1_000, 64), dtype=np.float32), np.zeros(1_000, dtype=bool))
    cache = MemoryCache(50_000 * (space.record_bytes + ENTRY_BYTES))

    def put(start, stop):
        for first in range(start, stop, 1_000):
            texts = map(str, range(first, first + 1_000))
            cache.put(space, dict(zip(space.keys(texts), space.serialize(vectors), strict=True)))

    tracemalloc.start()
    try:
        put(0, 50_000)
        fresh = tracemalloc.get_traced_memory()[0] / cache.statistics().n_bytes
        put(50_000, 100_000)
        worn = tracemalloc.get_traced_memory()[0] / cache.statistics().n_bytes
    finally:
        tracemalloc.stop()
    assert cache.statistics().n_texts == 50_000
    assert 0.85 < fresh < 1.15
    assert 0.85 < worn < 1.15


def test_without_room_every_row_is_right_and_it_is_said():
    cache = MemoryCache(0)
    with pytest.warns(CacheWarning, match=r"^3 texts of .*tiny' do not fit into MemoryCache\(max_"):
        found = SentenceEmbedder(TINY, cache=cache).fit_transform(TEXTS)
    assert_same_rows(found, embed(TEXTS, cache=None))
    assert cache.statistics().n_texts == cache.statistics().n_bytes == 0


def test_what_fits_exactly_is_not_warned_about():
    cache = MemoryCache(len(TEXTS) * (4 * HIDDEN + 1 + ENTRY_BYTES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SentenceEmbedder(TINY, cache=cache).fit_transform(TEXTS)
    cache.max_bytes -= 1
    assert cache.statistics().n_texts == len(TEXTS) - 1
    with pytest.warns(CacheWarning, match=r"Increase its max_bytes\.$"):
        SentenceEmbedder(TINY, cache=cache).fit_transform(TEXTS)


# Threads


def embed_slowly(asked, lock):
    """Embed, and write down what was asked for."""

    def run(texts, on_progress):
        with lock:
            asked.extend(texts)
        time.sleep(0.002)
        on_progress(len(texts))
        vectors = np.array([[hash(text) % 1_000] * SPACE.dim for text in texts], dtype=np.float32)
        return Embedded(vectors, np.array([len(text) % 2 == 0 for text in texts]))

    return run


def ask(cache, texts, run, **how):
    how = {"tokens_per_pass": 20, "on_progress": lambda n: None} | how
    return get_or_compute(cache, SPACE, texts, run, **how)


def assert_right(embedded, texts):
    expected = np.array([[hash(text) % 1_000] * SPACE.dim for text in texts], dtype=np.float32)
    np.testing.assert_array_equal(embedded.vectors, expected)
    assert embedded.truncated.tolist() == [len(text) % 2 == 0 for text in texts]


def test_many_threads_embed_each_text_once(cache):
    asked, lock = [], threading.Lock()
    together = threading.Barrier(8)
    texts = [f"text {i}" for i in range(600)]

    def work(seed):
        mine = random.Random(seed).sample(texts, 400)
        together.wait()
        for part in (mine[:200], mine):
            assert_right(ask(cache, part, embed_slowly(asked, lock)), part)
        return set(mine)

    with ThreadPoolExecutor(8) as threads:
        wanted = set.union(*in_time(lambda: list(threads.map(work, range(8)))))
    assert len(asked) == len(set(asked))
    assert set(asked) == wanted
    assert cache.statistics().misses == len(asked) == cache.statistics().n_texts


def test_many_threads_with_embedders_of_their_own_embed_each_text_once(cache):
    together = threading.Barrier(6)
    texts = [f"the ferry {i}" for i in range(120)]
    expected = embed(texts, cache=None)

    def work(seed):
        order = np.random.default_rng(seed).permutation(len(texts))
        embedder = SentenceEmbedder(TINY, cache=cache, batch_tokens=64).fit(texts)
        together.wait()
        assert_same_rows(embedder.transform([texts[row] for row in order]), expected[order])

    with ThreadPoolExecutor(6) as threads:
        in_time(lambda: list(threads.map(work, range(6))))
    assert cache.statistics().misses == len(texts)


def test_an_error_in_one_thread_holds_up_no_other(cache):
    embedder = SentenceEmbedder(TINY, cache=cache, max_length=12, long_text="error").fit(["?"])
    texts = [f"? {i}" for i in range(60)]
    together = threading.Barrier(6)

    def work(seed):
        mine = random.Random(seed).sample(texts, 50)
        together.wait()
        if seed % 2:
            mine.insert(seed, MARKS)
            with pytest.raises(ValueError, match=f"row {seed}, column 0"):
                embedder.transform(mine)
            mine.remove(MARKS)
        return embedder.transform(mine)

    with ThreadPoolExecutor(6) as threads:
        in_time(lambda: list(threads.map(work, range(6))))
    assert_same_rows(embedder.transform(texts), embed(texts, cache=None))
    assert cache.statistics().misses == len(texts)


def test_who_waits_goes_on_when_the_other_fails(cache):
    begun, go_on, asked = threading.Event(), threading.Event(), []

    def fail(texts, on_progress):
        begun.set()
        go_on.wait()
        raise MemoryError

    def first():
        with pytest.raises(MemoryError):
            ask(cache, ["a", "b"], fail)
        return True

    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(first)
        begun.wait()
        waiting = threads.submit(ask, cache, ["b", "c"], embed_slowly(asked, threading.Lock()))
        time.sleep(0.1)
        assert "b" not in asked
        go_on.set()
        assert_right(waiting.result(LIMIT), ["b", "c"])
        assert failing.result(LIMIT)


def interrupted(action, after=None):
    """Let the user press Ctrl-C, now or after some seconds."""

    def press(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, press)
    try:
        if after:
            signal.setitimer(signal.ITIMER_REAL, after)
        with pytest.raises(KeyboardInterrupt):
            action()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_interrupt_while_it_embeds_holds_up_nobody(cache):
    def press(texts, on_progress):
        signal.raise_signal(signal.SIGALRM)

    run = embed_slowly([], threading.Lock())
    interrupted(lambda: ask(cache, ["a", "b"], press))
    assert_right(in_time(lambda: ask(cache, ["a", "b"], run)), ["a", "b"])


def test_an_interrupt_while_it_waits_holds_up_nobody(cache):
    begun, go_on = threading.Event(), threading.Event()
    run = embed_slowly([], threading.Lock())

    def embed_at_last(texts, on_progress):
        begun.set()
        go_on.wait()
        return run(texts, on_progress)

    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(ask, cache, ["a", "b"], embed_at_last)
        begun.wait()
        interrupted(lambda: ask(cache, ["b"], run), after=0.2)
        go_on.set()
        assert_right(working.result(LIMIT), ["a", "b"])
    assert_right(in_time(lambda: ask(cache, ["a", "b", "c"], run)), ["a", "b", "c"])
    assert cache.statistics().misses == 3


def test_a_call_within_a_call_does_not_wait_for_itself(cache):
    run = embed_slowly([], threading.Lock())
    found = []

    def look_again(n_done):
        if not found:
            found.append(None)
            found[0] = ask(cache, ["a", "b"], run)

    assert_right(in_time(lambda: ask(cache, ["a", "b"], run, on_progress=look_again)), ["a", "b"])
    assert_right(found[0], ["a", "b"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_does_not_wait_for_threads_that_it_does_not_have():
    cache = MemoryCache()
    embedder = SentenceEmbedder(TINY, cache=cache).fit(TEXTS)
    expected = embedder.transform(TEXTS[:1])
    begun, go_on = threading.Event(), threading.Event()

    def hold(texts, on_progress):
        begun.set()
        go_on.wait()
        return load_encoder(TINY).encode(texts)

    def child():
        np.testing.assert_array_equal(embedder.transform(TEXTS[:1]), expected)
        embedder.transform(TEXTS)
        os._exit(7 + cache.statistics().misses)

    space = namespace_for(embedder.encoder_)
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(
            get_or_compute, cache, space, TEXTS, hold, tokens_per_pass=1_000, on_progress=print
        )
        begun.wait()
        process = get_context("fork").Process(target=child)
        process.start()
        process.join(LIMIT)
        process.kill()
        go_on.set()
        held.result(LIMIT)
    assert process.exitcode == 7 + len(TEXTS)


# Copies


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda e: clone(e).fit(TEXTS)])
def test_copies_of_an_embedder_share_a_memory_cache(duplicate):
    cache = MemoryCache()
    embedder = SentenceEmbedder(TINY, cache=cache).fit(TEXTS)
    embedder.transform(TEXTS)
    other = duplicate(embedder)
    assert other.cache is cache
    assert n_embedded_by(cache, lambda: other.transform(TEXTS)) == 0


def test_a_pickle_of_a_memory_cache_is_itself_in_its_process():
    cache = MemoryCache(123_456)
    cache.put(SPACE, records_of("abc"))
    assert pickle.loads(pickle.dumps(cache)) is cache
    assert all(text.encode() not in pickle.dumps(cache) for text in map(str, records_of("abc")))
    assert len(pickle.dumps(cache)) < 200


def test_a_pickled_memory_cache_is_empty_elsewhere_and_lasts_there(tmp_path, run_python):
    cache = MemoryCache(123_456)
    embedder = SentenceEmbedder(TINY, cache=cache, store_weights_in_pickle=False).fit(TEXTS)
    embedder.transform(TEXTS)
    (tmp_path / "pickle").write_bytes(pickle.dumps((embedder, MemoryCache(5))))
    code = """
import gc, pickle, sys
def run():
    with open(sys.argv[1], "rb") as file:
        embedder, other = pickle.load(file)
    embedder.transform(["a", "b"])
    return embedder.cache.statistics(), id(embedder.cache), other.max_bytes, embedder.cache is other
first = run()
gc.collect()
second = run()
print(first[0].misses, second[0].misses, second[0].hits, second[0].max_bytes, first[1:] == second[1:])
print(second[2:])
"""
    printed = run_python(code, tmp_path / "pickle").stdout.split("\n")
    assert printed[:2] == ["2 2 2 123456 True", "(5, False)"]


def test_a_disk_cache_is_copied_by_its_folder(tmp_path):
    cache = DiskCache(tmp_path, max_bytes=1_000_000)
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert (other.path, other.max_bytes) == (cache.path, cache.max_bytes)


# Looking after it


def test_the_default_is_one_cache_for_all_embedders():
    texts = [f"{time.monotonic_ns()} {text}" for text in TEXTS]
    cache = open_cache("memory")
    assert n_embedded_by(cache, lambda: embed(texts)) == len(TEXTS)
    assert n_embedded_by(cache, lambda: embed(texts, cache="memory")) == 0
    assert n_embedded_by(cache, lambda: embed(texts, cache=None)) == 0


def test_statistics_count_hits_misses_and_texts(cache):
    embed(TEXTS, cache=cache)
    embed([*TEXTS[:2], "new", "new"], cache=cache)
    embed(TEXTS, OTHER, cache=cache, normalize=False)
    found = cache.statistics()
    assert (found.n_texts, found.hits, found.misses, found.n_embedded) == (7, 2, 7, 7)
    assert found.max_bytes == cache.max_bytes
    by_model = {space.model: space for space in found.namespaces}
    assert {name: space.n_texts for name, space in by_model.items()} == {
        str(TINY): 4,
        str(OTHER): 3,
    }
    assert by_model[str(TINY)].fingerprint == load_encoder(TINY).fingerprint
    assert by_model[str(TINY)].dim == HIDDEN
    assert 0 < sum(space.n_bytes for space in found.namespaces) <= found.n_bytes
    frame = found.to_frame()
    assert list(frame) == ["model", "fingerprint", "dim", "n_texts", "n_bytes"]
    assert frame["n_texts"].sum() == found.n_texts


def test_statistics_of_an_empty_cache_are_an_empty_frame(cache):
    assert len(cache.statistics().to_frame()) == 0
    assert cache.clear() == 0


@pytest.mark.parametrize("name", [str(TINY), TINY.name, load_encoder(TINY).fingerprint])
def test_clear_drops_the_texts_of_a_model_by_any_of_its_names(name, cache):
    embed(TEXTS, cache=cache)
    embed(TEXTS, cache=cache, pooling="cls")
    embed(TEXTS, OTHER, cache=cache)
    assert cache.clear("tin") == cache.clear("") == cache.clear("iny") == 0
    assert cache.clear(name) == 2 * len(TEXTS)
    assert [space.model for space in cache.statistics().namespaces] == [str(OTHER)]
    assert n_embedded_by(cache, lambda: embed(TEXTS, OTHER, cache=cache)) == 0
    assert n_embedded_by(cache, lambda: embed(TEXTS, cache=cache)) == len(TEXTS)
    assert cache.clear() == 2 * len(TEXTS)
    assert cache.statistics().n_texts == 0


def test_clear_keeps_count_of_the_bytes():
    cache = MemoryCache()
    embed(TEXTS, cache=cache)
    embed(TEXTS, OTHER, cache=cache)
    n_bytes = cache.statistics().n_bytes
    cache.clear(str(OTHER))
    assert cache.statistics().n_bytes == n_bytes // 2
    cache.clear()
    assert cache.statistics().n_bytes == 0


def test_open_cache_returns_what_a_value_stands_for(tmp_path, monkeypatch):
    monkeypatch.setenv("SK_SENTEMB_CACHE", str(tmp_path / "named"))
    memory, disk = MemoryCache(), DiskCache(tmp_path)
    assert open_cache(memory) is memory
    assert open_cache(disk) is disk
    assert open_cache() is open_cache("memory")
    assert open_cache(None) is open_cache(False) is open_cache(np.bool_(False)) is None
    assert open_cache(True).path.parent == open_cache(np.bool_(True)).path.parent
    assert open_cache(True).path.parent == tmp_path / "named"
    assert open_cache(tmp_path).path == open_cache(str(tmp_path)).path == disk.path


@pytest.mark.parametrize("value", [0, 1, 3.5, [], {}, b"folder", object()], ids=repr)
def test_what_is_no_cache_is_an_error(value):
    with pytest.raises(InvalidParameterError, match="The 'cache' parameter of SentenceEmbedder"):
        SentenceEmbedder(TINY, cache=value).fit(TEXTS)
    with pytest.raises(TypeError, match=r"^cache="):
        open_cache(value)


def test_the_empty_name_is_not_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"cache='' is neither .* Pass '\./'"):
        SentenceEmbedder(TINY, cache="").fit_transform(TEXTS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [MemoryCache, lambda n: DiskCache("x", max_bytes=n)])
@pytest.mark.parametrize("max_bytes", [-1, 1e9, "1 GB", None])
def test_a_bound_is_a_number_of_bytes(make, max_bytes):
    with pytest.raises(ValueError, match=r"max_bytes=.*: pass a number of bytes, 0 or more"):
        make(max_bytes)


@pytest.mark.parametrize("max_bytes", [-1, 0.5])
def test_a_bound_is_checked_when_it_is_set(max_bytes):
    cache = MemoryCache(100)
    with pytest.raises(ValueError, match="max_bytes="):
        cache.max_bytes = max_bytes
    assert cache.max_bytes == 100


def frame(texts):
    return pd.DataFrame({"t": texts})


@pytest.mark.parametrize("make", [list, tuple, np.array, pd.Series, pl.Series, pa.array, frame])
@pytest.mark.parametrize("n_rows", [2, 10_000])
def test_prewarm_embeds_what_will_be_wanted(make, n_rows, cache):
    texts = [*TEXTS, *TEXTS, "new"]
    embedder = SentenceEmbedder(TINY, cache=cache)
    prewarm(embedder, make(texts), n_rows=n_rows)
    assert not hasattr(embedder, "encoder_")
    assert cache.statistics().misses == len(TEXTS) + 1
    assert n_embedded_by(cache, lambda: embedder.fit_transform(make(texts))) == 0
    prewarm(embedder, make(["newer"]))
    assert cache.statistics().misses == len(TEXTS) + 2
