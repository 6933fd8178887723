"""Save the parts of an index in a folder, and load them memory-mapped."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..exceptions import IndexFileError
from .backends import Backend
from .document_table import frame_to_table, read_table, table_to_frame, write_table
from .snapshot import Snapshot, new_snapshot, read_snapshot
from .stored_embedder import load_embedder, save_embedder

_EMBEDDINGS = "embeddings.npy"
_DOCUMENTS = "documents.arrow"
_BACKEND = "backend"
_EMBEDDER = "embedder"


class IndexParts(NamedTuple):
    """The parts of an index: arrays, a data frame, and other attributes as JSON."""

    attributes: dict[str, Any]
    embeddings: np.ndarray
    documents: pd.DataFrame
    backend: Backend | None
    embedder: Any


def save_parts(folder: str | os.PathLike[str], parts: IndexParts) -> None:
    """Save the parts of an index in a folder, in place of those it holds, completely or not at all."""
    # Before a file is written, because it raises for columns that Arrow cannot hold.
    documents = frame_to_table(parts.documents)
    with new_snapshot(Path(folder).expanduser()) as snapshot:
        path, content = snapshot.path, snapshot.content
        np.save(path / _EMBEDDINGS, np.ascontiguousarray(parts.embeddings), allow_pickle=False)
        write_table(documents, path / _DOCUMENTS)
        content["attributes"] = parts.attributes
        content["embedder"] = save_embedder(parts.embedder, path / _EMBEDDER)
        content["backend"] = None
        if parts.backend is not None:
            (path / _BACKEND).mkdir()
            parts.backend.save(path / _BACKEND)
            content["backend"] = parts.backend.name


def load_parts(
    folder: str | os.PathLike[str],
    *,
    load_backend: Callable[[str, Path], Backend],
    embedder: Any = None,
    verify: bool = False,
) -> IndexParts:
    """Load the parts of an index; embeddings and texts are mapped and read when they are used."""

    def read(snapshot: Snapshot) -> IndexParts:
        path, content = snapshot.path, snapshot.content
        embeddings = _map_array(path / _EMBEDDINGS)
        documents = table_to_frame(read_table(path / _DOCUMENTS))
        if len(embeddings) != len(documents):
            raise IndexFileError(
                f"{path} has {len(embeddings)} embeddings and {len(documents)} documents. Save the "
                "index again."
            )
        name = content["backend"]
        return IndexParts(
            content["attributes"],
            embeddings,
            documents,
            None if name is None else load_backend(name, path / _BACKEND),
            load_embedder(content["embedder"], path / _EMBEDDER, embedder),
        )

    return read_snapshot(Path(folder).expanduser(), read, verify=verify)


def _map_array(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise IndexFileError(f"{file} is damaged: {error}. Save the index again.") from None
