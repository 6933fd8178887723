import hashlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import stat
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache import DiskCache, resilient_store, sqlite_store
from sk_sentemb.cache.namespace import FORMAT, Namespace
from sk_sentemb.cache.single_flight import get_or_compute
from sk_sentemb.encoder import Embedded
from sk_sentemb.exceptions import CacheWarning
from tests.helpers.tiny_models import OTHER, TINY, assert_same_rows

TEXTS = [f"the ferry {i} passed the pier" for i in range(40)]
MORE = [f"nobody remembers the storm {i}" for i in range(10)]
LIMIT = 30.0
NOBODY = 65534

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, to begin at once"),
]


# A model that any process can run without loading anything: vectors are made from the text's digest.

SPACE = Namespace(bytes(range(32)), model="some/model", fingerprint="f00d", dim=16)


def embed(texts, on_progress=None):
    digests = [hashlib.blake2b(text.encode(), digest_size=SPACE.dim).digest() for text in texts]
    vectors = np.array([list(digest) for digest in digests], dtype=np.float32)
    return Embedded(vectors.reshape(-1, SPACE.dim), np.array([d[0] > 99 for d in digests], bool))


def ask(cache, texts, run=embed, tokens_per_pass=50):
    """Get vectors, be sure that they are right, and return how many texts had to be embedded."""
    n_embedded = 0

    def count(asked, on_progress):
        nonlocal n_embedded
        n_embedded += len(asked)
        return run(asked, on_progress)

    found = get_or_compute(
        cache, SPACE, texts, count, tokens_per_pass=tokens_per_pass, on_progress=lambda n: None
    )
    assert_right(found, texts)
    return n_embedded


def assert_right(found, texts):
    expected = embed(texts)
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    np.testing.assert_array_equal(found.truncated, expected.truncated)


def records_of(texts):
    return dict(zip(SPACE.keys(texts), SPACE.serialize(embed(texts)), strict=True))


# Processes

FORK = get_context("fork")


def start(action, *arguments):
    process = FORK.Process(target=action, args=arguments, daemon=True)
    process.start()
    return process


def elsewhere(action):
    """Call in a process of its own; return what it returns, and what its cache warned of."""
    ours, theirs = FORK.Pipe(duplex=False)

    def run():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                answer = action()
            except BaseException as error:
                theirs.send(error)
                raise
        said = [str(w.message) for w in caught if issubclass(w.category, CacheWarning)]
        theirs.send((answer, said))

    process = start(run)
    theirs.close()
    try:
        assert ours.poll(LIMIT), f"not done within {LIMIT} seconds"
        answer = ours.recv()
    finally:
        process.kill()
        process.join()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def calmly(action):
    """Call in a process of its own, where the cache may not warn of anything."""
    answer, said = elsewhere(action)
    assert said == []
    return answer


def as_nobody():
    """Become a user to whom permissions apply."""
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)


