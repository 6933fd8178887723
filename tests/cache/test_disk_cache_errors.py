import os
import resource
import shutil
import signal
import sqlite3
import threading
import time
import warnings

import pytest

from sk_sentemb.cache import DiskCache, resilient_store, sqlite_store
from sk_sentemb.exceptions import CacheWarning
from tests.cache.disk_cache_helpers import (
    FORK,
    LIMIT,
    MORE,
    SPACE,
    TEXTS,
    count_computed,
    drop_privileges,
    run_in_process,
    run_without_warnings,
    sql,
    start,
    with_cache,
)
from tests.helpers.tiny_models import assert_same_rows

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, to begin at once"),
]


@pytest.fixture
def short_timeout(monkeypatch):
    monkeypatch.setattr(sqlite_store, "_PATIENCE", 0.3)


@pytest.mark.parametrize("content", [["in the way"], []])
def test_folder_at_the_path_of_the_store_is_kept(content, tmp_path):
    cache = DiskCache(tmp_path)
    cache.path.mkdir()
    for name in content:
        (cache.path / name).touch()
    n_embedded, said = run_in_process(
        lambda: count_computed(cache, TEXTS) + count_computed(cache, TEXTS)
    )
    assert n_embedded == len(TEXTS)
    assert said
    assert [path.name for path in cache.path.iterdir()] == content


def test_file_at_the_path_of_the_cache_folder_is_kept(tmp_path):
    (tmp_path / "file").write_text("a letter")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        n_embedded, said = run_in_process(
            lambda folder=folder: count_computed(DiskCache(folder), TEXTS)
        )
        assert n_embedded == len(TEXTS)
        assert str(folder) in said[0]
    assert (tmp_path / "file").read_text() == "a letter"


