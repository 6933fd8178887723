"""Candidate stores for a disk cache: SQLite, LMDB, one file per record.

A key is 16 bytes, as a digest of a text; a record is 1,548, as 384 float32 and a few bytes more.
"""

import os
import random
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb

FLUSH = 256  # records that a writer has to save after a second or so

_KEY_BYTES = 16
_RECORD_BYTES = 1548
_KEYS_PER_QUERY = 500
_NOISE = random.Random(0).randbytes(2**20)


@dataclass(frozen=True)
class Sqlite:
    """One table in one file."""

    journal: str
    synchronous: str
    pattern = "cache.db"

    def open(self, folder: str) -> AbstractContextManager[sqlite3.Connection]:
        """Open the file, and create the table where there is none."""
        handle = sqlite3.connect(Path(folder, self.pattern), isolation_level=None, timeout=30)
        handle.execute("PRAGMA page_size = 8192")
        handle.execute(f"PRAGMA journal_mode = {self.journal}")
        handle.execute(f"PRAGMA synchronous = {self.synchronous}")
        handle.execute("CREATE TABLE IF NOT EXISTS records (key BLOB PRIMARY KEY, record BLOB)")
        return closing(handle)

    def put(self, handle: sqlite3.Connection, keys: Sequence[bytes]) -> None:
        """Insert records in one transaction."""
        handle.execute("BEGIN IMMEDIATE")
        rows = [(key, record(key)) for key in keys]
        handle.executemany("INSERT OR REPLACE INTO records VALUES (?, ?)", rows)
        handle.execute("COMMIT")

    def get(self, handle: sqlite3.Connection, keys: Sequence[bytes]) -> list[bytes | None]:
        """Look records up."""
        found: dict[bytes, bytes] = {}
        near = sorted(keys)  # keys that lie side by side in the index
        for part in parts(near, _KEYS_PER_QUERY):
            marks = ",".join("?" * len(part))
            query = f"SELECT key, record FROM records WHERE key IN ({marks})"
            found.update(handle.execute(query, part))
        return [found.get(key) for key in keys]


@dataclass(frozen=True)
class Lmdb:
    """A memory-mapped file."""

    pattern = "data.mdb"

    def open(self, folder: str) -> AbstractContextManager[lmdb.Environment]:
        """Map a file of up to 64 GiB, of which the disk holds what is used."""
        return closing(lmdb.open(folder, map_size=2**36))

    def put(self, handle: lmdb.Environment, keys: Sequence[bytes]) -> None:
        """Insert records in one transaction."""
        with handle.begin(write=True) as transaction:
            transaction.cursor().putmulti([(key, record(key)) for key in keys])

    def get(self, handle: lmdb.Environment, keys: Sequence[bytes]) -> list[bytes | None]:
        """Look records up."""
        with handle.begin() as transaction:
            return [transaction.get(key) for key in keys]


@dataclass(frozen=True)
class Files:
    """A file for each record, in 256 folders."""

    pattern = "*/*"

    def open(self, folder: str) -> AbstractContextManager[str]:
        """Return the folder."""
        return nullcontext(folder)

    def put(self, handle: str, keys: Sequence[bytes]) -> None:
        """Write files aside and move them into place, so that none is ever half there."""
        for key in keys:
            path = self._path(handle, key)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            aside = f"{path}.{os.getpid()}"
            with open(aside, "wb") as file:
                file.write(record(key))
            os.replace(aside, path)

    def get(self, handle: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Look records up."""
        return [self._read(self._path(handle, key)) for key in keys]

    def _path(self, folder: str, key: bytes) -> str:
        name = key.hex()
        return f"{folder}/{name[:2]}/{name}"

    def _read(self, path: str) -> bytes | None:
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None


Store = Sqlite | Lmdb | Files

STORES: dict[str, Store] = {
    "sqlite truncate normal": Sqlite("TRUNCATE", "NORMAL"),
    "sqlite truncate off": Sqlite("TRUNCATE", "OFF"),
    "sqlite wal normal": Sqlite("WAL", "NORMAL"),
    "lmdb": Lmdb(),
    "files": Files(),
}


def fill(store: Store, folder: str, keys: Sequence[bytes]) -> None:
    """Open a store and insert records, a flush at a time."""
    with store.open(folder) as handle:
        for part in parts(keys, FLUSH):
            store.put(handle, part)


def keys_of(n_keys: int, seed: int = 0) -> list[bytes]:
    """Return random keys, the same on every call."""
    return parts(random.Random(seed).randbytes(_KEY_BYTES * n_keys), _KEY_BYTES)


def record(key: bytes) -> bytes:
    """Return what belongs to a key."""
    start = int.from_bytes(key[:8], "little") % (len(_NOISE) - _RECORD_BYTES)
    return _NOISE[start : start + _RECORD_BYTES]


def parts(items: Sequence[Any], size: int) -> list[Any]:
    """Cut into parts of a size; the last may be smaller."""
    return [items[i : i + size] for i in range(0, len(items), size)]
