"""Embed each text once: what is known comes from the cache, the rest is embedded and kept."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from .._types import Text
from .._warn import warn
from ..encoder import Embedded, text_length
from ..exceptions import CacheWarning, TextTooLongError
from .namespace import Namespace

# Keys that are looked up together.
_WINDOW = 4096

# Workers wait for each other at the end of a turn, so that theirs is longer.
_SPREAD = 4

# A rough number, to cut turns by; nothing depends on it but their size.
CHARACTERS_PER_TOKEN = 4


# Embeds texts, and reports how many are done.
Embed = Callable[[Sequence[Text], Callable[[int], None]], Embedded]


class Cache(Protocol):
    """What `get_or_compute` asks of a cache."""

    runs_per_turn: int

    def get(self, space: Namespace, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key, or None."""

    def claim(self, space: Namespace, keys: Sequence[bytes], limit: int) -> list[bytes]:
        """Return up to `limit` keys that the caller shall embed: neither there nor claimed.

        The caller gives them back, whatever happens. No keys: others are at all of them, or done.
        """

    def put(self, space: Namespace, records: Mapping[bytes, bytes]) -> None:
        """Keep the records of claimed keys."""

    def give_back(self, space: Namespace, keys: Iterable[bytes]) -> object:
        """Let others have those of the keys that this thread claimed, put or not."""

    def wait(self, space: Namespace, keys: Sequence[bytes]) -> None:
        """Wait until somebody may be done with one of the keys."""

    def holds(self, n_texts: int, space: Namespace) -> bool:
        """Say whether so many texts have room."""


def get_or_compute(
    cache: Cache,
    space: Namespace,
    texts: Sequence[Text],
    embed: Embed,
    *,
    tokens_per_run: int,
    n_workers: int = 1,
    on_progress: Callable[[int], None],
) -> Embedded:
    """Return the vectors of distinct texts, embedding only those that nobody has embedded yet."""
    if not cache.holds(len(texts), space):
        warn(
            f"{len(texts)} texts of {space.model!r} do not fit into {cache!r}, so that what comes "
            "first will be gone when it is wanted again. Raise its max_bytes.",
            CacheWarning,
        )
    call = _Call(cache, space, texts, embed, on_progress)
    rows = range(len(texts))
    windows = (rows[start : start + _WINDOW] for start in rows[::_WINDOW])
    missing = [i for window in windows for i in call.look_up(window)]
    if call.n_done:
        on_progress(call.n_done)
    # In an order of their own, so that the last bits do not depend on that of the caller.
    todo = deque(sorted(missing, key=texts.__getitem__))
    n_runs = cache.runs_per_turn if n_workers == 1 else cache.runs_per_turn * _SPREAD * n_workers
    while todo:
        window = [todo.popleft() for _ in range(min(_WINDOW * n_workers, len(todo)))]
        left = call.take_turn(window, CHARACTERS_PER_TOKEN * tokens_per_run * n_runs)
        todo.extendleft(reversed(left))
    return Embedded(call.vectors, call.truncated)


class _Call:
    """One call of `get_or_compute`: its texts, and the vectors that it has so far."""

    def __init__(
        self,
        cache: Cache,
        space: Namespace,
        texts: Sequence[Text],
        embed: Embed,
        on_progress: Callable[[int], None],
    ) -> None:
        self.cache, self.space, self.texts = cache, space, texts
        self.embed, self.on_progress = embed, on_progress
        self.keys = space.keys(texts)
        self.vectors = np.empty((len(texts), space.dim), dtype=np.float32)
        self.truncated = np.zeros(len(texts), dtype=bool)
        self.n_done = 0

    def look_up(self, rows: Sequence[int]) -> list[int]:
        """Take what the cache has, and return the rows that it does not have."""
        records = self.cache.get(self.space, [self.keys[i] for i in rows])
        known = [i for i, record in zip(rows, records, strict=True) if record is not None]
        self._fill(known, self.space.unpack(filter(None, records)))
        return [i for i, record in zip(rows, records, strict=True) if record is None]

    def take_turn(self, rows: list[int], most_characters: int) -> list[int]:
        """Embed the first rows that nobody else is at, and return those that are still to do."""
        row_of = {self.keys[i]: i for i in rows}
        limit = np.cumsum([text_length(self.texts[i]) for i in rows]).searchsorted(most_characters)
        try:
            mine = self.cache.claim(self.space, list(row_of), max(1, int(limit)))
            if mine:
                embedded = self._embed([row_of[key] for key in mine])
                records = dict(zip(mine, self.space.pack(embedded), strict=True))
                self.cache.put(self.space, records)
        finally:
            # All of them: an interrupt may come before it is known which ones were claimed.
            self.cache.give_back(self.space, row_of)
        if not mine:
            return self._leave_to_others(rows)
        done = set(mine)
        return [i for key, i in row_of.items() if key not in done]

    def _leave_to_others(self, rows: list[int]) -> list[int]:
        left = self.look_up(rows)
        self.on_progress(self.n_done)
        if len(left) == len(rows):
            self.cache.wait(self.space, [self.keys[i] for i in rows])
        return left

    def _embed(self, rows: list[int]) -> Embedded:
        before = self.n_done
        try:
            embedded = self.embed(
                [self.texts[i] for i in rows], lambda n: self.on_progress(before + n)
            )
        except TextTooLongError as error:
            raise TextTooLongError(rows[error.position], error.max_length) from None
        self._fill(rows, embedded)
        return embedded

    def _fill(self, rows: list[int], embedded: Embedded) -> None:
        self.vectors[rows], self.truncated[rows] = embedded
        self.n_done += len(rows)