@pytest.fixture
def public():
    """A folder that another user can reach."""
    with TemporaryDirectory(prefix="sk_sentemb-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        for path in Path(folder).rglob("*"):
            path.chmod(0o755)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The file of a cache with texts, and with claims of a process that is gone."""
    cache = DiskCache(tmp_path_factory.mktemp("cache"))
    calmly(lambda: (ask(cache, TEXTS), cache.claim(SPACE, SPACE.keys(MORE), 3)))
    return cache.path


@pytest.fixture
def copies(filled, tmp_path):
    """Make caches that another process has filled."""

    def make(n):
        caches = [DiskCache(tmp_path / f"cache{i}") for i in range(n)]
        for cache in caches:
            cache.path.parent.mkdir()
            shutil.copy(filled, cache.path)
        return caches

    return make


@pytest.fixture
def warm(copies):
    return copies(1)[0]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(sqlite_store, "_PATIENCE", 0.3)


def sql(cache, *statements):
    """Reach into the file."""
    db = sqlite3.connect(cache.path, isolation_level=None)
    try:
        return [db.execute(statement).fetchall() for statement in statements][-1]
    finally:
        db.close()


# Shared by processes and sessions


@pytest.fixture(scope="module")
def tiny():
    return SentenceEmbedder(TINY, cache=None).fit(TEXTS)


def with_cache(embedder, cache):
    return SentenceEmbedder(embedder.encoder_, cache=cache).fit(TEXTS)


def test_another_session_finds_everything_bit_for_bit(tmp_path, monkeypatch, run_python):
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


def test_another_process_finds_everything(warm):
    assert calmly(lambda: ask(warm, TEXTS[::-1])) == 0
    assert calmly(lambda: ask(warm, [*TEXTS, *MORE])) == len(MORE)
    found = calmly(warm.statistics)
    assert found.n_texts == found.n_embedded == len(TEXTS) + len(MORE)
    assert (found.hits, found.misses) == (0, 0)


def test_processes_at_once_embed_each_text_once(tmp_path, tiny):
    expected = tiny.transform(TEXTS)
    together = FORK.Barrier(4)

    def work(seed):
        order = np.random.default_rng(seed).permutation(len(TEXTS))
        embedder = with_cache(tiny, tmp_path / "cache").set_params(batch_tokens=16)
        together.wait()
        assert_same_rows(embedder.transform([TEXTS[row] for row in order]), expected[order])
        return DiskCache(tmp_path / "cache").statistics().misses

    with ThreadPoolExecutor(4) as threads:
        n_misses = list(threads.map(lambda seed: calmly(lambda: work(seed)), range(4)))
    assert sum(n_misses) == len(TEXTS)
    assert calmly(DiskCache(tmp_path / "cache").statistics).n_embedded == len(TEXTS)


def test_who_waits_gets_what_the_other_process_embedded(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    begun = FORK.Event()

    def embed_slowly(texts, on_progress):
        begun.set()
        time.sleep(0.5)
        return embed(texts)

    other = start(ask, cache, TEXTS[:5], embed_slowly, 10_000)
    assert begun.wait(LIMIT)
    assert ask(cache, TEXTS[:6]) == 1
    other.join(LIMIT)
    assert other.exitcode == 0


def test_a_call_that_fails_leaves_its_texts_to_other_processes(tmp_path):
    cache = DiskCache(tmp_path / "cache")

    def fail(texts, on_progress):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(cache, TEXTS, fail)
    before = time.monotonic()
    assert calmly(lambda: ask(cache, TEXTS)) == len(TEXTS)
    assert time.monotonic() - before < 10


# Killed at any instant


def claim_and_die(cache, texts):
    cache.claim(SPACE, SPACE.keys(texts), len(texts))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("is_buried", [True, False])
def test_nobody_waits_for_the_dead(is_buried, warm):
    process = os.fork()
    if process == 0:
        claim_and_die(warm, MORE)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    if is_buried:
        os.waitpid(process, 0)
    before = time.monotonic()
    try:
        assert calmly(lambda: ask(warm, [*TEXTS, *MORE])) == len(MORE)
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
        ask(cache, list(dict.fromkeys(texts)), tokens_per_pass=1)
        assert time.monotonic() - before < 15
        begun.set()


@pytest.mark.parametrize("n_kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_writers_leave_no_wrong_record_and_hold_up_nobody(n_kills, tmp_path):
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
    assert calmly(lambda: ask(cache, TEXTS)) == len(TEXTS)


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
    assert calmly(lambda: cache.get(SPACE, keys)) == SPACE.serialize(embed(texts))
    return len(keys)


def test_embedders_outlive_the_killed(tmp_path, tiny):
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
    assert calmly(lambda: work(9)) is None


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
    calmly(lambda: ask(cache, many, tokens_per_pass=10_000))
    process = start(die_in_mid_transaction, cache)
    process.join(LIMIT)
    assert process.exitcode == -signal.SIGKILL
    assert journal_of(cache).stat().st_size > 10_000
    return cache, many


def journal_of(cache):
    return cache.path.with_name(cache.path.name + "-journal")


def test_an_unfinished_transaction_is_taken_back(with_journal):
    cache, texts = with_journal
    assert calmly(lambda: ask(cache, texts)) == 0
    assert not journal_of(cache).exists() or journal_of(cache).stat().st_size == 0


@pytest.mark.parametrize("instead", ["nothing", "noise", "empty", "another"])
def test_a_journal_does_no_harm_to_a_file_that_it_is_not_of(instead, with_journal, tmp_path):
    cache, texts = with_journal
    if instead == "nothing":
        cache.path.unlink()
    elif instead == "another":
        other = DiskCache(tmp_path / "other")
        calmly(lambda: ask(other, TEXTS))
        shutil.copy(other.path, cache.path)
    else:
        cache.path.write_bytes(b"" if instead == "empty" else random.Random(0).randbytes(50_000))
    for _ in range(2):
        elsewhere(lambda: ask(cache, [*TEXTS, *texts]))
    assert calmly(lambda: ask(cache, [*TEXTS, *texts])) == 0
    assert sql(cache, "PRAGMA integrity_check") == [("ok",)]


# Damage


def overwrite(path, start, content):
    with path.open("r+b") as file:
        file.seek(start, os.SEEK_SET if start >= 0 else os.SEEK_END)
        file.write(content)


def noise(n):
    return random.Random(n).randbytes(n)


DAMAGE = {
    "noise everywhere": lambda path: overwrite(path, 0, noise(path.stat().st_size)),
    "noise in the header": lambda path: overwrite(path, 0, noise(100)),
    "noise in the first page": lambda path: overwrite(path, 100, noise(4_000)),
    "noise at the end": lambda path: overwrite(path, -30_000, noise(30_000)),
    "half of it": lambda path: os.truncate(path, path.stat().st_size // 2),
    "100 bytes": lambda path: os.truncate(path, 100),
    "nothing": lambda path: os.truncate(path, 0),
    "zeros": lambda path: overwrite(path, 0, bytes(path.stat().st_size)),
    "another file": lambda path: path.write_text("This is a letter, not a cache.\n" * 1_000),
    "tables of others": lambda path: replace_by_other_tables(path),
}


def replace_by_other_tables(path):
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE embedding (what TEXT)")
    db.execute(f"PRAGMA user_version = {FORMAT}")
    db.commit()
    db.close()


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_costs_a_warning_and_the_time_to_embed_again(name, warm, tiny):
    expected = tiny.transform(TEXTS)
    calmly(lambda: with_cache(tiny, warm).transform(TEXTS))
    DAMAGE[name](warm.path)
    (rows, n_embedded), said = elsewhere(
        lambda: (with_cache(tiny, warm).transform(TEXTS), ask(warm, TEXTS))
    )
    assert_same_rows(rows, expected)
    if name != "nothing":  # an empty file is one that is about to be filled
        assert n_embedded > 0
        assert said
    assert all(str(warm.path) in message and "embedded again" in message for message in said)
    calmly(lambda: ask(warm, TEXTS))
    assert calmly(lambda: ask(warm, TEXTS)) == 0


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_while_the_file_is_open_gives_no_wrong_row(name, warm):
    def work():
        assert ask(warm, TEXTS[:5]) == 0
        DAMAGE[name](warm.path)
        ask(warm, [*TEXTS, *MORE])
        return ask(warm, TEXTS)

    n_embedded, _ = elsewhere(work)
    assert n_embedded == 0
    elsewhere(lambda: ask(warm, [*TEXTS, *MORE]))
    assert calmly(lambda: ask(warm, [*TEXTS, *MORE])) == 0


def outlive(caches):
    """Use damaged caches in one process, and be sure that they are mended for the next."""

    def use():
        for cache in caches:
            before = time.monotonic()
            ask(cache, [*TEXTS, *MORE])
            cache.statistics()
            cache.clear("nobody")
            assert time.monotonic() - before < 10

    elsewhere(use)
    for n_embedded in elsewhere(lambda: [ask(cache, [*TEXTS, *MORE]) for cache in caches])[0]:
        assert n_embedded == 0


def test_a_byte_that_flips_anywhere_gives_no_wrong_row(copies):
    caches = copies(30)
    for seed, cache in enumerate(caches):
        choose = random.Random(seed)
        content = cache.path.read_bytes()
        # Half of the times where it matters most, because most of a small file is unused.
        places = [choose.randrange(len(content)), _place_of_some_record(content, choose)]
        where = places[seed % 2]
        overwrite(cache.path, where, bytes([content[where] ^ choose.randrange(1, 256)]))
    outlive(caches)


def _place_of_some_record(content, choose):
    key = choose.choice(SPACE.keys(TEXTS))
    places = [i for i in range(len(content)) if content.startswith(key, i)]
    return choose.choice(places) + choose.randrange(-8, 90)


def test_a_damaged_record_is_embedded_again_and_replaced(warm):
    sql(warm, "UPDATE embedding SET record = zeroblob(length(record)) WHERE rowid % 4 = 0")
    n_embedded, said = elsewhere(lambda: ask(warm, TEXTS))
    assert n_embedded == len(TEXTS) // 4
    assert [message.split()[0] for message in said] == [str(n_embedded)]
    assert "are damaged; their texts are embedded again" in said[0]
    assert calmly(lambda: ask(warm, TEXTS)) == 0


def test_a_record_under_another_key_is_not_taken(warm):
    # As where an index points to a row that is not its own.
    sql(
        warm,
        "CREATE TABLE moved AS SELECT key, batch, (SELECT record FROM embedding AS other "
        "WHERE other.rowid = embedding.rowid % 40 + 1) FROM embedding",
        "DELETE FROM embedding",
        "INSERT INTO embedding SELECT * FROM moved",
    )
    n_embedded, _ = elsewhere(lambda: ask(warm, TEXTS))
    assert n_embedded == len(TEXTS)


@pytest.mark.parametrize(
    "column",
    [
        *("embedding.key", "embedding.batch", "embedding.record", "batch.prefix", "batch.used"),
        *("space.model", "space.fingerprint", "space.dim", "space.n_embedded"),
        *("claim.owner", "claim.until"),
    ],
)
def test_any_value_in_any_column_gives_no_wrong_row(column, copies, monkeypatch):
    monkeypatch.setattr(
        sqlite_store, "_LEASE", 2.0
    )  # of an owner who cannot be told from a stranger
    table, name = column.split(".")
    some = " WHERE rowid = 7" if column == "embedding.key" else ""
    values = ["NULL", "'a text'", "x'ff00'", "-1", "1e300"]
    caches = copies(len(values))
    for cache, value in zip(caches, values, strict=True):
        sql(
            cache,
            f"UPDATE claim SET until = {time.time() + 2}",
            f"UPDATE {table} SET {name} = {value}{some}",
        )
    outlive(caches)


def test_a_claim_that_never_ends_is_void(warm):
    sql(warm, "UPDATE claim SET owner = 'another 1', until = 1e300")
    assert calmly(lambda: ask(warm, MORE)) == len(MORE)


def test_who_sees_damage_last_leaves_the_file_that_another_began(warm):
    late = sqlite_store.Store(warm.path)
    assert len(late.get(SPACE.keys(TEXTS), SPACE.record_bytes)) == len(TEXTS)
    overwrite(warm.path, 0, noise(10_000))
    elsewhere(lambda: ask(warm, [*TEXTS, *MORE]))
    late.replace_damaged()
    assert calmly(lambda: ask(warm, [*TEXTS, *MORE])) == 0


def test_a_file_of_an_older_version_is_begun_anew(warm):
    sql(warm, "PRAGMA user_version = -1")
    n_embedded, said = elsewhere(lambda: ask(warm, TEXTS))
    assert n_embedded == len(TEXTS)
    assert [f"it has version -1; this package writes version {FORMAT}" in m for m in said] == [True]
    assert calmly(lambda: ask(warm, TEXTS)) == 0


@pytest.mark.parametrize("journal", ["TRUNCATE", "WAL"])
def test_a_file_of_a_newer_version_is_left_alone(journal, warm):
    sql(warm, f"PRAGMA journal_mode = {journal}", f"PRAGMA user_version = {FORMAT + 1}")
    content = warm.path.read_bytes()
    n_embedded, said = elsewhere(lambda: ask(warm, TEXTS) + ask(warm, MORE))
    assert n_embedded == len(TEXTS) + len(MORE)
    assert f"it has version {FORMAT + 1}; this package writes version {FORMAT}" in said[0]
    assert elsewhere(lambda: warm.clear())[0] == 0
    assert warm.path.read_bytes() == content


# What may stand in the way


@pytest.mark.parametrize("content", [["in the way"], []])
def test_a_folder_in_the_place_of_the_file_stays(content, tmp_path):
    cache = DiskCache(tmp_path)
    cache.path.mkdir()
    for name in content:
        (cache.path / name).touch()
    n_embedded, said = elsewhere(lambda: ask(cache, TEXTS) + ask(cache, TEXTS))
    assert n_embedded == len(TEXTS)
    assert said
    assert [path.name for path in cache.path.iterdir()] == content


def test_a_file_in_the_place_of_the_folder_stays(tmp_path):
    (tmp_path / "file").write_text("a letter")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        n_embedded, said = elsewhere(lambda folder=folder: ask(DiskCache(folder), TEXTS))
        assert n_embedded == len(TEXTS)
        assert str(folder) in said[0]
    assert (tmp_path / "file").read_text() == "a letter"


def limit_files(n_bytes):
    """Let no file of this process grow beyond a size, as if the disk were full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


@pytest.mark.parametrize("more_bytes", [0, 10_000, 40_000])
def test_a_full_disk_costs_a_warning_and_what_is_there_is_found(more_bytes, warm, tiny):
    calmly(lambda: with_cache(tiny, warm).transform(TEXTS))
    # So long ago that this use is worth writing down, which cannot be done.
    sql(warm, "UPDATE batch SET used = 0")
    many = [f"gull {i}" for i in range(400)]

    def work():
        limit_files(warm.path.stat().st_size + more_bytes)
        rows = with_cache(tiny, warm).transform([*TEXTS, *MORE])
        statistics = warm.statistics()
        return rows, statistics.hits, statistics.misses, ask(warm, TEXTS), ask(warm, many)

    (rows, n_hits, n_misses, n_again, n_new), said = elsewhere(work)
    assert_same_rows(rows, tiny.transform([*TEXTS, *MORE]))
    assert (n_hits, n_misses) == (len(TEXTS), len(MORE))
    assert (n_again, n_new) == (0, len(many))
    assert any("cannot be written: " in message for message in said)
    assert all("Free some space" in message for message in said)
    assert calmly(lambda: ask(warm, [*TEXTS, *many])) >= 0
    assert calmly(lambda: ask(warm, [*TEXTS, *many])) == 0


def test_no_room_for_the_file_itself_is_a_warning(tmp_path):
    def work():
        limit_files(1_000)
        return ask(DiskCache(tmp_path), TEXTS)

    n_embedded, said = elsewhere(work)
    assert n_embedded == len(TEXTS)
    assert said
    assert calmly(lambda: ask(DiskCache(tmp_path), TEXTS)) == len(TEXTS)


def test_who_cannot_write_holds_up_nobody_else(warm):
    failed, go_on = FORK.Event(), FORK.Event()
    many = [f"gull {i}" for i in range(300)]

    def work():
        warnings.simplefilter("ignore", CacheWarning)
        limit_files(warm.path.stat().st_size)
        ask(warm, many, tokens_per_pass=10_000)
        failed.set()
        go_on.wait()

    other = start(work)
    assert failed.wait(LIMIT)
    before = time.monotonic()
    ask(warm, many)
    go_on.set()
    other.join(LIMIT)
    assert time.monotonic() - before < 10
    assert other.exitcode == 0


@pytest.mark.parametrize("writable", ["nothing", "file", "folder"])
def test_a_warm_cache_serves_where_it_cannot_be_written(writable, public):
    cache = DiskCache(public / "cache")
    calmly(lambda: ask(cache, TEXTS))
    sql(cache, "UPDATE batch SET used = 0")
    cache.path.chmod(0o666 if writable == "file" else 0o444)
    cache.path.parent.chmod(0o777 if writable == "folder" else 0o555)
    content = cache.path.read_bytes()

    def hit():
        as_nobody()
        return ask(cache, TEXTS)

    def miss():
        as_nobody()
        return ask(cache, [*TEXTS, *MORE])

    assert calmly(hit) == 0
    n_embedded, said = elsewhere(miss)
    assert n_embedded == len(MORE)
    assert "cannot be written" in said[0]
    assert cache.path.read_bytes() == content


def test_a_cache_of_another_user_is_a_warning(public):
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    cache = DiskCache(public / "cache")
    calmly(lambda: ask(cache, TEXTS))
    cache.path.parent.chmod(0o755)

    def work():
        as_nobody()
        return ask(cache, TEXTS)

    n_embedded, said = elsewhere(work)
    assert n_embedded == len(TEXTS)
    assert said


def test_a_folder_that_cannot_be_made_is_a_warning(public):
    def work():
        as_nobody()
        return ask(DiskCache(public / "closed" / "cache"), TEXTS)

    (public / "closed").mkdir(mode=0o555)
    n_embedded, said = elsewhere(work)
    assert n_embedded == len(TEXTS)
    assert "Permission denied" in said[0]
    assert list((public / "closed").iterdir()) == []


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_that_is_deleted_while_it_is_open_is_made_anew(what, warm):
    def work():
        assert ask(warm, TEXTS[:5]) == 0
        shutil.rmtree(warm.path.parent) if what == "folder" else warm.path.unlink()
        return ask(warm, MORE)

    assert calmly(work) == len(MORE)
    assert calmly(lambda: ask(warm, MORE)) == 0


# Locked for long


class Holder:
    """Another program that holds on to the file."""

    def __init__(self, cache, *statements):
        self.db = sqlite3.connect(cache.path, isolation_level=None, check_same_thread=False)
        for statement in statements:
            self.db.execute(statement).fetchone()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.db.rollback()
        self.db.close()


READING = ("BEGIN", "SELECT key, record FROM embedding")
WRITING = ("BEGIN EXCLUSIVE",)


def test_a_lock_is_not_waited_for_without_end(warm, impatient, monkeypatch):
    with Holder(warm, *WRITING):
        before = time.monotonic()
        with pytest.warns(
            CacheWarning, match=r"cannot be read: database is locked\. For the next minute"
        ):
            assert ask(warm, TEXTS) == len(TEXTS)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # and then not for a while
            assert ask(warm, [*TEXTS, *MORE]) == len(MORE)
        assert time.monotonic() - before < 10
    monkeypatch.setattr(resilient_store, "_RETRY_SECONDS", 0.0)
    assert calmly(lambda: ask(warm, TEXTS)) == 0


def test_what_could_not_be_read_is_not_waited_for_when_the_lock_is_gone(warm, impatient):
    with Holder(warm, *WRITING), pytest.warns(CacheWarning, match="cannot be read"):
        warm.get(SPACE, SPACE.keys(TEXTS[:1]))
    before = time.monotonic()
    assert ask(warm, TEXTS) == len(TEXTS)
    assert time.monotonic() - before < 10


def test_what_is_found_counts_where_its_use_cannot_be_written_down(warm, impatient):
    sql(warm, "UPDATE batch SET used = 0")
    with Holder(warm, "BEGIN IMMEDIATE"), pytest.warns(CacheWarning, match="cannot be written"):
        assert ask(warm, TEXTS) == 0


def test_a_reader_that_holds_on_costs_no_record(warm, impatient, monkeypatch):
    # A writer has to wait for it when it is about to finish.
    monkeypatch.setattr(resilient_store, "_RETRY_SECONDS", 0.0)
    with Holder(warm, *READING), pytest.warns(CacheWarning, match="cannot be written: database is"):
        assert ask(warm, MORE[:5]) == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ask(warm, MORE) == 5
    assert calmly(lambda: ask(warm, TEXTS)) == 0
    assert sql(warm, "BEGIN EXCLUSIVE") == []


def test_an_interrupt_while_it_waits_for_the_file_holds_up_no_thread(warm, impatient):
    ask(warm, TEXTS[:1])

    def press(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, press)
    try:
        with Holder(warm, "BEGIN IMMEDIATE"), warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                ask(warm, MORE)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert in_a_thread(lambda: ask(warm, MORE)) == len(MORE)


def test_a_warning_that_is_an_error_holds_up_no_thread(tmp_path):
    (tmp_path / "file").touch()
    cache = DiskCache(tmp_path / "file")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(CacheWarning):
                ask(cache, TEXTS)
        with pytest.raises(CacheWarning):
            cache.claim(SPACE, SPACE.keys(TEXTS), 5)
    with pytest.warns(CacheWarning):
        assert ask(cache, TEXTS) == len(TEXTS)
    assert in_a_thread(lambda: ask(cache, TEXTS)) == 0


def in_a_thread(action):
    done = []
    thread = threading.Thread(target=lambda: done.append(action()), daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert done, f"not done within {LIMIT} seconds, or raised"
    return done[0]


# Forks


def test_a_fork_in_mid_transaction_harms_neither_process(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    ask(cache, TEXTS)
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
            assert calmly(lambda mine=mine: ask(cache, [*TEXTS, *mine])) == len(mine)
        stop.set()
        n_written = writing.result(LIMIT)
    assert sql(cache, "PRAGMA integrity_check") == [("ok",)]
    assert calmly(cache.statistics).n_texts == len(TEXTS) + n_written + 15 * 20


def test_a_forked_child_may_end_as_any_program_does(warm):
    ask(warm, TEXTS)
    process = os.fork()
    if process == 0:
        try:
            assert ask(warm, [*TEXTS, *MORE]) == len(MORE)
            resilient_store._STORES.clear()  # closes what was open in the parent, too
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert ask(warm, [*TEXTS, *MORE, "new"]) == 1
    assert sql(warm, "PRAGMA integrity_check") == [("ok",)]


# The bound


def test_the_file_stays_below_its_bound(tmp_path):
    cache = DiskCache(tmp_path, max_bytes=400_000)
    sizes = []

    def work():
        for turn in range(40):
            cache.put(SPACE, records_of([f"gull {turn} {i}" for i in range(200)]))
            sizes.append(cache.path.stat().st_size)
        return sizes, cache.statistics()

    sizes, statistics = calmly(work)
    turn = sizes[1] - sizes[0]
    assert sizes[5] > sizes[0]
    assert max(sizes) <= cache.max_bytes + turn
    assert statistics.n_bytes <= cache.max_bytes
    assert 1_000 < statistics.n_texts < 8_000
    assert statistics.n_embedded == 8_000
    assert calmly(lambda: ask(cache, [f"gull 39 {i}" for i in range(200)])) == 0
    assert calmly(lambda: ask(cache, [f"gull 0 {i}" for i in range(200)])) == 200


def test_a_lower_bound_makes_the_file_smaller(tmp_path):
    for turn in range(10):
        texts = [f"gull {turn} {i}" for i in range(500)]
        calmly(lambda texts=texts: DiskCache(tmp_path).put(SPACE, records_of(texts)))
    lower = DiskCache(tmp_path, max_bytes=300_000)
    assert lower.path.stat().st_size > 600_000
    calmly(lambda: ask(lower, TEXTS))
    assert lower.path.stat().st_size < 350_000


def test_what_no_process_used_for_longest_goes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_store, "_TOLERANCE", 0.0)
    cache = DiskCache(tmp_path)
    batches = [[f"gull {turn} {i}" for i in range(300)] for turn in range(4)]
    for texts in batches:
        calmly(lambda texts=texts: cache.put(SPACE, records_of(texts)))
    sql(cache, "UPDATE batch SET used = id")
    # A single one of its texts keeps a batch.
    assert calmly(lambda: ask(cache, batches[0][:1])) == 0
    tight = DiskCache(tmp_path, max_bytes=calmly(cache.statistics).n_bytes)
    calmly(lambda: ask(tight, [f"new {i}" for i in range(300)], tokens_per_pass=10_000))
    there = [calmly(lambda texts=texts: cache.get(SPACE, SPACE.keys(texts))) for texts in batches]
    n_left = [sum(record is not None for record in records) for records in there]
    assert (n_left[0], n_left[1], n_left[3]) == (300, 0, 300)


def test_a_cache_without_room_gives_the_right_rows(tmp_path):
    cache = DiskCache(tmp_path, max_bytes=0)
    for _ in range(2):
        n_embedded, said = elsewhere(lambda: ask(cache, TEXTS))
        assert n_embedded == len(TEXTS)
        assert "do not fit into DiskCache" in said[0]
    assert calmly(cache.statistics).n_texts == 0


# Privacy


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_the_users_own_whatever_the_umask(umask, tmp_path):
    cache = DiskCache(tmp_path / "cache")

    def work():
        os.umask(umask)
        ask(cache, TEXTS)

    calmly(work)
    assert mode_of(cache.path) == mode_of(journal_of(cache)) == 0o600
    assert mode_of(cache.path.parent) == 0o700


@pytest.mark.parametrize(
    ("folder", "file"),
    [(0o700, 0o600), (0o755, 0o600), (0o770, 0o660), (0o777, 0o660), (0o1777, 0o600)],
)
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_a_folder_that_a_group_may_write_to_is_shared_with_it(folder, file, umask, tmp_path):
    cache = DiskCache(tmp_path / "cache")
    cache.path.parent.mkdir()
    cache.path.parent.chmod(folder)

    def work():
        os.umask(umask)
        ask(cache, TEXTS)

    calmly(work)
    assert mode_of(cache.path) == mode_of(journal_of(cache)) == file
    assert mode_of(cache.path.parent) == folder


def test_two_users_share_a_folder_of_their_group(public):
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    cache = DiskCache(public / "cache")
    cache.path.parent.mkdir()
    os.chown(cache.path.parent, 0, NOBODY)
    cache.path.parent.chmod(0o2770)
    calmly(lambda: ask(cache, TEXTS))

    def work():
        as_nobody()
        return ask(cache, [*TEXTS, *MORE])

    assert calmly(work) == len(MORE)
    assert calmly(lambda: ask(cache, [*TEXTS, *MORE])) == 0
    # What one of them cannot mend, the other can.
    overwrite(cache.path, 0, noise(cache.path.stat().st_size))
    assert elsewhere(lambda: ask(cache, TEXTS))[0] == len(TEXTS)
    overwrite(cache.path, 0, noise(cache.path.stat().st_size))
    elsewhere(work)
    assert calmly(lambda: ask(cache, [*TEXTS, *MORE])) == 0


def test_neither_texts_nor_pickles_are_in_the_folder(tmp_path, tiny):
    secret = "the password of the harbour master"
    cache = DiskCache(tmp_path / "cache")
    calmly(lambda: with_cache(tiny, cache).transform([secret, *TEXTS]))
    for path in cache.path.parent.iterdir():
        content = path.read_bytes()
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            assert secret[4:20].encode(encoding) not in content
    for key, record in sql(cache, "SELECT key, record FROM embedding"):
        assert (len(key), len(record)) == (24, 4 * tiny.embedding_dim_ + 1 + 8)
    tables = {name for (name,) in sql(cache, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables - {"sqlite_stat1"} == {"space", "batch", "embedding", "claim"}
    assert sql(cache, "SELECT * FROM claim") == []


# Looking after it


def test_clear_drops_a_model_for_all_processes(tmp_path, tiny):
    cache = DiskCache(tmp_path)
    other = SentenceEmbedder(OTHER, cache=None).fit(TEXTS)
    calmly(lambda: with_cache(tiny, cache).transform(TEXTS))
    calmly(lambda: with_cache(other, cache).transform(MORE))
    assert calmly(lambda: cache.clear(TINY.name)) == len(TEXTS)
    found = calmly(cache.statistics)
    assert [(space.model, space.n_texts) for space in found.namespaces] == [(str(OTHER), len(MORE))]
    assert found.n_embedded == len(TEXTS) + len(MORE)
    assert calmly(lambda: cache.clear(other.fingerprint_)) == len(MORE)
    assert calmly(cache.statistics).n_texts == 0


def test_clear_gives_the_space_back(tmp_path):
    cache = DiskCache(tmp_path)
    calmly(lambda: cache.put(SPACE, records_of([f"gull {i}" for i in range(5_000)])))
    size = cache.path.stat().st_size
    assert calmly(cache.clear) == 5_000
    assert cache.path.stat().st_size < size / 4


def test_clear_by_age_keeps_what_was_used_since(tmp_path):
    cache = DiskCache(tmp_path)
    for texts in (TEXTS, MORE):
        calmly(lambda texts=texts: cache.put(SPACE, records_of(texts)))
    sql(cache, "UPDATE batch SET used = used - 3 * 86400")
    assert calmly(lambda: cache.clear(older_than=timedelta(days=4))) == 0
    assert calmly(lambda: ask(cache, MORE)) == 0  # which is a use
    assert calmly(lambda: cache.clear("another", older_than=timedelta(days=2))) == 0
    assert calmly(lambda: cache.clear(older_than=timedelta(days=2))) == len(TEXTS)
    assert calmly(lambda: ask(cache, MORE)) == 0


@pytest.mark.parametrize("older_than", [None, timedelta(0)])
def test_clear_means_what_was_used_just_now_as_well(older_than, warm):
    def work():
        ask(warm, TEXTS)
        return warm.clear(older_than=older_than)

    assert calmly(work) == len(TEXTS)


def test_clear_drops_what_a_fast_clock_says_is_of_tomorrow(warm):
    sql(warm, "UPDATE batch SET used = used + 86400")
    assert calmly(warm.clear) == len(TEXTS)


def test_after_clear_the_same_process_embeds_again(tmp_path):
    def work():
        cache = DiskCache(tmp_path)
        return ask(cache, TEXTS), ask(cache, TEXTS), cache.clear(), ask(cache, TEXTS)

    assert calmly(work) == (len(TEXTS), 0, len(TEXTS), len(TEXTS))


def test_two_names_of_a_folder_are_one_cache(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    def work():
        caches = [DiskCache(tmp_path / name) for name in ("real", "link", "link/../real")]
        return [ask(cache, TEXTS) for cache in caches]

    assert calmly(work) == [len(TEXTS), 0, 0]
