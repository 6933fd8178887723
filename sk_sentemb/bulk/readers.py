"""Readers of one file and of a pyarrow Dataset, with the same methods."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from .file_formats import BLOCK_BYTES, TEXT_FORMATS, count_rows, file_schema, read_file
from .nesting import MAX_DEPTH, check_nesting
from .overlap import local_files


@dataclass(frozen=True)
class FileReader:
    """Reads one file."""

    name: str
    format: str

    def fingerprints(self) -> list[dict[str, Any]]:
        """Return a fingerprint of the file: its path, size and modification time."""
        status = os.stat(self.name)
        return [{"path": self.name, "size": status.st_size, "mtime_ns": status.st_mtime_ns}]

    def local_files(self) -> list[str]:
        """Return the local files that are read."""
        return [self.name]

    def columns(self) -> pa.Schema | None:
        """Return all columns, or None for an empty JSON file."""
        # pyarrow refuses an empty file of JSON lines.
        if self.format == "json" and not os.stat(self.name).st_size:
            return None
        with self._errors_with_name():
            return file_schema(self.name, self.format)

    def count(self, schema: pa.Schema) -> int:
        """Count the rows; text files are read, which reveals invalid rows."""
        with self._errors_with_name():
            return count_rows(self.name, self.format, schema) if self.columns() is not None else 0

    def read(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield the columns of a schema."""
        with self._errors_with_name():
            yield from read_file(self.name, self.format, schema)

    @contextmanager
    def _errors_with_name(self) -> Iterator[None]:
        """Add the name of the file to errors of pyarrow."""
        try:
            yield
        except OSError as error:
            raise OSError(f"{self.name} cannot be read: {error}") from error
        except (pa.ArrowException, UnicodeDecodeError) as error:
            hint = (
                f". It must be UTF-8, with rows of at most {BLOCK_BYTES:,} bytes, values of JSON nested "
                f"at most {MAX_DEPTH} deep, and columns of the types that the first rows of the first "
                "file have; pass a pyarrow.dataset.Dataset for other types."
            )
            raise ValueError(
                f"{self.name} cannot be read: {error}{hint * (self.format in TEXT_FORMATS)}"
            ) from error


@dataclass(frozen=True)
class DatasetReader:
    """Reads a pyarrow Dataset."""

    dataset: ds.Dataset

    format = None  # the types are those of the dataset

    def __post_init__(self) -> None:
        check_nesting(self.dataset)

    @property
    def name(self) -> str:
        """The name for messages."""
        return f"the {type(self.dataset).__name__}"

    def fingerprints(self) -> list[dict[str, Any]]:
        """Return a fingerprint of the dataset: its number of rows and its files."""
        # It may be filtered, or have no files.
        fingerprints = [{"path": self.name, "n_rows": self.dataset.count_rows()}]
        if isinstance(self.dataset, ds.FileSystemDataset):
            infos = self.dataset.filesystem.get_file_info(self.dataset.files)
            fingerprints += [
                {"path": i.path, "size": i.size, "mtime_ns": i.mtime_ns} for i in infos
            ]
        return fingerprints

    def local_files(self) -> list[str]:
        """Return the local files that are read."""
        return list(local_files(self.dataset))

    def columns(self) -> pa.Schema:
        """Return all columns."""
        return self.dataset.schema

    def count(self, schema: pa.Schema) -> int:
        """Count the rows."""
        return self.dataset.count_rows()

    def read(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield the columns of a schema."""
        options = None
        if isinstance(getattr(self.dataset, "format", None), ds.ParquetFileFormat):
            options = ds.ParquetFragmentScanOptions(pre_buffer=False)
        for batch in self.dataset.to_batches(
            columns=schema.names,
            batch_readahead=1,
            fragment_readahead=1,
            fragment_scan_options=options,
        ):
            batch.validate(full=True)
            yield batch.cast(schema)
