"""What is in the cells of some columns: each image once, and which cannot be read."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .._inputs import ImageColumns, TextColumns, unique_texts
from ..cache import Cache, Namespace
from ..encoder import prefetch
from ..exceptions import CorruptImageError
from .decoding import ImageDecodingError, digest_of, image_of

if TYPE_CHECKING:
    from PIL.Image import Image

# Cells whose content is taken down by one thread before another batch of them begins.
_CELLS_AT_ONCE = 64


class UniqueImages:
    """The images of some columns, by what is in them."""

    def __init__(
        self,
        columns: ImageColumns,
        *,
        max_pixels: int,
        resized: Callable[[int, int], int],
        n_threads: int,
        refuse: bool,
    ) -> None:
        self.columns, self.max_pixels, self.refuse = columns, max_pixels, refuse
        # Why cells cannot be read, by row and column, and why distinct images cannot, by digest.
        self._unreadable: dict[tuple[int, int], str] = {}
        self._damaged: dict[str, str] = {}
        digests = self._take_stock(resized, n_threads)
        no_digest = np.array([[not digest for digest in column] for column in digests], dtype=bool)
        texts = TextColumns(digests, no_digest.T, columns.names)
        self.distinct = unique_texts(texts, missing_is_empty=False)
        self._place_of: dict[str, tuple[int, int]] = {}
        for column, cells in enumerate(digests):
            for row, digest in enumerate(cells):
                self._place_of.setdefault(digest, (row, column))

    def image(self, digest: str) -> "Image | None":
        """Read one of the distinct images."""
        row, column = self._place_of[digest]
        try:
            return image_of(self.columns.cells[column][row], digest, self.max_pixels)
        except ImageDecodingError as error:
            self._refuse(row, column, str(error))
            self._damaged[digest] = str(error)
            return None

    @property
    def corrupt(self) -> list[tuple[int, int, str]]:
        """Row, column and reason of all that could not be read, row after row."""
        found = dict(self._unreadable)
        for number, digest in enumerate(self.distinct.texts):
            if digest in self._damaged:
                for column, row in np.argwhere(self.distinct.inverse == number):
                    found[int(row), int(column)] = self._damaged[digest]
        return [(row, column, found[row, column]) for row, column in sorted(found)]

    def place(self, row: int, column: int) -> str:
        """Say where a cell is, and what is in it."""
        cell = self.columns.cells[column][row]
        name = column if self.columns.names is None else repr(self.columns.names[column])
        if isinstance(cell, (str, os.PathLike)):
            what = os.fspath(cell)
        elif isinstance(cell, (bytes, bytearray, memoryview)):
            what = f"{len(cell)} bytes"
        else:
            what = f"an image in memory, of type {type(cell).__name__}"
        return f"row {row}, column {name} ({what})"

    @property
    def n_images(self) -> int:
        """How many cells are not missing."""
        return int((~self.columns.missing).sum())

    def _take_stock(self, resized: Callable[[int, int], int], n_threads: int) -> list[list[str]]:
        """Return the digest of each cell; empty where it is missing or cannot be read."""
        digests = [[""] * len(column) for column in self.columns.cells]
        places: dict[Any, list[tuple[int, int]]] = {}
        for column, cells in enumerate(self.columns.cells):
            for row, cell in enumerate(cells):
                if cell is not None:
                    is_path = isinstance(cell, (str, os.PathLike))
                    key = os.fspath(cell) if is_path else id(cell)
                    places.setdefault(key, []).append((row, column))
        firsts = [where[0] for where in places.values()]
        take = partial(self._digest, resized)
        batches = prefetch(firsts, take, _CELLS_AT_ONCE * n_threads, n_threads)
        found = (one for _, batch in batches for one in batch)
        for where, digest in zip(places.values(), found, strict=True):
            for row, column in where:
                if isinstance(digest, ImageDecodingError):
                    self._refuse(row, column, str(digest))
                    self._unreadable[row, column] = str(digest)
                else:
                    digests[column][row] = digest
        return digests

    def _digest(
        self, resized: Callable[[int, int], int], place: tuple[int, int]
    ) -> str | ImageDecodingError:
        row, column = place
        try:
            return digest_of(self.columns.cells[column][row], self.max_pixels, resized)
        except ImageDecodingError as error:
            return error

    def _refuse(self, row: int, column: int, reason: str) -> None:
        if self.refuse:
            raise CorruptImageError(
                f"the image in {self.place(row, column)} of X cannot be read: {reason}. Repair or "
                "remove it, or pass corrupt='missing' and missing='zero' or 'nan'."
            )


class SkipCorruptCache:
    """A cache that does not keep what stands for images that cannot be read.

    Another Pillow, or another limit, may read them.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.passes_per_claim = cache.passes_per_claim

    def __repr__(self) -> str:
        return repr(self._cache)

    def put(self, space: Namespace, records: Mapping[bytes, bytes]) -> None:
        """Keep the records of images that were read."""
        damaged = space.deserialize(records.values()).truncated
        kept = [key for key, is_damaged in zip(records, damaged, strict=True) if not is_damaged]
        self._cache.put(space, {key: records[key] for key in kept})

    def get(self, space: Namespace, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key, or None."""
        return self._cache.get(space, keys)

    def claim(self, space: Namespace, keys: Sequence[bytes], limit: int) -> list[bytes]:
        """Return up to `limit` keys that the caller shall embed."""
        return self._cache.claim(space, keys, limit)

    def release(self, space: Namespace, keys: Iterable[bytes]) -> object:
        """Let others have the keys that this thread claimed."""
        return self._cache.release(space, keys)

    def wait(self, space: Namespace, keys: Sequence[bytes]) -> None:
        """Wait until somebody may be done with one of the keys."""
        self._cache.wait(space, keys)

    def has_room_for(self, n_texts: int, space: Namespace) -> bool:
        """Say whether so many have room."""
        return self._cache.has_room_for(n_texts, space)
