"""The file of a disk cache: an SQLite database of records with checksums."""

import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from sklearn.utils import gen_batches

from .namespace import CHECKSUM_BYTES, FORMAT, Namespace, add_checksum, verify_checksum
from .paths import make_private_file
from .processes import is_alive, process_id
from .statistics import NamespaceUse

# No write-ahead log, so that the file can be copied, and read where nothing can be written.
# A batch is what was written together: it is mostly used together, and dropped together.
_SCHEMA = f"""
    PRAGMA page_size = 8192;
    PRAGMA auto_vacuum = INCREMENTAL;
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS space (
        prefix BLOB PRIMARY KEY, model TEXT, fingerprint TEXT, dim INTEGER, n_embedded INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS batch (id INTEGER PRIMARY KEY, prefix BLOB, used REAL);
    CREATE TABLE IF NOT EXISTS embedding (key BLOB PRIMARY KEY, batch INTEGER, record BLOB);
    CREATE INDEX IF NOT EXISTS embedding_batch ON embedding (batch);
    CREATE TABLE IF NOT EXISTS claim (key BLOB PRIMARY KEY, owner TEXT, until REAL) WITHOUT ROWID;
    PRAGMA user_version = {FORMAT};
    COMMIT;
"""

_KEYS_PER_QUERY = 500

# Seconds to wait for another process's transaction; after which a lease of another computer expires
# (on the same computer, an ended process is noticed at once); by which a use may be noted late.
_PATIENCE = 10.0
_LEASE = 300.0
_TOLERANCE = 3600.0


# SQLite's codes for a damaged file: SQL that fails, corruption, no database at all.
_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class OlderVersionError(sqlite3.DatabaseError):
    """The file was written by an older version of this package, and cannot be used."""


class NewerVersionError(sqlite3.DatabaseError):
    """The file was written by a newer version of this package, and is left as it is."""


