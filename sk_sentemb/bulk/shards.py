"""A target that is a folder of Parquet files, each with so many rows: kept columns and vectors."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .atomic_io import compute_digest, create, flush, move, scratch_of
from .manifest import Manifest

EMBEDDING = "embedding"


class Shard(NamedTuple):
    """Embedded rows that follow each other."""

    number: int
    first_row: int
    kept: pa.Table
    vectors: np.ndarray


@dataclass(frozen=True)
class ShardFolder:
    """A folder that is filled with shards."""

    path: Path
    kept: pa.Schema
    n_dimensions: int

    @property
    def manifest(self) -> Path:
        """Where the manifest is; who reads a folder of Parquet leaves such a name out."""
        return self.path / "_manifest.json"

    @property
    def lock(self) -> Path:
        """Where the lock is."""
        return self.path / ".lock"

    def found_files(self) -> list[Path]:
        """Return what is in the way of a new run."""
        return sorted(
            set(self.path.iterdir()) - {self.manifest, scratch_of(self.manifest), self.lock}
        )

    def own_files(self, manifest: Manifest) -> list[Path]:
        """Return what a run may have written, beside its manifest."""
        files = [self._file(number) for number in range(manifest.n_shards)]
        return [*files, *map(scratch_of, files)]

    def writes(self, own: Iterable[Path]) -> tuple[Path | None, Iterable[Path]]:
        """Return the folder and the further files that may not be read while this target is written."""
        return self.path, own

    def open(self, manifest: Manifest) -> None:
        """Bring what the manifest says is finished under its final name."""
        for number in range(len(manifest.shards)):
            self.publish(number)

    def damaged(self, manifest: Manifest) -> list[int]:
        """Return the numbers of the shards that are not as they were written."""
        digests = map(compute_digest, map(self._file, range(len(manifest.shards))))
        return [n for n, digest in enumerate(digests) if digest != manifest.digests[n]]

    def write(self, shard: Shard) -> str:
        """Write a shard to the disk, not yet under its name, and return its digest."""
        kind = pa.list_(pa.float32(), self.n_dimensions)
        vectors = pa.FixedSizeListArray.from_arrays(shard.vectors.reshape(-1), type=kind)
        table = shard.kept.append_column(EMBEDDING, vectors)
        file = scratch_of(self._file(shard.number))
        with create(file) as stream:
            pq.write_table(
                table.replace_schema_metadata(self.kept.metadata),
                stream,
                # The numbers hardly repeat, so that a dictionary of them would be in vain.
                use_dictionary=self.kept.names,
                row_group_size=max(1, len(table)),
            )
        flush(file)
        return compute_digest(file)

    def publish(self, number: int) -> None:
        """Give a shard its name, once the manifest has it."""
        file = self._file(number)
        if scratch_of(file).exists():
            move(scratch_of(file), file)
        elif not file.exists():
            raise FileNotFoundError(
                f"{file} was finished and is gone; pass overwrite=True to start again."
            )

    def _file(self, number: int) -> Path:
        return self.path / f"part-{number:05d}.parquet"
