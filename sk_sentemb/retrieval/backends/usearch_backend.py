"""HNSW of usearch, with compressed embeddings."""

from pathlib import Path
from typing import Any, Self

import numpy as np

from ._base import Backend

_FILE = "index.usearch"
_DTYPES = ("i8", "bf16", "f16", "f32")

# Wide enough for a recall of 1.0 in the benchmark, after candidates are scored again.
_OPTIONS = {"connectivity": 16, "expansion_add": 96, "expansion_search": 64}


class UsearchBackend(Backend):
    """A graph of embeddings in the dtype `spec`; by default, i8 for unit norm and bf16 for others."""

    name = "usearch"
    _index: Any = None
    _is_view = False

    def __init__(self, dim: int, spec: str = "") -> None:
        if spec and spec not in _DTYPES:
            raise ValueError(
                f"index='usearch:{spec}': {spec!r} is not a dtype of usearch. Pass one of "
                f"{list(_DTYPES)}, or 'usearch'."
            )
        super().__init__(dim, spec)
        _import_usearch()

    def add(self, keys: np.ndarray, embeddings: np.ndarray) -> None:
        """Add embeddings; the first call makes the index."""
        if self._index is None:
            # In i8, components beyond 1 would be clipped.
            is_unit = bool(np.abs(embeddings).max(initial=0) <= 1)
            self._index = _import_usearch().Index(
                ndim=self.dim,
                metric="ip",
                dtype=self.spec or ("i8" if is_unit else "bf16"),
                **_OPTIONS,
            )
        self._make_writable()
        if len(keys):
            self._index.add(keys, np.ascontiguousarray(embeddings, dtype=np.float32))

    def remove(self, keys: np.ndarray) -> bool:
        """Remove embeddings, if the library can."""
        self._make_writable()
        if len(keys):
            self._index.remove(keys)
        return True

    def search(self, queries: np.ndarray, n_candidates: int) -> np.ndarray:
        """Return the keys of candidates, -1 where fewer were found."""
        keys = np.full((len(queries), n_candidates), -1, dtype=np.int64)
        if n_found := min(n_candidates, len(self._index)) if len(queries) else 0:
            # The graph is searched as widely as candidates are asked for.
            self._index.expansion_search = max(_OPTIONS["expansion_search"], n_candidates)
            matches = self._index.search(queries, n_found)
            if len(queries) == 1:  # usearch then returns as many as it has found
                keys[0, : len(matches.keys.ravel())] = matches.keys.ravel()
            else:
                is_found = np.arange(n_found) < np.asarray(matches.counts)[:, np.newaxis]
                keys[:, :n_found] = np.where(is_found, matches.keys.astype(np.int64), -1)
        return keys

    def save(self, folder: Path) -> None:
        """Write the index into a folder."""
        self._index.save(str(folder / _FILE))

    @classmethod
    def load(cls, folder: Path, dim: int, spec: str = "") -> Self:
        """Open a saved index."""
        backend = cls(dim, spec)
        file = folder / _FILE
        backend._index = _import_usearch().Index.restore(str(file), view=True)
        if backend._index is None:
            raise OSError(f"usearch cannot read {file}. Save the index again.")
        backend._is_view = True
        return backend

    def _make_writable(self) -> None:
        """Copy a memory-mapped index into memory."""
        if self._is_view:
            self.__setstate__(self.__getstate__())

    def __getstate__(self) -> dict[str, Any]:
        stored = None if self._index is None else bytes(self._index.save())
        return {"dim": self.dim, "spec": self.spec, "stored": stored}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__init__(state["dim"], state["spec"])
        self._is_view = False
        if state["stored"] is not None:
            self._index = _import_usearch().Index.restore(state["stored"])


def _import_usearch() -> Any:
    try:
        import usearch.index
    except ImportError as error:
        raise ImportError(
            'index="usearch" requires usearch: pip install "sk-sentemb[search]", or pass index="exact".'
        ) from error
    return usearch.index
