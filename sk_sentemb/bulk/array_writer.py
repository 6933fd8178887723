"""Write a ``.npy`` file, and the kept columns to a Parquet file."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import open_memmap

from .._atomic_io import check_no_link, compute_digest, create, flush, move, scratch_of
from .manifest import Manifest
from .parquet_writer import Shard


@dataclass(frozen=True)
class ArrayWriter:
    """Writes embeddings to a memory-mapped ``.npy`` file, shard by shard."""

    path: Path
    kept: pa.Schema
    n_dimensions: int

    @property
    def manifest(self) -> Path:
        """Path of the manifest."""
        return self.path.with_name(f"{self.path.name}.manifest.json")

    @property
    def lock(self) -> Path:
        """Path of the lock file."""
        return self.path.with_name(f"{self.path.name}.lock")

    @property
    def part(self) -> Path:
        """Path of the array until it is complete."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def kept_file(self) -> Path:
        """Path of the kept columns."""
        return self.path.with_suffix(".parquet")

    def found_files(self) -> list[Path]:
        """Return the existing files that a new run would replace."""
        return [file for file in self._files(keeps=bool(self.kept.names)) if file.exists()]

    def own_files(self, manifest: Manifest) -> list[Path]:
        """Return the files that a run may have written, except its manifest."""
        return self._files(keeps=bool(manifest.settings["keep"]))

    def writes(self, own: Iterable[Path]) -> tuple[Path | None, Iterable[Path]]:
        """Return the folder and the files that this target writes, and that no source may contain."""
        files = [*own, *self._files(keeps=bool(self.kept.names)), self.manifest, self.lock]
        return None, [*files, scratch_of(self.manifest)]

    def open(self, manifest: Manifest) -> None:
        """Create the array, or check that it still exists."""
        if self.path.exists() or (manifest.shards and self.part.exists()):
            return
        if manifest.shards:
            raise FileNotFoundError(
                f"the unfinished {self.part} no longer exists; pass overwrite=True to start again."
            )
        shape = (sum(manifest.n_rows), self.n_dimensions)
        create(self.part).close()
        open_memmap(self.part, mode="w+", dtype=np.float32, shape=shape).flush()
        # On a full disk, writing to a hole of a mapped file kills the process, whereas this raises.
        if hasattr(os, "posix_fallocate"):
            with self.part.open("rb+") as stream:
                os.posix_fallocate(stream.fileno(), 0, self.part.stat().st_size)
        flush(self.part)

    def damaged(self, manifest: Manifest) -> list[int]:
        """Return the numbers of the damaged shards."""
        ends = np.cumsum([0, *(shard.n_rows for shard in manifest.shards)])
        return [
            number
            for number, digest in enumerate(manifest.digests)
            if _compute_digest_of_rows(self._map("r")[ends[number] : ends[number + 1]]) != digest
        ]

    def write(self, shard: Shard) -> str:
        """Write a shard to the disk, and return its digest."""
        # Opened each time, because mapped pages count as memory of the process.
        array = self._map("r+")
        array[shard.first_row : shard.first_row + len(shard.vectors)] = shard.vectors
        array.flush()
        return _compute_digest_of_rows(shard.vectors)

    def publish(self, number: int) -> None:
        """Do nothing: the rows are already in the array."""

    def has_kept(self, manifest: Manifest) -> bool:
        """Return whether the kept columns, if any, are written and undamaged."""
        if not self.kept.names:
            return True
        return self.kept_file.is_file() and compute_digest(self.kept_file) == manifest.kept_digest

    def write_kept(self, tables: Iterable[pa.Table]) -> str:
        """Write the kept columns, and return the digest of the file."""
        scratch = scratch_of(self.kept_file)
        with create(scratch) as stream, pq.ParquetWriter(stream, self.kept) as writer:
            for table in tables:
                writer.write_table(table)
        flush(scratch)
        move(scratch, self.kept_file)
        return compute_digest(self.kept_file)

    def finish(self) -> None:
        """Rename the complete array."""
        if not self.path.exists():
            move(self.part, self.path)

    def _map(self, mode: Literal["r", "r+"]) -> np.memmap:
        """Open the array under its final or its temporary name."""
        file = self.path if self.path.exists() else self.part
        check_no_link(file)
        try:
            array = open_memmap(file, mode=mode)
        except ValueError as error:
            raise ValueError(
                f"{file} is damaged: {error}. Pass overwrite=True to start again."
            ) from error
        return array

    def _files(self, *, keeps: bool) -> list[Path]:
        kept = [self.kept_file, scratch_of(self.kept_file)] if keeps else []
        return [self.path, self.part, *kept]


def _compute_digest_of_rows(rows: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows, dtype="<f4").data).hexdigest()
