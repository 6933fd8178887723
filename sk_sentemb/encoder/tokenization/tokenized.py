"""What an encoder reads, and the token ids that it becomes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..._types import Text

LONG_TEXT = ("truncate", "chunk", "error")


@dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of some texts, laid end to end in windows; most texts are one window."""

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


def text_length(text: Text) -> int:
    """Return the length of a text, or of a pair's two."""
    return len(text) if isinstance(text, str) else len(text[0]) + len(text[1])


def text_to_bytes(text: Text) -> bytes:
    """Return bytes that no other text, and no other pair, has."""
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    # No UTF-8 holds the byte between them.
    return b"\xff".join(side.encode("utf-8", "surrogatepass") for side in text)
