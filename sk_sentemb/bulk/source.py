"""The rows of a source, as tables of equal size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from .readers import DatasetReader, FileReader
from .schema import check_columns, read_schema
from .source_files import Paths, find_files


@dataclass(frozen=True)
class Source:
    """Selected columns of files or of a pyarrow Dataset."""

    parts: Sequence[FileReader | DatasetReader]
    schema: pa.Schema
    fingerprints: list[dict[str, Any]]

    def count(self) -> list[int]:
        """Count the rows of each part, and check its columns."""
        counts = []
        for part in self.parts:
            if (available := part.columns()) is not None:
                check_columns(self.schema.names, available, part.name)
            counts.append(part.count(self.schema))
        return counts

    def describe_row(self, counts: Sequence[int], row: int) -> str:
        """Return the file and row of a row of the dataset, for messages."""
        for part, n_rows in zip(self.parts, counts, strict=True):
            if row < n_rows:
                return f"row {row} of {part.name}"
            row -= n_rows
        raise IndexError(row)

    def tables(
        self, schema: pa.Schema, counts: Sequence[int], start: int, size: int
    ) -> Iterator[pa.Table]:
        """Yield the rows from `start` on, in tables of `size` rows."""
        held: list[pa.RecordBatch] = []
        n_held = 0
        for batch in self._batches(schema, counts, start):
            held.append(batch)
            n_held += len(batch)
            while n_held >= size:
                table = pa.Table.from_batches(held, schema)
                yield table[:size]
                held, n_held = table[size:].to_batches(), n_held - size
        if n_held or not sum(counts):
            yield pa.Table.from_batches(held, schema)

    def _batches(
        self, schema: pa.Schema, counts: Sequence[int], start: int
    ) -> Iterator[pa.RecordBatch]:
        for part, n_rows in zip(self.parts, counts, strict=True):
            if start >= n_rows:
                start -= n_rows
                continue
            n_read = 0
            for batch in part.read(schema):
                n_read += len(batch)
                if n_read > n_rows:
                    break
                yield batch[max(0, start - n_read + len(batch)) :]
            if n_read != n_rows or any(f not in self.fingerprints for f in part.fingerprints()):
                raise ValueError(
                    f"{part.name} changed while it was being read. Pass overwrite=True to start again."
                )
            start = 0


def open_source(
    source: Paths | ds.Dataset, format: str, texts: Sequence[str], keep: str | Sequence[str]
) -> Source:
    """Open the files of a source, and select its columns."""
    parts: Sequence[FileReader | DatasetReader]
    if isinstance(source, ds.Dataset):
        parts = [DatasetReader(source)]
    else:
        files, format = find_files(source, format)
        parts = [FileReader(file, format) for file in files]
    fingerprints = [f for part in parts for f in part.fingerprints()]
    for part in parts:
        if (available := part.columns()) is not None:
            return Source(
                parts, read_schema(available, texts, keep, part.format, part.name), fingerprints
            )
    # An empty source has any columns.
    names = dict.fromkeys([*texts, *(() if keep == "all" else keep)])
    return Source(parts, pa.schema([(name, pa.string()) for name in names]), fingerprints)
