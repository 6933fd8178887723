"""The rows of a source: how many there are, where each stands, and tables of them."""

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
    """Columns of files or of a pyarrow Dataset."""

    parts: Sequence[FileReader | DatasetReader]
    schema: pa.Schema
    stamps: list[dict[str, Any]]

    def count(self) -> list[int]:
        """Count the rows of each part, and see that it has the columns."""
        counts = []
        for part in self.parts:
            if (there := part.columns()) is not None:
                check_columns(self.schema.names, there, part.name)
            counts.append(part.count(self.schema))
        return counts

    def place(self, counts: Sequence[int], row: int) -> str:
        """Say where a row stands, for errors."""
        for part, n_rows in zip(self.parts, counts, strict=True):
            if row < n_rows:
                return f"row {row} of {part.name}"
            row -= n_rows
        raise IndexError(row)

    def tables(
        self, schema: pa.Schema, counts: Sequence[int], start: int, size: int
    ) -> Iterator[pa.Table]:
        """Read rows from one on, in tables of ``size`` rows of which the last may be shorter."""
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
            if n_read != n_rows or any(stamp not in self.stamps for stamp in part.stamps()):
                raise ValueError(
                    f"{part.name} changed while it was read. Pass overwrite=True to start again."
                )
            start = 0


def open_source(
    source: Paths | ds.Dataset, format: str, texts: Sequence[str], keep: str | Sequence[str]
) -> Source:
    """Find the files of a source, and the types of its columns."""
    parts: Sequence[FileReader | DatasetReader]
    if isinstance(source, ds.Dataset):
        parts = [DatasetReader(source)]
    else:
        files, format = find_files(source, format)
        parts = [FileReader(file, format) for file in files]
    stamps = [stamp for part in parts for stamp in part.stamps()]
    for part in parts:
        if (there := part.columns()) is not None:
            return Source(parts, read_schema(there, texts, keep, part.format, part.name), stamps)
    # Of a source without a line, any columns are right.
    names = dict.fromkeys([*texts, *(() if keep == "all" else keep)])
    return Source(parts, pa.schema([(name, pa.string()) for name in names]), stamps)
