"""The backend of an index, from the choice of one to changes that may fail."""

from collections.abc import Callable
from importlib.util import find_spec
from threading import RLock
from typing import Any

import numpy as np

from .._warn import warn
from ..exceptions import IndexWarning
from .backends import Backend, check_index_name, open_backend

# The number of documents up to which "auto" compares all of them with each query.
MOST_EXACT = 200_000


class BackendSlot:
    """Holds a backend; after a change that failed it is empty, and the next search fills it."""

    # A backend is changed in place, so that the states of an index before and after a change share it.
    # Each ignores the keys that it does not know.

    def __init__(self, backend: Backend) -> None:
        self._backend: Backend | None = backend
        self._lock = RLock()

    def get(self, build: Callable[[], Backend]) -> Backend:
        """Return the backend, built if there is none."""
        with self._lock:
            if self._backend is None:
                self._backend = build()
            return self._backend

    def change(self, change: Callable[[Backend], object]) -> None:
        """Change the backend in place; empty the slot if that fails or the library cannot do it."""
        with self._lock:
            if self._backend is None:
                return  # the next search builds one of the new state
            backend, self._backend = self._backend, None
            if change(backend) is not False:
                self._backend = backend

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"_backend": self._backend}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=RLock())


def choose_index(index: str, n_documents: int) -> str:
    """Return the name of the backend to use; "auto" depends on the number of documents."""
    check_index_name(index)
    if index != "auto":
        return index
    if n_documents <= MOST_EXACT:
        return "exact"
    if find_spec("usearch") is None:
        warn(
            f"{n_documents} documents are compared one by one with each query, because usearch is not "
            'installed: pip install "sk-sentemb[search]". Pass index="exact" to do without it.',
            IndexWarning,
        )
        return "exact"
    return "usearch"


def build_backend(index: str, keys: np.ndarray, embeddings: np.ndarray) -> Backend:
    """Return a backend that holds embeddings."""
    backend = open_backend(index, embeddings.shape[1])
    backend.add(keys, embeddings)
    return backend
