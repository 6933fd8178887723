"""The distinct images of some columns, and which of them are corrupt."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .._inputs import ImageColumns, TextColumns, unique_texts
from ..cache import Cache, Namespace
from ..encoder import prefetch
from ..exceptions import CorruptImageError
from .decoding import ImageDecodingError, decode_image, hash_content

if TYPE_CHECKING:
    from PIL.Image import Image

# Number of cells that each thread hashes per batch.
_CELLS_PER_THREAD = 64


class UniqueImages:
    """The distinct images of some columns by the digest of their content, and why some are corrupt."""

    def __init__(
        self,
        columns: ImageColumns,
        *,
        max_pixels: int,
        count_resized_pixels: Callable[[int, int], int],
        n_threads: int,
        raise_corrupt: bool,
    ) -> None:
        self.columns, self.max_pixels, self.raise_corrupt = columns, max_pixels, raise_corrupt
        self._corrupt_cells: dict[tuple[int, int], str] = {}  # row and column -> reason
        self._corrupt_images: dict[str, str] = {}  # digest -> reason
        digests = self._hash_cells(count_resized_pixels, n_threads)
        no_digest = np.array([[not digest for digest in column] for column in digests], dtype=bool)
        self.digests = unique_texts(TextColumns(digests, no_digest.T), missing_is_empty=False)
        self._first_cell: dict[str, tuple[int, int]] = {}
        for column, cells in enumerate(digests):
            for row, digest in enumerate(cells):
                self._first_cell.setdefault(digest, (row, column))

    def decode(self, digest: str) -> "Image | None":
        """Return one of the distinct images, or None if it is corrupt."""
        row, column = self._first_cell[digest]
        try:
            return decode_image(self.columns.cells[column][row], digest, self.max_pixels)
        except ImageDecodingError as error:
            self._check_corrupt(row, column, str(error))
            self._corrupt_images[digest] = str(error)
            return None

    def find_corrupt(self) -> list[tuple[int, int, str]]:
        """Return row, column and reason of all corrupt cells, row after row."""
        reasons = dict(self._corrupt_cells)
        for number, digest in enumerate(self.digests.texts):
            if digest in self._corrupt_images:
                for column, row in np.argwhere(self.digests.inverse == number):
                    reasons[int(row), int(column)] = self._corrupt_images[digest]
        return [(row, column, reasons[row, column]) for row, column in sorted(reasons)]

    def describe_cell(self, row: int, column: int) -> str:
        """Return the position of a cell and what it holds, for a message."""
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
        """Number of cells that are not missing."""
        return int((~self.columns.missing).sum())

    def _hash_cells(
        self, count_resized_pixels: Callable[[int, int], int], n_threads: int
    ) -> list[list[str]]:
        """Return the digest of each cell; empty where it is missing or corrupt."""
        digests = [[""] * len(column) for column in self.columns.cells]
        cells_of: dict[Any, list[tuple[int, int]]] = {}  # the same path or object is hashed once
        for column, cells in enumerate(self.columns.cells):
            for row, cell in enumerate(cells):
                if cell is not None:
                    is_path = isinstance(cell, (str, os.PathLike))
                    key = os.fspath(cell) if is_path else id(cell)
                    cells_of.setdefault(key, []).append((row, column))
        first_cells = [cells[0] for cells in cells_of.values()]
        hash_cell = partial(self._hash_cell, count_resized_pixels)
        n_ahead = _CELLS_PER_THREAD * n_threads
        found = prefetch(first_cells, hash_cell, n_ahead=n_ahead, n_threads=n_threads)
        for cells, digest in zip(cells_of.values(), found, strict=True):
            for row, column in cells:
                if isinstance(digest, ImageDecodingError):
                    self._check_corrupt(row, column, str(digest))
                    self._corrupt_cells[row, column] = str(digest)
                else:
                    digests[column][row] = digest
        return digests

    def _hash_cell(
        self, count_resized_pixels: Callable[[int, int], int], position: tuple[int, int]
    ) -> str | ImageDecodingError:
        row, column = position
        try:
            return hash_content(
                self.columns.cells[column][row], self.max_pixels, count_resized_pixels
            )
        except ImageDecodingError as error:
            return error

    def _check_corrupt(self, row: int, column: int, reason: str) -> None:
        if self.raise_corrupt:
            raise CorruptImageError(
                f"the image in {self.describe_cell(row, column)} of X cannot be decoded: {reason}. "
                "Repair or remove it, or pass corrupt='missing' and missing='zero' or 'nan'."
            )


class SkipCorruptCache:
    """A cache that does not store corrupt images, which another version of Pillow may decode."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def __repr__(self) -> str:
        return repr(self._cache)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def put(self, namespace: Namespace, records: Mapping[bytes, bytes]) -> None:
        """Store the records of images that were decoded."""
        corrupt = namespace.deserialize(records.values()).truncated
        decoded = [key for key, is_corrupt in zip(records, corrupt, strict=True) if not is_corrupt]
        self._cache.put(namespace, {key: records[key] for key in decoded})
