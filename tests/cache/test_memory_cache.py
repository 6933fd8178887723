import copy
import os
import random
import signal
import threading
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from sk_sentemb import SentenceEmbedder, load_encoder
from sk_sentemb.cache import MemoryCache
from sk_sentemb.cache.memory import ENTRY_BYTES
from sk_sentemb.cache.namespace import Namespace, namespace_for
from sk_sentemb.cache.single_flight import get_or_compute
from sk_sentemb.encoder import Embedded
from sk_sentemb.exceptions import CacheWarning
from tests.cache.memory_cache_helpers import MARKS, SPACE, TEXTS, embed, records_of
from tests.helpers.checkpoints import HIDDEN
from tests.helpers.tiny_models import (
    TINY,
    assert_same_rows,
)

pytestmark = pytest.mark.usefixtures("one_thread")


LIMIT = 20.0


def in_time(action):
    """Call in a thread, because what should not hang may hang."""
    done = []
    thread = threading.Thread(target=lambda: done.append(action()), daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive(), f"not done within {LIMIT} seconds"
    assert done, "raised"
    return done[0]


def room_for(n, space=SPACE):
    return n * (space.record_bytes + ENTRY_BYTES)


def texts_in(cache, texts, space=SPACE):
    """Look without touching: what was asked for goes last."""
    there = copy.copy(cache._records)
    return [text for text, key in zip(texts, space.keys(texts), strict=True) if key in there]


def test_memory_cache_evicts_the_least_recently_used():
    cache = MemoryCache(room_for(3))
    cache.put(SPACE, records_of("abc"))
    cache.get(SPACE, SPACE.keys("a"))
    cache.put(SPACE, records_of("d"))
    assert texts_in(cache, "abcd") == ["a", "c", "d"]
    cache.get(SPACE, SPACE.keys("cxa"))
    cache.put(SPACE, records_of("ef"))
    assert texts_in(cache, "abcdef") == ["a", "e", "f"]


def test_memory_cache_evicts_like_a_plain_list():
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


def test_memory_cache_recomputes_evicted_texts():
    cache = MemoryCache(3 * (4 * HIDDEN + 1 + ENTRY_BYTES))
    embedder = SentenceEmbedder(TINY, cache=cache).fit(["a"])
    n_misses = []
    for asked in ("abc", "a", "d", "ca", "b", "d"):
        embedder.transform(list(asked))
        n_misses.append(cache.statistics().misses)
    assert np.diff(n_misses, prepend=0).tolist() == [3, 0, 1, 0, 1, 1]


def test_memory_cache_counts_the_bytes_that_python_takes():
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


def test_memory_cache_without_room_warns_and_gives_the_right_rows():
    cache = MemoryCache(0)
    with pytest.warns(CacheWarning, match=r"^3 texts of .*tiny' do not fit into MemoryCache\(max_"):
        found = SentenceEmbedder(TINY, cache=cache).fit_transform(TEXTS)
    assert_same_rows(found, embed(TEXTS, cache=None))
    assert cache.statistics().n_texts == cache.statistics().n_bytes == 0


def test_memory_cache_with_exact_room_does_not_warn():
    cache = MemoryCache(len(TEXTS) * (4 * HIDDEN + 1 + ENTRY_BYTES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SentenceEmbedder(TINY, cache=cache).fit_transform(TEXTS)
    cache.max_bytes -= 1
    assert cache.statistics().n_texts == len(TEXTS) - 1
    with pytest.warns(CacheWarning, match=r"Increase its max_bytes\.$"):
        SentenceEmbedder(TINY, cache=cache).fit_transform(TEXTS)


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


def test_memory_cache_computes_each_text_once_over_threads(cache):
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


def test_embedders_of_many_threads_compute_each_text_once(cache):
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


def test_error_in_a_thread_releases_its_leases(cache):
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


def test_waiting_thread_computes_when_the_lease_holder_fails(cache):
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


def test_interrupt_while_computing_releases_leases(cache):
    def press(texts, on_progress):
        signal.raise_signal(signal.SIGALRM)

    run = embed_slowly([], threading.Lock())
    interrupted(lambda: ask(cache, ["a", "b"], press))
    assert_right(in_time(lambda: ask(cache, ["a", "b"], run)), ["a", "b"])


def test_interrupt_while_waiting_releases_leases(cache):
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


def test_nested_calls_do_not_wait_for_their_own_leases(cache):
    run = embed_slowly([], threading.Lock())
    found = []

    def look_again(n_done):
        if not found:
            found.append(None)
            found[0] = ask(cache, ["a", "b"], run)

    assert_right(in_time(lambda: ask(cache, ["a", "b"], run, on_progress=look_again)), ["a", "b"])
    assert_right(found[0], ["a", "b"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_child_drops_the_leases_of_threads_of_its_parent():
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
