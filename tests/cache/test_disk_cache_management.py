import os
import stat
from datetime import timedelta

import pytest

from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache import DiskCache, sqlite_store
from tests.cache.disk_cache_helpers import (
    MORE,
    NOBODY,
    SPACE,
    TEXTS,
    count_computed,
    drop_privileges,
    journal_of,
    noise,
    overwrite,
    records_of,
    run_in_process,
    run_without_warnings,
    sql,
    with_cache,
)
from tests.helpers.tiny_models import OTHER, TINY

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, to begin at once"),
]


def test_store_stays_below_max_bytes(tmp_path):
    cache = DiskCache(tmp_path, max_bytes=400_000)
    sizes = []

    def work():
        for turn in range(40):
            cache.put(SPACE, records_of([f"gull {turn} {i}" for i in range(200)]))
            sizes.append(cache.path.stat().st_size)
        return sizes, cache.statistics()

    sizes, statistics = run_without_warnings(work)
    turn = sizes[1] - sizes[0]
    assert sizes[5] > sizes[0]
    assert max(sizes) <= cache.max_bytes + turn
    assert statistics.n_bytes <= cache.max_bytes
    assert 1_000 < statistics.n_texts < 8_000
    assert statistics.n_embedded == 8_000
    assert (
        run_without_warnings(lambda: count_computed(cache, [f"gull 39 {i}" for i in range(200)]))
        == 0
    )
    assert (
        run_without_warnings(lambda: count_computed(cache, [f"gull 0 {i}" for i in range(200)]))
        == 200
    )


def test_lower_max_bytes_shrinks_the_store(tmp_path):
    for turn in range(10):
        texts = [f"gull {turn} {i}" for i in range(500)]
        run_without_warnings(lambda texts=texts: DiskCache(tmp_path).put(SPACE, records_of(texts)))
    lower = DiskCache(tmp_path, max_bytes=300_000)
    assert lower.path.stat().st_size > 600_000
    run_without_warnings(lambda: count_computed(lower, TEXTS))
    assert lower.path.stat().st_size < 350_000


def test_disk_cache_evicts_the_least_recently_used_over_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_store, "_TOLERANCE", 0.0)
    cache = DiskCache(tmp_path)
    batches = [[f"gull {turn} {i}" for i in range(300)] for turn in range(4)]
    for texts in batches:
        run_without_warnings(lambda texts=texts: cache.put(SPACE, records_of(texts)))
    sql(cache, "UPDATE batch SET used = id")
    # A single one of its texts keeps a batch.
    assert run_without_warnings(lambda: count_computed(cache, batches[0][:1])) == 0
    tight = DiskCache(tmp_path, max_bytes=run_without_warnings(cache.statistics).n_bytes)
    run_without_warnings(
        lambda: count_computed(tight, [f"new {i}" for i in range(300)], tokens_per_pass=10_000)
    )
    there = [
        run_without_warnings(lambda texts=texts: cache.get(SPACE, SPACE.keys(texts)))
        for texts in batches
    ]
    n_left = [sum(record is not None for record in records) for records in there]
    assert (n_left[0], n_left[1], n_left[3]) == (300, 0, 300)


def test_disk_cache_without_room_gives_the_right_rows(tmp_path):
    cache = DiskCache(tmp_path, max_bytes=0)
    for _ in range(2):
        n_embedded, said = run_in_process(lambda: count_computed(cache, TEXTS))
        assert n_embedded == len(TEXTS)
        assert "do not fit into DiskCache" in said[0]
    assert run_without_warnings(cache.statistics).n_texts == 0


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_store_is_private_whatever_the_umask(umask, tmp_path):
    cache = DiskCache(tmp_path / "cache")

    def work():
        os.umask(umask)
        count_computed(cache, TEXTS)

    run_without_warnings(work)
    assert mode_of(cache.path) == mode_of(journal_of(cache)) == 0o600
    assert mode_of(cache.path.parent) == 0o700


@pytest.mark.parametrize(
    ("folder", "file"),
    [(0o700, 0o600), (0o755, 0o600), (0o770, 0o660), (0o777, 0o660), (0o1777, 0o600)],
)
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_disk_cache_folder_of_a_group_is_shared(folder, file, umask, tmp_path):
    cache = DiskCache(tmp_path / "cache")
    cache.path.parent.mkdir()
    cache.path.parent.chmod(folder)

    def work():
        os.umask(umask)
        count_computed(cache, TEXTS)

    run_without_warnings(work)
    assert mode_of(cache.path) == mode_of(journal_of(cache)) == file
    assert mode_of(cache.path.parent) == folder