class Store:
    """One file of embeddings, which other processes may use at the same time; SQLite's errors pass."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hits = self.n_damaged = 0
        self.read_only = False
        self.lock = threading.RLock()
        self._owner = process_id()
        self._claimed: set[bytes] = set()
        self._used: set[int] = set()
        self._noted: dict[int, float] = {}
        self._open_connection: sqlite3.Connection | None = None
        self._inode = 0

    def get(self, keys: Sequence[bytes], record_bytes: int) -> dict[bytes, bytes]:
        """Return the records that are present and undamaged."""
        found = {}
        ordered = sorted(keys)  # neighbors in the index
        with self.lock:
            for part in gen_batches(len(ordered), _KEYS_PER_QUERY):
                for key, batch, checked in self._select("key, batch, record", ordered[part]):
                    record = verify_checksum(key, checked, record_bytes)
                    if record is None:
                        self.n_damaged += 1
                    else:
                        found[key] = record
                        self._used.add(batch)
            self.hits += len(found)
        return found

    def note_use(self) -> None:
        """Record, at most once an hour, which batches were used."""
        now = time.time()
        with self.lock:
            outdated = [b for b in self._used if self._noted.get(b, 0.0) < now - _TOLERANCE]
            self._used.clear()
            self._noted.update(dict.fromkeys(outdated, now))
            if not outdated or self.read_only:
                return
            rows = [(now, batch, now - _TOLERANCE) for batch in outdated]
            query = "SELECT 1 FROM batch WHERE used < ? AND id = ?"
            db = self._connection()
            if any(db.execute(query, (before, batch)).fetchone() for _, batch, before in rows):
                with self._transaction():
                    db.executemany("UPDATE batch SET used = ? WHERE id = ? AND used < ?", rows)

    def put(self, namespace: Namespace, records: Mapping[bytes, bytes], max_bytes: int) -> None:
        """Store records, and drop the least recently used ones beyond `max_bytes`."""
        with self.lock:
            with self._transaction() as db:
                (batch,) = db.execute(
                    "INSERT INTO batch (prefix, used) VALUES (?, ?) RETURNING id",
                    (namespace.prefix, time.time()),
                ).fetchone()
                db.executemany(
                    "INSERT OR REPLACE INTO embedding VALUES (?, ?, ?)",
                    [(key, batch, add_checksum(key, record)) for key, record in records.items()],
                )
                db.execute(
                    "INSERT INTO space VALUES (?, ?, ?, ?, ?) ON CONFLICT (prefix) "
                    "DO UPDATE SET n_embedded = n_embedded + excluded.n_embedded",
                    (
                        namespace.prefix,
                        namespace.model,
                        namespace.fingerprint,
                        namespace.dim,
                        len(records),
                    ),
                )
                self._delete_claims(db, records)
                self._evict(db, max_bytes)
            self._claimed.difference_update(records)
            # If the limit was lowered. In a transaction of its own, as in `delete`.
            if _bytes(db)[1] > max_bytes // 8:
                db.executescript("PRAGMA incremental_vacuum")  # all steps of it

    def claim(self, keys: Sequence[bytes], limit: int, record_bytes: int) -> list[bytes]:
        """Claim up to `limit` keys that are neither stored nor claimed by others."""
        now = time.time()
        with self.lock, self._transaction() as db:
            # No lease lasts forever, whatever the clock of another computer or damage says.
            db.execute(
                "DELETE FROM claim WHERE until IS NULL OR until NOT BETWEEN ? AND ?",
                (now, now + 2 * _LEASE),
            )
            taken: set[bytes] = set()
            for part in gen_batches(len(keys), _KEYS_PER_QUERY):
                there = self._select("key, record", keys[part])
                # Damaged records are computed again and replaced.
                taken.update(key for key, blob in there if verify_checksum(key, blob, record_bytes))
                claims = self._select("key, owner", keys[part], table="claim")
                # A lease of this process is left over from an interrupted call.
                others = {owner for _, owner in claims if owner != self._owner}
                running = {owner for owner in others if is_alive(owner)}
                taken.update(key for key, owner in claims if owner in running)
            mine = [key for key in keys if key not in taken][:limit]
            db.executemany(
                "INSERT OR REPLACE INTO claim VALUES (?, ?, ?)",
                [(key, self._owner, now + _LEASE) for key in mine],
            )
            self._claimed.update(mine)
        return mine

    def release(self, keys: Iterable[bytes]) -> None:
        """Release keys that were claimed and not stored."""
        with self.lock:
            if held := self._claimed.intersection(keys):
                with self._transaction() as db:
                    self._delete_claims(db, held)
                self._claimed -= held

    def namespaces(self) -> list[NamespaceUse]:
        """Return the share of each model, without the overhead of the file."""
        with self.lock:
            rows = self._connection().execute(
                "SELECT model, fingerprint, dim, count(*), count(*) * (4 * dim + 1 + ?) FROM embedding "
                "JOIN batch ON batch.id = embedding.batch JOIN space USING (prefix) GROUP BY prefix",
                (CHECKSUM_BYTES,),
            )
            return [NamespaceUse(*row) for row in rows]

    def n_embedded(self) -> int:
        """Return the number of texts that all processes together have ever stored."""
        with self.lock:
            query = "SELECT coalesce(sum(n_embedded), 0) FROM space"
            return self._connection().execute(query).fetchone()[0]

    def n_bytes(self) -> int:
        """Return the used bytes of the file."""
        with self.lock:
            return _bytes(self._connection())[0]

    def delete(self, wanted: Callable[[str, str], bool], used_before: float) -> int:
        """Delete what was last used before a time, of the models that `wanted` selects."""
        n_deleted = 0
        with self.lock:
            with self._transaction() as db:
                batches = db.execute(
                    "SELECT id, model, fingerprint FROM batch JOIN space USING (prefix) WHERE used < ?",
                    (used_before,),
                )
                for batch, model, fingerprint in batches.fetchall():
                    if wanted(model, fingerprint):
                        n_deleted += _delete_batch(db, batch)
            # In a transaction of its own, because it returns the pages that the last one freed.
            self._connection().executescript("PRAGMA incremental_vacuum")  # all steps of it
        return n_deleted

    def replace_damaged(self) -> None:
        """Replace a damaged file by an empty one, once for all processes."""
        lock = Path(f"{self.path}.lock")
        make_private_file(lock)  # for those who share the folder
        # Older releases of filelock would set another mode.
        mode = stat.S_IMODE(lock.stat().st_mode)
        with self.lock, FileLock(lock, timeout=_PATIENCE, mode=mode):
            damaged = self._inode
            self.close()
            if self.path.exists() and self.path.stat().st_ino == damaged:
                # The journal first: SQLite would replay it into the new file.
                Path(f"{self.path}-journal").unlink(missing_ok=True)
                self.path.unlink()

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        if self._open_connection is not None:
            self._open_connection.close()
            self._open_connection = None

    def _connection(self) -> sqlite3.Connection:
        db = self._open_connection
        if db is not None and not db.in_transaction and not self._is_there():
            self.close()
        if self._open_connection is None:
            self.read_only = not make_private_file(self.path)
            mode = "ro" if self.read_only else "rw"
            db = sqlite3.connect(
                f"{self.path.as_uri()}?mode={mode}",
                uri=True,
                timeout=_PATIENCE,
                isolation_level=None,
                check_same_thread=False,
            )
            self._inode = self.path.stat().st_ino
            db.text_factory = lambda raw: raw.decode(errors="replace")  # of a damaged file
            try:
                self._prepare(db)
            except BaseException:
                db.close()
                raise
            self._open_connection = db
        return self._open_connection

    def _is_there(self) -> bool:
        """Return whether the open file is still the one at the path, not deleted or replaced."""
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _prepare(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise NewerVersionError(
                f"it has version {version}; this package writes version {FORMAT}"
            )
        db.execute("PRAGMA journal_mode = TRUNCATE")
        db.execute("PRAGMA synchronous = NORMAL")
        if version == 0 and not self.read_only:
            db.executescript(_SCHEMA)
        elif version < FORMAT:
            raise OlderVersionError(
                f"it has version {version}; this package writes version {FORMAT}"
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._connection()
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")  # waits for readers, and may fail
        except BaseException:
            if db.in_transaction:  # SQLite rolls back by itself after some errors
                db.execute("ROLLBACK")
            raise

    def _select(self, columns: str, keys: Sequence[bytes], table: str = "embedding") -> list[tuple]:
        marks = ", ".join("?" * len(keys))
        query = f"SELECT {columns} FROM {table} WHERE key IN ({marks})"
        rows = self._connection().execute(query, keys).fetchall()
        wanted = set(keys)
        return [row for row in rows if row[0] in wanted]  # a damaged index leads to other rows

    def _delete_claims(self, db: sqlite3.Connection, keys: Iterable[bytes]) -> None:
        held = self._claimed.intersection(keys)
        db.executemany("DELETE FROM claim WHERE key = ?", [(key,) for key in held])

    def _evict(self, db: sqlite3.Connection, max_bytes: int) -> None:
        while _bytes(db)[0] > max_bytes:
            oldest = db.execute("SELECT id FROM batch ORDER BY used, id LIMIT 1").fetchone()
            if oldest is None:
                return
            _delete_batch(db, oldest[0])


def is_damage(error: Exception) -> bool:
    """Return whether an error means that the file must be replaced."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # SQLite's message quotes the file
        return isinstance(error, OlderVersionError | UnicodeDecodeError)
    return code & 0xFF in _DAMAGE


def _delete_batch(db: sqlite3.Connection, batch: int) -> int:
    n_deleted = db.execute("DELETE FROM embedding WHERE batch = ?", (batch,)).rowcount
    db.execute("DELETE FROM batch WHERE id = ?", (batch,))
    return n_deleted


def _bytes(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the used and the free bytes of the file."""
    page_size, n_pages, n_free = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return page_size * (n_pages - n_free), page_size * n_free
