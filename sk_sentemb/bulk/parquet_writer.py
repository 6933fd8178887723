"""Write a folder of Parquet files, one per shard, with kept columns and embeddings."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .._atomic_io import compute_digest, create, flush, move, scratch_of
from .manifest import Manifest

EMBEDDING = "embedding"


class Shard(NamedTuple):
    """Consecutive embedded rows."""

    number: int
    first_row: int
    kept: pa.Table
    vectors: np.ndarray


@dataclass(frozen=True)
class ParquetWriter:
    """Writes each shard to a Parquet file of a folder."""

    path: Path
    kept: pa.Schema
    n_dimensions: int

    @property
    def manifest(self) -> Path:
        """Path of the manifest, a name that readers of Parquet folders skip."""
        return self.path / "_manifest.json"

    @property
    def lock(self) -> Path:
        """Path of the lock file."""
        return self.path / ".lock"

    def found_files(self) -> list[Path]:
        """Return the existing files that a new run would replace."""
        return sorted(
            set(self.path.iterdir()) - {self.manifest, scratch_of(self.manifest), self.lock}
        )

    def own_files(self, manifest: Manifest) -> list[Path]:
        """Return the files that a run may have written, except its manifest."""
        files = [self._file(number) for number in range(manifest.n_shards)]
        return [*files, *map(scratch_of, files)]

    def writes(self, own: Iterable[Path]) -> tuple[Path | None, Iterable[Path]]:
        """Return the folder and the files that this target writes, and that no source may contain."""
        return self.path, own

    def open(self, manifest: Manifest) -> None:
        """Rename the shards that the manifest lists as finished."""
        for number in range(len(manifest.shards)):
            self.publish(number)

    def damaged(self, manifest: Manifest) -> list[int]:
        """Return the numbers of the damaged shards."""
        digests = map(compute_digest, map(self._file, range(len(manifest.shards))))
        return [n for n, digest in enumerate(digests) if digest != manifest.digests[n]]

    def write(self, shard: Shard) -> str:
        """Write a shard under a temporary name, and return its digest."""
        kind = pa.list_(pa.float32(), self.n_dimensions)
        vectors = pa.FixedSizeListArray.from_arrays(shard.vectors.reshape(-1), type=kind)
        table = shard.kept.append_column(EMBEDDING, vectors)
        file = scratch_of(self._file(shard.number))
        with create(file) as stream:
            pq.write_table(
                table.replace_schema_metadata(self.kept.metadata),
                stream,
                # A dictionary of embeddings would be useless, because numbers hardly repeat.
                use_dictionary=self.kept.names,
                row_group_size=max(1, len(table)),
            )
        flush(file)
        return compute_digest(file)

    def publish(self, number: int) -> None:
        """Rename a shard that the manifest lists."""
        file = self._file(number)
        if scratch_of(file).exists():
            move(scratch_of(file), file)
        elif not file.exists():
            raise FileNotFoundError(
                f"the finished {file} no longer exists; pass overwrite=True to start again."
            )

    def _file(self, number: int) -> Path:
        return self.path / f"part-{number:05d}.parquet"
