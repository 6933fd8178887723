"""The interface of libraries that find nearest neighbors."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

import numpy as np


class Backend(ABC):
    """Finds candidates by inner product among embeddings that have integer keys.

    Candidates are scored again exactly, so that a backend returns keys and no scores.
    """

    name: ClassVar[str]

    def __init__(self, dim: int, spec: str = "") -> None:
        self.dim = dim
        self.spec = spec

    @abstractmethod
    def add(self, keys: np.ndarray, embeddings: np.ndarray) -> None:
        """Add float32 embeddings of shape (n, dim) under new int64 keys."""

    @abstractmethod
    def remove(self, keys: np.ndarray) -> bool:
        """Remove embeddings; return False if the library cannot, so that a new index is built."""

    @abstractmethod
    def search(self, queries: np.ndarray, n_candidates: int) -> np.ndarray:
        """Return int64 keys of shape (n_queries, n_candidates), -1 where fewer were found."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write files into an existing empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, dim: int, spec: str = "") -> Self:
        """Open what `save` wrote, memory-mapped if the library can; its files are not changed."""
