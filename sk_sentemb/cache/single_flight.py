"""Get-or-compute: cached embeddings are loaded, the others are computed once and stored."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from .._types import Text
from .._warn import warn
from ..encoder import Embedded, text_length
from ..exceptions import CacheWarning, TextTooLongError
from .namespace import Namespace

# Number of keys that are looked up together.
_WINDOW = 4096

# Workers wait for each other at the end of a claim, so claims of several workers are larger.
_CLAIM_FACTOR = 4

# A rough estimate for the size of claims; nothing else depends on it.
CHARACTERS_PER_TOKEN = 4


# Embeds texts and reports how many are done.
Compute = Callable[[Sequence[Text], Callable[[int], None]], Embedded]


class Cache(Protocol):
    """The methods of a cache that `get_or_compute` needs."""

    passes_per_claim: int

    def get(self, namespace: Namespace, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key, or None."""

    def claim(self, namespace: Namespace, keys: Sequence[bytes], limit: int) -> list[bytes]:
        """Return up to `limit` keys that are neither stored nor claimed, for the caller to compute.

        The caller must release them. An empty list means that others compute or have stored all of them.
        """

    def put(self, namespace: Namespace, records: Mapping[bytes, bytes]) -> None:
        """Store the records of claimed keys."""

    def release(self, namespace: Namespace, keys: Iterable[bytes]) -> object:
        """Release those of the keys that this thread claimed, whether stored or not."""

    def wait(self, namespace: Namespace, keys: Sequence[bytes]) -> None:
        """Wait until another thread or process may have finished one of the keys."""

    def has_room_for(self, n_texts: int, namespace: Namespace) -> bool:
        """Return whether this many texts fit into the cache."""


def get_or_compute(
    cache: Cache,
    namespace: Namespace,
    texts: Sequence[Text],
    compute: Compute,
    *,
    tokens_per_pass: int,
    n_workers: int = 1,
    on_progress: Callable[[int], None],
) -> Embedded:
    """Return the embeddings of distinct texts, and compute only those that are not in the cache."""
    if not cache.has_room_for(len(texts), namespace):
        warn(
            f"{len(texts)} texts of {namespace.model!r} do not fit into {cache!r}: the first ones are "
            "dropped before they can be reused. Increase its max_bytes.",
            CacheWarning,
        )
    lookup = _Lookup(cache, namespace, texts, compute, on_progress)
    rows = range(len(texts))
    windows = (rows[start : start + _WINDOW] for start in rows[::_WINDOW])
    missing = [i for window in windows for i in lookup.load_cached(window)]
    if lookup.n_done:
        on_progress(lookup.n_done)
    # Sorted, so that rounding does not depend on the order of the caller.
    todo = deque(sorted(missing, key=texts.__getitem__))
    n_passes = (
        cache.passes_per_claim
        if n_workers == 1
        else cache.passes_per_claim * _CLAIM_FACTOR * n_workers
    )
    while todo:
        window = [todo.popleft() for _ in range(min(_WINDOW * n_workers, len(todo)))]
        left = lookup.compute_next(window, CHARACTERS_PER_TOKEN * tokens_per_pass * n_passes)
        todo.extendleft(reversed(left))
    return Embedded(lookup.vectors, lookup.truncated)


class _Lookup:
    """One call of `get_or_compute`: its texts, and the embeddings found so far."""

    def __init__(
        self,
        cache: Cache,
        namespace: Namespace,
        texts: Sequence[Text],
        compute: Compute,
        on_progress: Callable[[int], None],
    ) -> None:
        self.cache, self.namespace, self.texts = cache, namespace, texts
        self.compute, self.on_progress = compute, on_progress
        self.keys = namespace.keys(texts)
        self.vectors = np.empty((len(texts), namespace.dim), dtype=np.float32)
        self.truncated = np.zeros(len(texts), dtype=bool)
        self.n_done = 0

    def load_cached(self, rows: Sequence[int]) -> list[int]:
        """Load what is in the cache, and return the rows that are not."""
        records = self.cache.get(self.namespace, [self.keys[i] for i in rows])
        known = [i for i, record in zip(rows, records, strict=True) if record is not None]
        self._fill(known, self.namespace.deserialize(filter(None, records)))
        return [i for i, record in zip(rows, records, strict=True) if record is None]

    def compute_next(self, rows: list[int], max_characters: int) -> list[int]:
        """Compute the first rows that no other claims, and return the rows that remain."""
        row_of = {self.keys[i]: i for i in rows}
        limit = np.cumsum([text_length(self.texts[i]) for i in rows]).searchsorted(max_characters)
        try:
            mine = self.cache.claim(self.namespace, list(row_of), max(1, int(limit)))
            if mine:
                embedded = self._compute([row_of[key] for key in mine])
                records = dict(zip(mine, self.namespace.serialize(embedded), strict=True))
                self.cache.put(self.namespace, records)
        finally:
            # All keys, because an interrupt may come before the claimed ones are known.
            self.cache.release(self.namespace, row_of)
        if not mine:
            return self._wait_for_others(rows)
        done = set(mine)
        return [i for key, i in row_of.items() if key not in done]

    def _wait_for_others(self, rows: list[int]) -> list[int]:
        left = self.load_cached(rows)
        self.on_progress(self.n_done)
        if len(left) == len(rows):
            self.cache.wait(self.namespace, [self.keys[i] for i in rows])
        return left

    def _compute(self, rows: list[int]) -> Embedded:
        before = self.n_done
        try:
            embedded = self.compute(
                [self.texts[i] for i in rows], lambda n: self.on_progress(before + n)
            )
        except TextTooLongError as error:
            raise TextTooLongError(rows[error.position], error.max_length) from None
        self._fill(rows, embedded)
        return embedded

    def _fill(self, rows: list[int], embedded: Embedded) -> None:
        self.vectors[rows], self.truncated[rows] = embedded
        self.n_done += len(rows)
