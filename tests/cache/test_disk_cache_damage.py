import os
import random
import sqlite3
import time

import pytest

from sk_sentemb.cache import sqlite_store
from sk_sentemb.cache.namespace import FORMAT
from tests.cache.disk_cache_helpers import (
    MORE,
    SPACE,
    TEXTS,
    count_computed,
    noise,
    overwrite,
    run_in_process,
    run_without_warnings,
    sql,
    with_cache,
)
from tests.helpers.tiny_models import assert_same_rows

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, to begin at once"),
]


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
def test_damaged_store_warns_and_is_replaced(name, warm, tiny):
    expected = tiny.transform(TEXTS)
    run_without_warnings(lambda: with_cache(tiny, warm).transform(TEXTS))
    DAMAGE[name](warm.path)
    (rows, n_embedded), said = run_in_process(
        lambda: (with_cache(tiny, warm).transform(TEXTS), count_computed(warm, TEXTS))
    )
    assert_same_rows(rows, expected)
    if name != "nothing":  # an empty file is one that is about to be filled
        assert n_embedded > 0
        assert said
    assert all(str(warm.path) in message and "embedded again" in message for message in said)
    run_without_warnings(lambda: count_computed(warm, TEXTS))
    assert run_without_warnings(lambda: count_computed(warm, TEXTS)) == 0


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_of_an_open_store_gives_no_wrong_row(name, warm):
    def work():
        assert count_computed(warm, TEXTS[:5]) == 0
        DAMAGE[name](warm.path)
        count_computed(warm, [*TEXTS, *MORE])
        return count_computed(warm, TEXTS)

    n_embedded, _ = run_in_process(work)
    assert n_embedded == 0
    run_in_process(lambda: count_computed(warm, [*TEXTS, *MORE]))
    assert run_without_warnings(lambda: count_computed(warm, [*TEXTS, *MORE])) == 0


def outlive(caches):
    """Use damaged caches in one process, and be sure that they are mended for the next."""

    def use():
        for cache in caches:
            before = time.monotonic()
            count_computed(cache, [*TEXTS, *MORE])
            cache.statistics()
            cache.clear("nobody")
            assert time.monotonic() - before < 10

    run_in_process(use)
    for n_embedded in run_in_process(
        lambda: [count_computed(cache, [*TEXTS, *MORE]) for cache in caches]
    )[0]:
        assert n_embedded == 0


def test_flipped_byte_in_the_store_gives_no_wrong_row(copies):
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


def test_checksum_finds_a_damaged_record_which_is_replaced(warm):
    sql(warm, "UPDATE embedding SET record = zeroblob(length(record)) WHERE rowid % 4 = 0")
    n_embedded, said = run_in_process(lambda: count_computed(warm, TEXTS))
    assert n_embedded == len(TEXTS) // 4
    assert [message.split()[0] for message in said] == [str(n_embedded)]
    assert "are damaged; their texts are embedded again" in said[0]
    assert run_without_warnings(lambda: count_computed(warm, TEXTS)) == 0


def test_checksum_refuses_the_record_of_another_key(warm):
    # As where an index points to a row that is not its own.
    sql(
        warm,
        "CREATE TABLE moved AS SELECT key, batch, (SELECT record FROM embedding AS other "
        "WHERE other.rowid = embedding.rowid % 40 + 1) FROM embedding",
        "DELETE FROM embedding",
        "INSERT INTO embedding SELECT * FROM moved",
    )
    n_embedded, _ = run_in_process(lambda: count_computed(warm, TEXTS))
    assert n_embedded == len(TEXTS)


@pytest.mark.parametrize(
    "column",
    [
        *("embedding.key", "embedding.batch", "embedding.record", "batch.prefix", "batch.used"),
        *("space.model", "space.fingerprint", "space.dim", "space.n_embedded"),
        *("claim.owner", "claim.until"),
    ],
)
def test_any_value_in_any_column_of_the_store_gives_no_wrong_row(column, copies, monkeypatch):
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


def test_lease_that_never_expires_is_void(warm):
    sql(warm, "UPDATE claim SET owner = 'another 1', until = 1e300")
    assert run_without_warnings(lambda: count_computed(warm, MORE)) == len(MORE)


def test_damaged_store_is_replaced_only_once(warm):
    late = sqlite_store.Store(warm.path)
    assert len(late.get(SPACE.keys(TEXTS), SPACE.record_bytes)) == len(TEXTS)
    overwrite(warm.path, 0, noise(10_000))
    run_in_process(lambda: count_computed(warm, [*TEXTS, *MORE]))
    late.replace_damaged()
    assert run_without_warnings(lambda: count_computed(warm, [*TEXTS, *MORE])) == 0


def test_store_of_an_older_version_is_recreated(warm):
    sql(warm, "PRAGMA user_version = -1")
    n_embedded, said = run_in_process(lambda: count_computed(warm, TEXTS))
    assert n_embedded == len(TEXTS)
    assert [f"it has version -1; this package writes version {FORMAT}" in m for m in said] == [True]
    assert run_without_warnings(lambda: count_computed(warm, TEXTS)) == 0


@pytest.mark.parametrize("journal", ["TRUNCATE", "WAL"])
def test_store_of_a_newer_version_is_left_unchanged(journal, warm):
    sql(warm, f"PRAGMA journal_mode = {journal}", f"PRAGMA user_version = {FORMAT + 1}")
    content = warm.path.read_bytes()
    n_embedded, said = run_in_process(
        lambda: count_computed(warm, TEXTS) + count_computed(warm, MORE)
    )
    assert n_embedded == len(TEXTS) + len(MORE)
    assert f"it has version {FORMAT + 1}; this package writes version {FORMAT}" in said[0]
    assert run_in_process(lambda: warm.clear())[0] == 0
    assert warm.path.read_bytes() == content
