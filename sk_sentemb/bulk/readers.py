"""What a source is made of: files, or one pyarrow Dataset. Both have the same methods."""

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
    """A file."""

    name: str
    format: str

    def stamps(self) -> list[dict[str, Any]]:
        """Return what changes when the file does."""
        status = os.stat(self.name)
        return [{"path": self.name, "size": status.st_size, "mtime_ns": status.st_mtime_ns}]

    def local_files(self) -> list[str]:
        """Return the files of this machine that it is read from."""
        return [self.name]

    def columns(self) -> pa.Schema | None:
        """Return all its columns; None for a file without a line, which cannot have any."""
        # pyarrow refuses JSON lines without a line.
        if self.format == "json" and not os.stat(self.name).st_size:
            return None
        with self._named():
            return file_schema(self.name, self.format)

    def count(self, schema: pa.Schema) -> int:
        """Count its rows; those of text files are read, so that bad ones show themselves."""
        with self._named():
            return count_rows(self.name, self.format, schema) if self.columns() is not None else 0

    def read(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Read columns of it."""
        with self._named():
            yield from read_file(self.name, self.format, schema)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the file in what pyarrow says of it."""
        try:
            yield
        except OSError as error:
            raise OSError(f"{self.name} cannot be read: {error}") from error
        except (pa.ArrowException, UnicodeDecodeError) as error:
            hint = (
                f". It must be UTF-8, with rows of at most {BLOCK_BYTES:,} bytes, values of JSON nested "
                f"at most {MAX_DEPTH} deep, and columns of the types that the first rows of the first "
                "file have; a pyarrow.dataset.Dataset may have others."
            )
            raise ValueError(
                f"{self.name} cannot be read: {error}{hint * (self.format in TEXT_FORMATS)}"
            ) from error


@dataclass(frozen=True)
class DatasetReader:
    """A pyarrow Dataset, read as it was set up."""

    dataset: ds.Dataset

    # Its types are those it was given.
    format = None

    def __post_init__(self) -> None:
        check_nesting(self.dataset)

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"the {type(self.dataset).__name__}"

    def stamps(self) -> list[dict[str, Any]]:
        """Return what changes when it does, as far as it has files, and its rows."""
        # It may be filtered, or not be of files at all.
        stamps = [{"path": self.name, "n_rows": self.dataset.count_rows()}]
        if isinstance(self.dataset, ds.FileSystemDataset):
            infos = self.dataset.filesystem.get_file_info(self.dataset.files)
            stamps += [{"path": i.path, "size": i.size, "mtime_ns": i.mtime_ns} for i in infos]
        return stamps

    def local_files(self) -> list[str]:
        """Return the files of this machine that it is read from."""
        return list(local_files(self.dataset))

    def columns(self) -> pa.Schema:
        """Return all its columns."""
        return self.dataset.schema

    def count(self, schema: pa.Schema) -> int:
        """Count its rows."""
        return self.dataset.count_rows()

    def read(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Read columns of it."""
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
