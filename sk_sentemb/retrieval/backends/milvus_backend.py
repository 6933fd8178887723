"""Milvus Lite on files, or a Milvus server."""

import io
import shutil
import tarfile
import tempfile
import weakref
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np

from ._base import Backend

_FILE = "milvus.db"
_URI_FILE = "collection.txt"

# Number of rows or queries in one request, below the limit of 64 MB for messages.
_BATCH = 1000

# Milvus refuses to return more.
_MOST_CANDIDATES = 16384


class MilvusBackend(Backend):
    """A collection with an exact index: in a temporary database, or at the URI `spec` of a server."""

    name = "milvus"

    def __init__(self, dim: int, spec: str = "") -> None:
        super().__init__(dim, spec)
        if spec and "://" not in spec:
            raise ValueError(
                f"index='milvus:{spec}': {spec!r} is not the URI of a server. Pass one, such as "
                "'milvus:http://localhost:19530', or 'milvus' for Milvus Lite in a temporary folder."
            )
        self._collection = f"documents_{uuid4().hex}"
        self._open()
        self._create_collection()

    def _open(self, files: Path | None = None) -> None:
        """Connect to the server, or open a database, which is a copy of `files` if given."""
        client_class = _import_milvus().MilvusClient
        if self.spec:
            self._use_client(client_class(self.spec))
            return
        folder = Path(tempfile.mkdtemp(prefix="sk_sentemb-milvus-"))
        self._file = folder / _FILE
        if files is not None:
            shutil.copytree(files, self._file)
        self._use_client(client_class(str(self._file)))

    def _use_client(self, client: Any) -> None:
        """Use a client, which is closed with the backend; a temporary database is removed then."""
        self._client = client
        folder = None if self.spec else self._file.parent
        self._finalizer: Any = weakref.finalize(self, _close_and_remove, client, folder)

    def _reopen(self) -> None:
        """Open the temporary database again after it was closed."""
        self._use_client(_import_milvus().MilvusClient(str(self._file)))
        self._client.load_collection(self._collection)

    def _create_collection(self) -> None:
        milvus = _import_milvus()
        schema = milvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", milvus.DataType.INT64, is_primary=True)
        schema.add_field("embedding", milvus.DataType.FLOAT_VECTOR, dim=self.dim)
        index_params = self._client.prepare_index_params()
        index_params.add_index("embedding", index_type="FLAT", metric_type="IP")
        self._client.create_collection(
            self._collection,
            schema=schema,
            index_params=index_params,
            # A search finds what was added before it. Milvus Lite has no other way.
            **({"consistency_level": "Strong"} if self.spec else {}),
        )

    def add(self, keys: np.ndarray, embeddings: np.ndarray) -> None:
        """Add embeddings; the first call makes the index."""
        embeddings = np.asarray(embeddings, dtype=np.float32)
        for batch in _batches(len(keys)):
            rows = zip(keys[batch].tolist(), embeddings[batch], strict=True)
            self._client.insert(
                self._collection, [{"key": key, "embedding": row} for key, row in rows]
            )

    def remove(self, keys: np.ndarray) -> bool:
        """Remove embeddings, if the library can."""
        for batch in _batches(len(keys)):
            self._client.delete(self._collection, ids=np.asarray(keys)[batch].tolist())
        return True

    def search(self, queries: np.ndarray, n_candidates: int) -> np.ndarray:
        """Return the keys of candidates, -1 where fewer were found."""
        keys = np.full((len(queries), n_candidates), -1, dtype=np.int64)
        for batch in _batches(len(queries)):
            found = self._client.search(
                self._collection,
                list(np.asarray(queries[batch], dtype=np.float32)),
                limit=min(n_candidates, _MOST_CANDIDATES),
                output_fields=["key"],
            )
            for row, hits in enumerate(found, start=batch.start):
                keys[row, : len(hits)] = [hit["entity"]["key"] for hit in hits]
        return keys

    def save(self, folder: Path) -> None:
        """Write the index into a folder."""
        if self.spec:
            (folder / _URI_FILE).write_text(self._collection, encoding="utf-8")
            return
        # The files are complete when the database is closed.
        self._client.flush(self._collection)
        self._finalizer.detach()
        _close(self._client, self._file.parent)
        try:
            shutil.copytree(self._file, folder / _FILE, ignore=shutil.ignore_patterns("LOCK"))
        finally:
            self._reopen()

    @classmethod
    def load(cls, folder: Path, dim: int, spec: str = "") -> Self:
        """Open a saved index."""
        backend = cls.__new__(cls)
        Backend.__init__(backend, dim, spec)
        if spec:
            backend._collection = (folder / _URI_FILE).read_text(encoding="utf-8")
            backend._open()
        else:
            backend._open(folder / _FILE)
            (backend._collection,) = backend._client.list_collections()
        backend._client.load_collection(backend._collection)
        return backend

    def __getstate__(self) -> dict[str, Any]:
        stored = io.BytesIO()
        with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=stored, mode="w") as tar:
            self.save(Path(folder))
            tar.add(folder, arcname="")
        return {"dim": self.dim, "spec": self.spec, "stored": stored.getvalue()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(fileobj=io.BytesIO(state["stored"])) as tar:
                tar.extractall(folder, filter="data")
            loaded = type(self).load(Path(folder), state["dim"], state["spec"])
        loaded._finalizer.detach()
        self.__dict__.update(loaded.__dict__)
        self._use_client(loaded._client)


def _batches(n_rows: int) -> list[slice]:
    return [slice(start, start + _BATCH) for start in range(0, n_rows, _BATCH)]


def _close_and_remove(client: Any, folder: Path | None) -> None:
    _close(client, folder)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _close(client: Any, folder: Path | None) -> None:
    client.close()
    if folder is not None:
        # The client leaves its server running until the end of the process, with threads and a port,
        # and the server would then write the database once more.
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(str(folder / _FILE))


def _import_milvus() -> Any:
    try:
        import pymilvus
    except ImportError as error:
        raise ImportError(
            'index="milvus" requires pymilvus: pip install "sk-sentemb[milvus]", or pass '
            'index="exact".'
        ) from error
    return pymilvus
