"""What a cache holds and how well it serves."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class NamespaceUse(NamedTuple):
    """What the texts of one model, under one set of settings, take."""

    model: str
    fingerprint: str
    dim: int
    n_texts: int
    n_bytes: int


@dataclass(frozen=True)
class CacheStatistics:
    """What a cache holds, and how often it had what was asked for.

    Attributes
    ----------
    n_texts : int
        Embeddings in the cache.
    n_bytes : int
        What they take.
    max_bytes : int
        The bound.
    hits : int
        How many texts this process found.
    misses : int
        How many texts this process had to embed.
    n_embedded : int
        How many texts all processes together ever embedded for it.
    spaces : tuple of NamespaceUse
        What each model takes, one entry for each of its settings.
    """

    n_texts: int
    n_bytes: int
    max_bytes: int
    hits: int
    misses: int
    n_embedded: int
    spaces: tuple[NamespaceUse, ...]

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each model and set of settings.

        Returns
        -------
        DataFrame
            With the columns model, fingerprint, dim, n_texts and n_bytes.
        """
        import pandas as pd

        return pd.DataFrame(self.spaces, columns=list(NamespaceUse._fields))


def is_of(asked: str | None, model: str, fingerprint: str) -> bool:
    """Say whether a model goes by a name: all of it, its last part, or the fingerprint; or by any."""
    return asked is None or asked == fingerprint or f"/{model}".endswith(f"/{asked}")
