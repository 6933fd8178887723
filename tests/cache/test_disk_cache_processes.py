import os
import random
import shutil
import signal
import sqlite3
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache import DiskCache, resilient_store
from sk_sentemb.exceptions import CacheWarning
from tests.cache.disk_cache_helpers import (
    FORK,
    LIMIT,
    MORE,
    SPACE,
    TEXTS,
    count_computed,
    embed,
    journal_of,
    records_of,
    run_in_process,
    run_without_warnings,
    sql,
    start,
    with_cache,
)
from tests.helpers.tiny_models import TINY, assert_same_rows

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, to begin at once"),
]


def test_disk_cache_serves_another_session_bit_for_bit(tmp_path, monkeypatch, run_python):
    monkeypatch.setenv("SK_SENTEMB_CACHE", str(tmp_path / "cache"))
    settings = {"pooling": ["cls", "mean"], "max_length": 9, "long_text": "chunk"}
    expected = SentenceEmbedder(TINY, cache=True, **settings).fit_transform(TEXTS)
    code = """
import sys, numpy as np
from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache import open_cache
texts = [f"the ferry {i} passed the pier" for i in range(40)]
settings = dict(pooling=["cls", "mean"], max_length=9, long_text="chunk")
np.save(sys.argv[2], SentenceEmbedder(sys.argv[1], cache=True, **settings).fit_transform(texts[::-1]))
print(open_cache(True).statistics().misses, open_cache(True).statistics().hits)
"""
    assert run_python(code, TINY, tmp_path / "rows.npy").stdout == "0 40\n"
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy")[::-1], expected)
    assert list((tmp_path / "cache").glob("*.sqlite3"))


def test_disk_cache_serves_another_process(warm):
    assert run_without_warnings(lambda: count_computed(warm, TEXTS[::-1])) == 0
    assert run_without_warnings(lambda: count_computed(warm, [*TEXTS, *MORE])) == len(MORE)
    found = run_without_warnings(warm.statistics)
    assert found.n_texts == found.n_embedded == len(TEXTS) + len(MORE)
    assert (found.hits, found.misses) == (0, 0)


def test_disk_cache_embeds_each_text_once_over_concurrent_processes(tmp_path, tiny):
    expected = tiny.transform(TEXTS)
    together = FORK.Barrier(4)

    def work(seed):
        order = np.random.default_rng(seed).permutation(len(TEXTS))
        embedder = with_cache(tiny, tmp_path / "cache").set_params(batch_tokens=16)
        together.wait()
        assert_same_rows(embedder.transform([TEXTS[row] for row in order]), expected[order])
        return DiskCache(tmp_path / "cache").statistics().misses

    with ThreadPoolExecutor(4) as threads:
        n_misses = list(
            threads.map(lambda seed: run_without_warnings(lambda: work(seed)), range(4))
        )
    assert sum(n_misses) == len(TEXTS)
    assert run_without_warnings(DiskCache(tmp_path / "cache").statistics).n_embedded == len(TEXTS)


