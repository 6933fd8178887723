"""Save the parts of an index in a folder, and load them memory-mapped."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..exceptions import IndexFileError
from .backends import Backend, load_backend
from .document_table import read_table, write_table
from .lazy_documents import LazyDocuments
from .snapshot import Snapshot, new_snapshot, read_snapshot
from .stored_embedder import load_embedder, save_embedder

_DOCUMENTS = "documents.arrow"
_BACKEND = "backend"
_EMBEDDER = "embedder"


class IndexParts(NamedTuple):
    """The parts of an index; attributes are JSON."""

    attributes: dict[str, Any]
    arrays: dict[str, np.ndarray]  # with a row per document
    documents: LazyDocuments
    backend: Backend | None
    embedder: Any


def save_parts(folder: str | os.PathLike[str], parts: IndexParts) -> None:
    """Save the parts of an index in a folder, in place of those it holds, completely or not at all."""
    # Before a file is written, because it raises for columns that Arrow cannot hold.
    documents = parts.documents.to_table()
    with new_snapshot(Path(folder).expanduser()) as snapshot:
        path, content = snapshot.path, snapshot.content
        for name, array in parts.arrays.items():
            np.save(path / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        content["arrays"] = list(parts.arrays)
        write_table(documents, path / _DOCUMENTS)
        content["attributes"] = parts.attributes
        content["embedder"] = save_embedder(parts.embedder, path / _EMBEDDER)
        content["backend"] = None
        if parts.backend is not None:
            (path / _BACKEND).mkdir()
            parts.backend.save(path / _BACKEND)
            name = ":".join(filter(None, (parts.backend.name, parts.backend.spec)))
            content["backend"] = {"index": name, "dim": parts.backend.dim}


def load_parts(
    folder: str | os.PathLike[str],
    *,
    embedder: Any = None,
    verify: bool = False,
) -> IndexParts:
    """Load the parts of an index; embeddings and texts are mapped and read when they are used."""

    def read(snapshot: Snapshot) -> IndexParts:
        path, content = snapshot.path, snapshot.content
        arrays = {name: _map_array(path / f"{name}.npy") for name in content["arrays"]}
        documents = LazyDocuments(table=read_table(path / _DOCUMENTS))
        return IndexParts(
            content["attributes"],
            arrays,
            documents,
            _load_backend(path / _BACKEND, content["backend"]),
            load_embedder(content["embedder"], path / _EMBEDDER, embedder),
        )

    return read_snapshot(Path(folder).expanduser(), read, verify=verify)


def _map_array(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise IndexFileError(f"{file} is damaged: {error}. Save the index again.") from None


def _load_backend(folder: Path, stored: dict[str, Any] | None) -> Backend | None:
    if stored is None:
        return None
    try:
        return load_backend(folder=folder, **stored)
    except RuntimeError as error:
        raise IndexFileError(
            f"{folder} cannot be read by {stored['index']}: {error}. Save the index again."
        ) from error