def limit_files(n_bytes):
    """Let no file of this process grow beyond a size, as if the disk were full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


@pytest.mark.parametrize("more_bytes", [0, 10_000, 40_000])
def test_full_disk_warns_and_stored_records_are_found(more_bytes, warm, tiny):
    run_without_warnings(lambda: with_cache(tiny, warm).transform(TEXTS))
    # So long ago that this use is worth writing down, which cannot be done.
    sql(warm, "UPDATE batch SET used = 0")
    many = [f"gull {i}" for i in range(400)]

    def work():
        limit_files(warm.path.stat().st_size + more_bytes)
        rows = with_cache(tiny, warm).transform([*TEXTS, *MORE])
        statistics = warm.statistics()
        return (
            rows,
            statistics.hits,
            statistics.misses,
            count_computed(warm, TEXTS),
            count_computed(warm, many),
        )

    (rows, n_hits, n_misses, n_again, n_new), said = run_in_process(work)
    assert_same_rows(rows, tiny.transform([*TEXTS, *MORE]))
    assert (n_hits, n_misses) == (len(TEXTS), len(MORE))
    assert (n_again, n_new) == (0, len(many))
    assert any("cannot be written: " in message for message in said)
    assert all("Free some space" in message for message in said)
    assert run_without_warnings(lambda: count_computed(warm, [*TEXTS, *many])) >= 0
    assert run_without_warnings(lambda: count_computed(warm, [*TEXTS, *many])) == 0


def test_full_disk_without_room_for_the_store_warns(tmp_path):
    def work():
        limit_files(1_000)
        return count_computed(DiskCache(tmp_path), TEXTS)

    n_embedded, said = run_in_process(work)
    assert n_embedded == len(TEXTS)
    assert said
    assert run_without_warnings(lambda: count_computed(DiskCache(tmp_path), TEXTS)) == len(TEXTS)


def test_process_without_write_permission_blocks_no_other(warm):
    failed, go_on = FORK.Event(), FORK.Event()
    many = [f"gull {i}" for i in range(300)]

    def work():
        warnings.simplefilter("ignore", CacheWarning)
        limit_files(warm.path.stat().st_size)
        count_computed(warm, many, tokens_per_pass=10_000)
        failed.set()
        go_on.wait()

    other = start(work)
    assert failed.wait(LIMIT)
    before = time.monotonic()
    count_computed(warm, many)
    go_on.set()
    other.join(LIMIT)
    assert time.monotonic() - before < 10
    assert other.exitcode == 0


@pytest.mark.parametrize("writable", ["nothing", "file", "folder"])
def test_read_only_disk_cache_serves_its_records(writable, public):
    cache = DiskCache(public / "cache")
    run_without_warnings(lambda: count_computed(cache, TEXTS))
    sql(cache, "UPDATE batch SET used = 0")
    cache.path.chmod(0o666 if writable == "file" else 0o444)
    cache.path.parent.chmod(0o777 if writable == "folder" else 0o555)
    content = cache.path.read_bytes()

    def hit():
        drop_privileges()
        return count_computed(cache, TEXTS)

    def miss():
        drop_privileges()
        return count_computed(cache, [*TEXTS, *MORE])

    assert run_without_warnings(hit) == 0
    n_embedded, said = run_in_process(miss)
    assert n_embedded == len(MORE)
    assert "cannot be written" in said[0]
    assert cache.path.read_bytes() == content


def test_disk_cache_of_another_user_warns(public):
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    cache = DiskCache(public / "cache")
    run_without_warnings(lambda: count_computed(cache, TEXTS))
    cache.path.parent.chmod(0o755)

    def work():
        drop_privileges()
        return count_computed(cache, TEXTS)

    n_embedded, said = run_in_process(work)
    assert n_embedded == len(TEXTS)
    assert said


def test_disk_cache_folder_that_cannot_be_created_warns(public):
    def work():
        drop_privileges()
        return count_computed(DiskCache(public / "closed" / "cache"), TEXTS)

    (public / "closed").mkdir(mode=0o555)
    n_embedded, said = run_in_process(work)
    assert n_embedded == len(TEXTS)
    assert "Permission denied" in said[0]
    assert list((public / "closed").iterdir()) == []


@pytest.mark.parametrize("what", ["file", "folder"])
def test_store_deleted_while_open_is_recreated(what, warm):
    def work():
        assert count_computed(warm, TEXTS[:5]) == 0
        shutil.rmtree(warm.path.parent) if what == "folder" else warm.path.unlink()
        return count_computed(warm, MORE)

    assert run_without_warnings(work) == len(MORE)
    assert run_without_warnings(lambda: count_computed(warm, MORE)) == 0


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


def test_locked_store_times_out_with_a_warning(warm, short_timeout, monkeypatch):
    with Holder(warm, *WRITING):
        before = time.monotonic()
        with pytest.warns(
            CacheWarning, match=r"cannot be read: database is locked\. For the next minute"
        ):
            assert count_computed(warm, TEXTS) == len(TEXTS)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # and then not for a while
            assert count_computed(warm, [*TEXTS, *MORE]) == len(MORE)
        assert time.monotonic() - before < 10
    monkeypatch.setattr(resilient_store, "_RETRY_SECONDS", 0.0)
    assert run_without_warnings(lambda: count_computed(warm, TEXTS)) == 0


def test_locked_store_is_read_again_when_the_lock_is_gone(warm, short_timeout):
    with Holder(warm, *WRITING), pytest.warns(CacheWarning, match="cannot be read"):
        warm.get(SPACE, SPACE.keys(TEXTS[:1]))
    before = time.monotonic()
    assert count_computed(warm, TEXTS) == len(TEXTS)
    assert time.monotonic() - before < 10


def test_records_are_found_when_their_use_cannot_be_recorded(warm, short_timeout):
    sql(warm, "UPDATE batch SET used = 0")
    with Holder(warm, "BEGIN IMMEDIATE"), pytest.warns(CacheWarning, match="cannot be written"):
        assert count_computed(warm, TEXTS) == 0


def test_long_reader_of_the_store_loses_no_record(warm, short_timeout, monkeypatch):
    # A writer has to wait for it when it is about to finish.
    monkeypatch.setattr(resilient_store, "_RETRY_SECONDS", 0.0)
    with Holder(warm, *READING), pytest.warns(CacheWarning, match="cannot be written: database is"):
        assert count_computed(warm, MORE[:5]) == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert count_computed(warm, MORE) == 5
    assert run_without_warnings(lambda: count_computed(warm, TEXTS)) == 0
    assert sql(warm, "BEGIN EXCLUSIVE") == []


def test_interrupt_while_waiting_for_the_store_blocks_no_thread(warm, short_timeout):
    count_computed(warm, TEXTS[:1])

    def press(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, press)
    try:
        with Holder(warm, "BEGIN IMMEDIATE"), warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                count_computed(warm, MORE)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert in_a_thread(lambda: count_computed(warm, MORE)) == len(MORE)


def test_cache_warning_raised_as_error_blocks_no_thread(tmp_path):
    (tmp_path / "file").touch()
    cache = DiskCache(tmp_path / "file")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(CacheWarning):
                count_computed(cache, TEXTS)
        with pytest.raises(CacheWarning):
            cache.claim(SPACE, SPACE.keys(TEXTS), 5)
    with pytest.warns(CacheWarning):
        assert count_computed(cache, TEXTS) == len(TEXTS)
    assert in_a_thread(lambda: count_computed(cache, TEXTS)) == 0


def in_a_thread(action):
    done = []
    thread = threading.Thread(target=lambda: done.append(action()), daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert done, f"not done within {LIMIT} seconds, or raised"
    return done[0]
