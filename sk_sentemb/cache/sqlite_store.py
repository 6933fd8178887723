"""The file of a disk cache: an SQLite database of checked records."""

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
from .processes import is_running, process_id
from .statistics import NamespaceUse

# The file is one that can be copied, and read where nothing can be written: so no write-ahead log.
# A batch is what was written together; it was used together mostly, and goes together.
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

# Seconds: to wait for another process's transaction; after which another computer's claim is void
# (a process that is gone is noticed at once on the same one); by which a use may be noted too late.
_PATIENCE = 10.0
_LEASE = 300.0
_TOLERANCE = 3600.0


# SQLite's codes for a file that is not what it was: SQL that fails, damage, no database at all.
_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class OlderVersionError(sqlite3.DatabaseError):
    """The file was written by an older version of this package, and is of no use any more."""


class NewerVersionError(sqlite3.DatabaseError):
    """The file was written by a newer version of this package, which goes on using it."""


class Store:
    """One file of embeddings, used by this process; others may use it at the same time.

    Every method raises what SQLite raises; :class:`DiskCache` turns that into warnings.
    """

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
        """Return the records that are there, whole and of this length."""
        found = {}
        near = sorted(keys)  # keys that lie side by side in the index
        with self.lock:
            for part in gen_batches(len(near), _KEYS_PER_QUERY):
                for key, batch, checked in self._select("key, batch, record", near[part]):
                    record = verify_checksum(key, checked, record_bytes)
                    if record is None:
                        self.n_damaged += 1
                    else:
                        found[key] = record
                        self._used.add(batch)
            self.hits += len(found)
        return found

    def note_use(self) -> None:
        """Write down, now and then, which batches were used."""
        now = time.time()
        with self.lock:
            news = [b for b in self._used if self._noted.get(b, 0.0) < now - _TOLERANCE]
            self._used.clear()
            self._noted.update(dict.fromkeys(news, now))
            if not news or self.read_only:
                return
            rows = [(now, batch, now - _TOLERANCE) for batch in news]
            query = "SELECT 1 FROM batch WHERE used < ? AND id = ?"
            db = self._connection()
            if any(db.execute(query, (before, batch)).fetchone() for _, batch, before in rows):
                with self._transaction():
                    db.executemany("UPDATE batch SET used = ? WHERE id = ? AND used < ?", rows)

    def put(self, space: Namespace, records: Mapping[bytes, bytes], max_bytes: int) -> None:
        """Keep records, and drop what was used least recently where the file would grow too large."""
        with self.lock:
            with self._transaction() as db:
                (batch,) = db.execute(
                    "INSERT INTO batch (prefix, used) VALUES (?, ?) RETURNING id",
                    (space.prefix, time.time()),
                ).fetchone()
                db.executemany(
                    "INSERT OR REPLACE INTO embedding VALUES (?, ?, ?)",
                    [(key, batch, add_checksum(key, record)) for key, record in records.items()],
                )
                db.execute(
                    "INSERT INTO space VALUES (?, ?, ?, ?, ?) ON CONFLICT (prefix) "
                    "DO UPDATE SET n_embedded = n_embedded + excluded.n_embedded",
                    (space.prefix, space.model, space.fingerprint, space.dim, len(records)),
                )
                self._delete_claims(db, records)
                self._evict(db, max_bytes)
            self._claimed.difference_update(records)
            # Where the bound is lower than it was. In a transaction of its own, as in `delete`.
            if _bytes(db)[1] > max_bytes // 8:
                db.executescript("PRAGMA incremental_vacuum")  # all steps of it

    def claim(self, keys: Sequence[bytes], limit: int, record_bytes: int) -> list[bytes]:
        """Claim up to so many of the keys: those that are neither there nor claimed by others."""
        now = time.time()
        with self.lock, self._transaction() as db:
            # None lasts for ever, whatever another clock or damage says.
            db.execute(
                "DELETE FROM claim WHERE until IS NULL OR until NOT BETWEEN ? AND ?",
                (now, now + 2 * _LEASE),
            )
            taken: set[bytes] = set()
            for part in gen_batches(len(keys), _KEYS_PER_QUERY):
                there = self._select("key, record", keys[part])
                # A damaged one is embedded again and replaced.
                taken.update(key for key, blob in there if verify_checksum(key, blob, record_bytes))
                claims = self._select("key, owner", keys[part], table="claim")
                # One of this process is left over from a call that was interrupted.
                others = {owner for _, owner in claims if owner != self._owner}
                running = {owner for owner in others if is_running(owner)}
                taken.update(key for key, owner in claims if owner in running)
            mine = [key for key in keys if key not in taken][:limit]
            db.executemany(
                "INSERT OR REPLACE INTO claim VALUES (?, ?, ?)",
                [(key, self._owner, now + _LEASE) for key in mine],
            )
            self._claimed.update(mine)
        return mine

    def give_back(self, keys: Iterable[bytes]) -> None:
        """Let others have keys that were claimed and not put."""
        with self.lock:
            if held := self._claimed.intersection(keys):
                with self._transaction() as db:
                    self._delete_claims(db, held)
                self._claimed -= held

    def spaces(self) -> list[NamespaceUse]:
        """Return what each model's texts take, without the file's own overhead."""
        with self.lock:
            rows = self._connection().execute(
                "SELECT model, fingerprint, dim, count(*), count(*) * (4 * dim + 1 + ?) FROM embedding "
                "JOIN batch ON batch.id = embedding.batch JOIN space USING (prefix) GROUP BY prefix",
                (CHECKSUM_BYTES,),
            )
            return [NamespaceUse(*row) for row in rows]

    def n_embedded(self) -> int:
        """Return how many texts all processes together have ever put here."""
        with self.lock:
            query = "SELECT coalesce(sum(n_embedded), 0) FROM space"
            return self._connection().execute(query).fetchone()[0]

    def n_bytes(self) -> int:
        """Return the bytes of the file that are in use."""
        with self.lock:
            return _bytes(self._connection())[0]

    def delete(self, wanted: Callable[[str, str], bool], used_before: float) -> int:
        """Drop what was last used before a time, of the models whose name and fingerprint are wanted."""
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
            # In a transaction of its own, because it gives back what the last one set free.
            self._connection().executescript("PRAGMA incremental_vacuum")  # all steps of it
        return n_deleted

    def replace_damaged(self) -> None:
        """Put an empty file in the place of one that cannot be read, once for all processes."""
        lock = Path(f"{self.path}.lock")
        make_private_file(lock)  # for those who share the folder
        # Older releases of filelock would set another mode.
        mode = stat.S_IMODE(lock.stat().st_mode)
        with self.lock, FileLock(lock, timeout=_PATIENCE, mode=mode):
            damaged = self._inode
            self.close()
            if self.path.exists() and self.path.stat().st_ino == damaged:
                # First the journal: SQLite would play it back into the new file.
                Path(f"{self.path}-journal").unlink(missing_ok=True)
                self.path.unlink()

    def close(self) -> None:
        """Let go of the file; it is opened again when it is needed."""
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
            db.text_factory = lambda raw: raw.decode(errors="replace")  # where it is damaged
            try:
                self._prepare(db)
            except BaseException:
                db.close()
                raise
            self._open_connection = db
        return self._open_connection

    def _is_there(self) -> bool:
        """Say whether the open file is still the one at the path: somebody may have deleted it."""
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _prepare(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise NewerVersionError(f"it has version {version}, and this package writes {FORMAT}")
        db.execute("PRAGMA journal_mode = TRUNCATE")
        db.execute("PRAGMA synchronous = NORMAL")
        if version == 0 and not self.read_only:
            db.executescript(_SCHEMA)
        elif version < FORMAT:
            raise OlderVersionError(f"it has version {version}, and this package writes {FORMAT}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._connection()
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")  # which waits for readers, and may fail too
        except BaseException:
            if db.in_transaction:  # SQLite has rolled back by itself after some errors
                db.execute("ROLLBACK")
            raise

    def _select(self, columns: str, keys: Sequence[bytes], table: str = "embedding") -> list[tuple]:
        marks = ", ".join("?" * len(keys))
        query = f"SELECT {columns} FROM {table} WHERE key IN ({marks})"
        rows = self._connection().execute(query, keys).fetchall()
        wanted = set(keys)
        return [row for row in rows if row[0] in wanted]  # a damaged index leads to others

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
    """Say whether an error means that the file must be replaced."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # SQLite's message quotes the file
        return isinstance(error, OlderVersionError | UnicodeDecodeError)
    return code & 0xFF in _DAMAGE


def _delete_batch(db: sqlite3.Connection, batch: int) -> int:
    n_deleted = db.execute("DELETE FROM embedding WHERE batch = ?", (batch,)).rowcount
    db.execute("DELETE FROM batch WHERE id = ?", (batch,))
    return n_deleted


def _bytes(db: sqlite3.Connection) -> tuple[int, int]:
    """Return how many bytes of the file are in use and how many are free."""
    page_size, n_pages, n_free = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return page_size * (n_pages - n_free), page_size * n_free
