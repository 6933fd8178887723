"""A target that is one NumPy array on the disk, with the kept columns in a Parquet file beside it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import open_memmap

from .durable import flush, move, scratch_of
from .manifest import Manifest
from .shards import Shard


@dataclass(frozen=True)
class ArrayFile:
    """A ``.npy`` file that is filled range by range.

    Attributes
    ----------
    path : Path
        The file.
    kept : pyarrow.Schema
        The columns to keep, perhaps none, with what is to be said of the vectors as metadata.
    n_dimensions : int
        Length of a vector.
    """

    path: Path
    kept: pa.Schema
    n_dimensions: int

    @property
    def manifest(self) -> Path:
        """Where the manifest is."""
        return self.path.with_name(f"{self.path.name}.manifest.json")

    @property
    def lock(self) -> Path:
        """Where the lock is."""
        return self.path.with_name(f"{self.path.name}.lock")

    @property
    def part(self) -> Path:
        """Where the array is until it is whole."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def kept_file(self) -> Path:
        """Where the kept columns go."""
        return self.path.with_suffix(".parquet")

    def found_files(self) -> list[Path]:
        """Return what is in the way of a new run."""
        return [file for file in self._files(keeps=bool(self.kept.names)) if file.exists()]

    def own_files(self, manifest: Manifest) -> list[Path]:
        """Return what a run may have written, beside its manifest."""
        return self._files(keeps=bool(manifest.asked["keep"]))

    def open(self, manifest: Manifest) -> None:
        """Make the array, or see that it is still there."""
        if self.path.exists() or (manifest.shards and self.part.exists()):
            return
        if manifest.shards:
            raise FileNotFoundError(
                f"{self.part} was begun and is gone; pass overwrite=True to start again."
            )
        shape = (sum(manifest.n_rows), self.n_dimensions)
        open_memmap(self.part, mode="w+", dtype=np.float32, shape=shape).flush()
        # Writing to a hole of a mapped file kills the process when the disk is full; this raises.
        if hasattr(os, "posix_fallocate"):
            with self.part.open("rb+") as stream:
                os.posix_fallocate(stream.fileno(), 0, os.path.getsize(self.part))
        flush(self.part)

    def write(self, shard: Shard) -> None:
        """Write rows to the disk."""
        # Opened anew each time: pages that stay mapped count as memory of the process.
        array = open_memmap(self.part, mode="r+")
        array[shard.first_row : shard.first_row + len(shard.vectors)] = shard.vectors
        array.flush()

    def publish(self, number: int) -> None:
        """Need nothing: the rows are where they belong."""

    def finish(self, tables: Iterable[pa.Table]) -> None:
        """Write the kept columns, and give the array its name."""
        if self.kept.names:
            scratch = scratch_of(self.kept_file)
            with pq.ParquetWriter(scratch, self.kept) as writer:
                for table in tables:
                    writer.write_table(table)
            flush(scratch)
            move(scratch, self.kept_file)
        move(self.part, self.path)

    def _files(self, *, keeps: bool) -> list[Path]:
        kept = [self.kept_file, scratch_of(self.kept_file)] if keeps else []
        return [self.path, self.part, *kept]
