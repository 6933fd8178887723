"""Any index of FAISS, by its factory string."""

from pathlib import Path
from typing import Any, Self

import numpy as np

from ._base import Backend

_FILE = "index.faiss"

# The widths of building and searching, of which FAISS's own defaults (40, 16 and 1) find too few.
_EF_CONSTRUCTION, _EF_SEARCH = 96, 128
_MIN_LISTS, _SHARE_OF_LISTS = 8, 8


class FaissBackend(Backend):
    """An index that `faiss.index_factory` makes of `spec`; by default, an exact one."""

    name = "faiss"
    _index: Any = None

    def __init__(self, dim: int, spec: str = "") -> None:
        super().__init__(dim, spec or "Flat")
        self._make()

    def _make(self) -> Any:
        faiss = _import_faiss()
        try:
            index = faiss.index_factory(self.dim, self.spec, faiss.METRIC_INNER_PRODUCT)
        except RuntimeError as error:
            raise ValueError(
                f"index='faiss:{self.spec}' is not an index that FAISS makes for {self.dim} dimensions: "
                f"{_last_line(error)}. Pass a factory string, such as 'faiss:Flat', 'faiss:HNSW32' or "
                "'faiss:IVF1024,Flat'."
            ) from None
        if hasattr(index, "hnsw"):
            index.hnsw.efConstruction = _EF_CONSTRUCTION
        return index

    def add(self, keys: np.ndarray, embeddings: np.ndarray) -> None:
        """Add embeddings; the first call makes the index."""
        embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
        if self._index is None:
            index = self._make()
            self._train(index, embeddings)
            # Inverted files hold keys themselves. Mapped ones would be wrong after a removal.
            faiss = _import_faiss()
            has_keys = faiss.try_extract_index_ivf(index) is not None
            self._index = index if has_keys else faiss.IndexIDMap2(index)
        if len(keys):
            self._index.add_with_ids(embeddings, np.asarray(keys, dtype=np.int64))

    def _train(self, index: Any, embeddings: np.ndarray) -> None:
        if index.is_trained:
            return
        try:
            index.train(embeddings)
        except RuntimeError as error:
            raise ValueError(
                f"index='faiss:{self.spec}' cannot be trained on {len(embeddings)} documents: "
                f"{_last_line(error)}. Pass fewer lists or bits, or index='faiss:Flat'."
            ) from None

    def remove(self, keys: np.ndarray) -> bool:
        """Remove embeddings, if the library can."""
        try:
            self._index.remove_ids(np.asarray(keys, dtype=np.int64))
        except RuntimeError:  # HNSW
            return False
        return True

    def search(self, queries: np.ndarray, n_candidates: int) -> np.ndarray:
        """Return the keys of candidates, -1 where fewer were found."""
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if not len(queries) or not self._index.ntotal:
            return np.full((len(queries), n_candidates), -1, dtype=np.int64)
        faiss = _import_faiss()
        index = faiss.downcast_index(self._index)
        inner = faiss.downcast_index(index.index) if hasattr(index, "id_map") else index
        if hasattr(inner, "hnsw"):
            inner.hnsw.efSearch = max(_EF_SEARCH, n_candidates)
        if (inner := faiss.try_extract_index_ivf(index)) is not None:
            inner.nprobe = min(inner.nlist, max(_MIN_LISTS, inner.nlist // _SHARE_OF_LISTS))
        return self._index.search(queries, n_candidates)[1].astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write the index into a folder."""
        _import_faiss().write_index(self._index, str(folder / _FILE))

    @classmethod
    def load(cls, folder: Path, dim: int, spec: str = "") -> Self:
        """Open a saved index."""
        backend = cls(dim, spec)
        file = folder / _FILE
        try:
            backend._index = _import_faiss().read_index(str(file))
        except RuntimeError as error:
            raise OSError(
                f"FAISS cannot read {file}: {_last_line(error)}. Save the index again."
            ) from None
        return backend

    def __getstate__(self) -> dict[str, Any]:
        stored = None if self._index is None else _import_faiss().serialize_index(self._index)
        return {"dim": self.dim, "spec": self.spec, "stored": stored}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__init__(state["dim"], state["spec"])
        if state["stored"] is not None:
            self._index = _import_faiss().deserialize_index(state["stored"])


def _last_line(error: RuntimeError) -> str:
    """Return the message of an error of FAISS without the place in its source."""
    return str(error).strip().splitlines()[-1].rpartition("Error: ")[2].rstrip(".")


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            'index="faiss" requires FAISS: pip install "sk-sentemb[faiss]", or pass index="exact".'
        ) from error
    return faiss
