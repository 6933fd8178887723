"""What an encoder reads, and the token ids that it becomes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..._types import Text

LONG_TEXT = ("truncate", "chunk", "error")


@dataclass(frozen=True)
class Tokens:
    """Token ids of some texts, laid end to end in windows; most texts are one window.

    Attributes
    ----------
    ids : ndarray of shape (n_tokens,), int64
    lengths : ndarray of shape (n_windows,), int64
    text_of : ndarray of shape (n_windows,), int64
        The text that each window belongs to, ascending.
    truncated : ndarray of shape (n_texts,), bool
    prompt_length : int
        How many tokens at the start of each window are the prompt and what stands before it.
    types : ndarray of shape (n_tokens,), int64, or None
        Which of the texts of a pair each token is of, where the tokenizer tells them apart.
    """

    ids: np.ndarray
    lengths: np.ndarray
    text_of: np.ndarray
    truncated: np.ndarray
    prompt_length: int = 0
    types: np.ndarray | None = None

    @cached_property
    def _stops(self) -> np.ndarray:
        return np.cumsum(self.lengths)

    def of(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the ids of some windows, laid end to end, and the types."""
        stops = self._stops[windows]
        places = [
            slice(stop - n, stop) for stop, n in zip(stops, self.lengths[windows], strict=True)
        ]
        ids = np.concatenate([self.ids[place] for place in places])
        if self.types is None:
            return ids, None
        return ids, np.concatenate([self.types[place] for place in places])


def n_characters(text: Text) -> int:
    """Return the length of a text, or of a pair's two."""
    return len(text) if isinstance(text, str) else len(text[0]) + len(text[1])


def bytes_of(text: Text) -> bytes:
    """Return bytes that no other text, and no other pair, has."""
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    # No UTF-8 holds the byte between them.
    return b"\xff".join(side.encode("utf-8", "surrogatepass") for side in text)