def test_disk_cache_is_shared_by_two_users_of_a_group(public):
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    cache = DiskCache(public / "cache")
    cache.path.parent.mkdir()
    os.chown(cache.path.parent, 0, NOBODY)
    cache.path.parent.chmod(0o2770)
    run_without_warnings(lambda: count_computed(cache, TEXTS))

    def work():
        drop_privileges()
        return count_computed(cache, [*TEXTS, *MORE])

    assert run_without_warnings(work) == len(MORE)
    assert run_without_warnings(lambda: count_computed(cache, [*TEXTS, *MORE])) == 0
    # What one of them cannot mend, the other can.
    overwrite(cache.path, 0, noise(cache.path.stat().st_size))
    assert run_in_process(lambda: count_computed(cache, TEXTS))[0] == len(TEXTS)
    overwrite(cache.path, 0, noise(cache.path.stat().st_size))
    run_in_process(work)
    assert run_without_warnings(lambda: count_computed(cache, [*TEXTS, *MORE])) == 0


def test_store_contains_neither_texts_nor_pickles(tmp_path, tiny):
    secret = "the password of the harbour master"
    cache = DiskCache(tmp_path / "cache")
    run_without_warnings(lambda: with_cache(tiny, cache).transform([secret, *TEXTS]))
    for path in cache.path.parent.iterdir():
        content = path.read_bytes()
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            assert secret[4:20].encode(encoding) not in content
    for key, record in sql(cache, "SELECT key, record FROM embedding"):
        assert (len(key), len(record)) == (24, 4 * tiny.embedding_dim_ + 1 + 8)
    tables = {name for (name,) in sql(cache, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables - {"sqlite_stat1"} == {"space", "batch", "embedding", "claim"}
    assert sql(cache, "SELECT * FROM claim") == []


def test_disk_cache_clear_removes_a_model_for_all_processes(tmp_path, tiny):
    cache = DiskCache(tmp_path)
    other = SentenceEmbedder(OTHER, cache=None).fit(TEXTS)
    run_without_warnings(lambda: with_cache(tiny, cache).transform(TEXTS))
    run_without_warnings(lambda: with_cache(other, cache).transform(MORE))
    assert run_without_warnings(lambda: cache.clear(TINY.name)) == len(TEXTS)
    found = run_without_warnings(cache.statistics)
    assert [(space.model, space.n_texts) for space in found.namespaces] == [(str(OTHER), len(MORE))]
    assert found.n_embedded == len(TEXTS) + len(MORE)
    assert run_without_warnings(lambda: cache.clear(other.fingerprint_)) == len(MORE)
    assert run_without_warnings(cache.statistics).n_texts == 0


def test_disk_cache_clear_returns_the_disk_space(tmp_path):
    cache = DiskCache(tmp_path)
    run_without_warnings(lambda: cache.put(SPACE, records_of([f"gull {i}" for i in range(5_000)])))
    size = cache.path.stat().st_size
    assert run_without_warnings(cache.clear) == 5_000
    assert cache.path.stat().st_size < size / 4


def test_disk_cache_clear_by_age_keeps_recently_used_records(tmp_path):
    cache = DiskCache(tmp_path)
    for texts in (TEXTS, MORE):
        run_without_warnings(lambda texts=texts: cache.put(SPACE, records_of(texts)))
    sql(cache, "UPDATE batch SET used = used - 3 * 86400")
    assert run_without_warnings(lambda: cache.clear(older_than=timedelta(days=4))) == 0
    assert run_without_warnings(lambda: count_computed(cache, MORE)) == 0  # which is a use
    assert run_without_warnings(lambda: cache.clear("another", older_than=timedelta(days=2))) == 0
    assert run_without_warnings(lambda: cache.clear(older_than=timedelta(days=2))) == len(TEXTS)
    assert run_without_warnings(lambda: count_computed(cache, MORE)) == 0


@pytest.mark.parametrize("older_than", [None, timedelta(0)])
def test_disk_cache_clear_removes_records_used_just_now(older_than, warm):
    def work():
        count_computed(warm, TEXTS)
        return warm.clear(older_than=older_than)

    assert run_without_warnings(work) == len(TEXTS)


def test_disk_cache_clear_removes_records_dated_in_the_future(warm):
    sql(warm, "UPDATE batch SET used = used + 86400")
    assert run_without_warnings(warm.clear) == len(TEXTS)


def test_disk_cache_embeds_again_after_clear(tmp_path):
    def work():
        cache = DiskCache(tmp_path)
        return (
            count_computed(cache, TEXTS),
            count_computed(cache, TEXTS),
            cache.clear(),
            count_computed(cache, TEXTS),
        )

    assert run_without_warnings(work) == (len(TEXTS), 0, len(TEXTS), len(TEXTS))


def test_disk_cache_is_one_for_two_names_of_a_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    def work():
        caches = [DiskCache(tmp_path / name) for name in ("real", "link", "link/../real")]
        return [count_computed(cache, TEXTS) for cache in caches]

    assert run_without_warnings(work) == [len(TEXTS), 0, 0]
