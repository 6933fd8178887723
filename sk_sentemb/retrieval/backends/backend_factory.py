"""From the parameter ``index`` to a backend."""

from pathlib import Path

from ._base import Backend
from .faiss_backend import FaissBackend
from .milvus_backend import MilvusBackend
from .usearch_backend import UsearchBackend

_BACKENDS: dict[str, type[Backend]] = {
    backend.name: backend for backend in (UsearchBackend, FaissBackend, MilvusBackend)
}


def check_index_name(index: str) -> None:
    """Raise unless a value of ``index`` names a backend, "exact" or "auto"."""
    if not isinstance(index, str) or index.partition(":")[0] not in _BACKENDS:
        if index in ("auto", "exact"):
            return
        raise ValueError(
            f"index={index!r}: pass 'auto', 'exact', or one of {sorted(_BACKENDS)}, which may be "
            "followed by a colon and a specification, such as 'faiss:HNSW32'."
        )


def open_backend(index: str, dim: int) -> Backend:
    """Open an empty backend, such as "faiss" or "faiss:HNSW32"."""
    check_index_name(index)
    name, _, spec = index.partition(":")
    return _BACKENDS[name](dim, spec)


def load_backend(index: str, dim: int, folder: Path) -> Backend:
    """Open what a backend saved in a folder."""
    check_index_name(index)
    name, _, spec = index.partition(":")
    return _BACKENDS[name].load(folder, dim, spec)
