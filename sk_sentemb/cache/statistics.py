"""Contents and hit rate of a cache."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class NamespaceUse(NamedTuple):
    """The memory that one model's embeddings take, under one set of parameters."""

    model: str
    fingerprint: str
    dim: int
    n_texts: int
    n_bytes: int


@dataclass(frozen=True)
class CacheStatistics:
    """Contents and hit rate of a cache.

    Attributes
    ----------
    n_texts : int
        Number of embeddings in the cache.
    n_bytes : int
        Size of the embeddings and their bookkeeping, in bytes.
    max_bytes : int
        Maximum size of the cache, in bytes.
    hits : int
        Number of texts that this process found in the cache.
    misses : int
        Number of texts that this process had to embed.
    n_embedded : int
        Number of texts that all processes together have ever embedded for the cache.
    namespaces : tuple of NamespaceUse
        The share of each model, with one entry for each set of parameters.
    """

    n_texts: int
    n_bytes: int
    max_bytes: int
    hits: int
    misses: int
    n_embedded: int
    namespaces: tuple[NamespaceUse, ...]

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each model and set of parameters.

        Returns
        -------
        DataFrame
            A data frame with the columns model, fingerprint, dim, n_texts and n_bytes.
        """
        import pandas as pd

        return pd.DataFrame(self.namespaces, columns=list(NamespaceUse._fields))


def matches_model(name: str | None, model: str, fingerprint: str) -> bool:
    """Return whether a name selects a model: its name or the end of it, its fingerprint, or None."""
    return name is None or name == fingerprint or f"/{model}".endswith(f"/{name}")