def test_waiting_process_gets_the_embeddings_of_the_lease_holder(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    begun = FORK.Event()

    def embed_slowly(texts, on_progress):
        begun.set()
        time.sleep(0.5)
        return embed(texts)

    other = start(count_computed, cache, TEXTS[:5], embed_slowly, 10_000)
    assert begun.wait(LIMIT)
    assert count_computed(cache, TEXTS[:6]) == 1
    other.join(LIMIT)
    assert other.exitcode == 0


def test_failed_call_releases_its_leases(tmp_path):
    cache = DiskCache(tmp_path / "cache")

    def fail(texts, on_progress):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        count_computed(cache, TEXTS, fail)
    before = time.monotonic()
    assert run_without_warnings(lambda: count_computed(cache, TEXTS)) == len(TEXTS)
    assert time.monotonic() - before < 10


def claim_and_die(cache, texts):
    cache.claim(SPACE, SPACE.keys(texts), len(texts))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("is_buried", [True, False])
def test_leases_of_dead_processes_are_ignored(is_buried, warm):
    process = os.fork()
    if process == 0:
        claim_and_die(warm, MORE)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    if is_buried:
        os.waitpid(process, 0)
    before = time.monotonic()
    try:
        assert run_without_warnings(lambda: count_computed(warm, [*TEXTS, *MORE])) == len(MORE)
    finally:
        if not is_buried:
            os.waitpid(process, 0)
    assert time.monotonic() - before < 10


def write_until_killed(cache, seed, begun):
    """Look up and embed what others do at the same time; end at once if anything is wrong."""
    warnings.simplefilter("error")
    choose = random.Random(seed)
    while True:
        # All writers move on together, so that they meet, and there is always something to embed.
        now = int(time.time() * 20)
        texts = [str(choose.randrange(now, now + 20)) for _ in range(12)]
        before = time.monotonic()
        count_computed(cache, list(dict.fromkeys(texts)), tokens_per_pass=1)
        assert time.monotonic() - before < 15
        begun.set()


@pytest.mark.parametrize("n_kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_writers_leave_neither_wrong_records_nor_leases(n_kills, tmp_path):
    cache = DiskCache(tmp_path / "cache")
    choose = random.Random(n_kills)
    seeds = iter(range(n_kills + 4))

    def begin():
        begun = FORK.Event()
        return start(write_until_killed, cache, next(seeds), begun), begun

    writers = [begin() for _ in range(4)]
    try:
        for _ in range(n_kills):
            process, begun = writers.pop(choose.randrange(4))
            assert begun.wait(LIMIT), "a writer came to nothing"
            time.sleep(choose.uniform(0, 0.05))
            assert all(other.is_alive() for other, _ in writers), "a writer failed"
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL, "a writer failed"
            writers.append(begin())
    finally:
        for process, _ in writers:
            process.kill()
            process.join()
    n_rows = check_every_record(cache)
    assert n_rows > n_kills
    assert run_without_warnings(lambda: count_computed(cache, TEXTS)) == len(TEXTS)


def check_every_record(cache):
    """Be sure that the file is sound and that a record is that of its key; return their number."""
    now = int(time.time() * 20)
    text_of = {}
    for first in range(now - 20_000, now + 1_000, 1_000):
        texts = [str(i) for i in range(first, first + 1_000)]
        text_of.update(zip(SPACE.keys(texts), texts, strict=True))
    # A transaction that was under way when the last writer died is taken back here.
    assert sql(cache, "PRAGMA integrity_check") == [("ok",)]
    keys = [key for (key,) in sql(cache, "SELECT key FROM embedding")]
    texts = [text_of[key] for key in keys]
    assert run_without_warnings(lambda: cache.get(SPACE, keys)) == SPACE.serialize(embed(texts))
    return len(keys)


def test_embedders_survive_killed_processes(tmp_path, tiny):
    expected = tiny.transform([*TEXTS, *MORE])
    choose = random.Random(0)

    def work(seed):
        warnings.simplefilter("error", CacheWarning)
        order = np.random.default_rng(seed).permutation(len(expected))
        embedder = with_cache(tiny, tmp_path / "cache").set_params(batch_tokens=8)
        found = embedder.transform([[*TEXTS, *MORE][row] for row in order])
        assert_same_rows(found, expected[order])

    before = time.monotonic()
    writers = [start(work, seed) for seed in range(6)]
    for process in writers[:3]:
        time.sleep(choose.uniform(0.02, 0.2))
        process.kill()
        process.join()
    for process in writers[3:]:
        process.join(LIMIT)
    assert [process.exitcode for process in writers[3:]] == [0, 0, 0]
    assert time.monotonic() - before < LIMIT
    assert run_without_warnings(lambda: work(9)) is None


def die_in_mid_transaction(cache):
    """Leave a journal that has to be played back."""
    db = sqlite3.connect(cache.path, isolation_level=None)
    db.execute("PRAGMA journal_mode = TRUNCATE")
    db.execute("PRAGMA cache_size = 1")
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE embedding SET record = zeroblob(length(record))")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def with_journal(tmp_path):
    """A cache as somebody left it who was killed while writing."""
    cache = DiskCache(tmp_path / "cache")
    many = [f"gull {i}" for i in range(2_000)]
    run_without_warnings(lambda: count_computed(cache, many, tokens_per_pass=10_000))
    process = start(die_in_mid_transaction, cache)
    process.join(LIMIT)
    assert process.exitcode == -signal.SIGKILL
    assert journal_of(cache).stat().st_size > 10_000
    return cache, many


def test_store_rolls_back_an_unfinished_transaction(with_journal):
    cache, texts = with_journal
    assert run_without_warnings(lambda: count_computed(cache, texts)) == 0
    assert not journal_of(cache).exists() or journal_of(cache).stat().st_size == 0


@pytest.mark.parametrize("instead", ["nothing", "noise", "empty", "another"])
def test_store_ignores_the_journal_of_another_file(instead, with_journal, tmp_path):
    cache, texts = with_journal
    if instead == "nothing":
        cache.path.unlink()
    elif instead == "another":
        other = DiskCache(tmp_path / "other")
        run_without_warnings(lambda: count_computed(other, TEXTS))
        shutil.copy(other.path, cache.path)
    else:
        cache.path.write_bytes(b"" if instead == "empty" else random.Random(0).randbytes(50_000))
    for _ in range(2):
        run_in_process(lambda: count_computed(cache, [*TEXTS, *texts]))
    assert run_without_warnings(lambda: count_computed(cache, [*TEXTS, *texts])) == 0
    assert sql(cache, "PRAGMA integrity_check") == [("ok",)]


def test_fork_during_a_transaction_harms_neither_process(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    count_computed(cache, TEXTS)
    stop = threading.Event()

    def write():
        n_written = 0
        while not stop.is_set():
            cache.put(SPACE, records_of([f"gull {n_written} {i}" for i in range(200)]))
            n_written += 200
            time.sleep(0.002)  # SQLite lets no other process in between otherwise
        return n_written

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        for i in range(15):
            mine = [f"child {i} {j}" for j in range(20)]
            time.sleep(0.003 * i % 0.01)
            assert run_without_warnings(
                lambda mine=mine: count_computed(cache, [*TEXTS, *mine])
            ) == len(mine)
        stop.set()
        n_written = writing.result(LIMIT)
    assert sql(cache, "PRAGMA integrity_check") == [("ok",)]
    assert run_without_warnings(cache.statistics).n_texts == len(TEXTS) + n_written + 15 * 20


def test_forked_child_with_a_store_exits_normally(warm):
    count_computed(warm, TEXTS)
    process = os.fork()
    if process == 0:
        try:
            assert count_computed(warm, [*TEXTS, *MORE]) == len(MORE)
            resilient_store._STORES.clear()  # closes what was open in the parent, too
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert count_computed(warm, [*TEXTS, *MORE, "new"]) == 1
    assert sql(warm, "PRAGMA integrity_check") == [("ok",)]
