"""Streams of rows from Parquet, CSV, TSV and JSON lines, with little of a file in memory.

They use pyarrow's readers of single files, because a dataset scan reads hundreds of megabytes ahead and
holds whole row groups of Parquet, of which a file may have only one.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from .nesting import DepthLimitedStream

FORMATS = ("parquet", "csv", "tsv", "json")
TEXT_FORMATS = ("csv", "tsv", "json")

# No row of CSV or JSON may be longer than a block; pyarrow reads about forty blocks ahead.
BLOCK_BYTES = 4 << 20

# For Parquet; few rows, so that long texts need little memory.
_BATCH_ROWS = 1024
_BUFFER_BYTES = 1 << 20


def file_schema(file: str, format: str) -> pa.Schema:
    """Return the columns of a file; for CSV and JSON, those of the first block."""
    if format == "parquet":
        return pq.read_schema(file)
    if format == "json":
        return _open_json(file).schema
    return _open_csv(file, format).schema


def count_rows(file: str, format: str, schema: pa.Schema) -> int:
    """Count the rows of a file; CSV and JSON are read, which reveals invalid rows."""
    if format == "parquet":
        return pq.read_metadata(file).num_rows
    return sum(map(len, read_file(file, format, schema)))


def read_file(file: str, format: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the columns of a schema from a file."""
    for batch in _batches(file, format, schema):
        batch.validate(full=True)  # reading does not check that Parquet and JSON are UTF-8
        yield batch.select(schema.names).cast(schema)


def _batches(file: str, format: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    if format == "parquet":
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES) as opened:
            yield from opened.iter_batches(_BATCH_ROWS, columns=schema.names)
    elif format == "json":
        yield from _open_json(file, schema)
    else:
        yield from _open_csv(file, format, schema)


def _open_csv(file: str, format: str, schema: pa.Schema | None = None) -> pa.RecordBatchReader:
    return pyarrow.csv.open_csv(
        file,
        # One thread, because only then errors name the row.
        pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        pyarrow.csv.ParseOptions(
            delimiter="\t" if format == "tsv" else ",", newlines_in_values=True
        ),
        # "NA" and "null" are texts; only an unquoted empty cell is missing.
        pyarrow.csv.ConvertOptions(
            column_types=schema,
            include_columns=schema.names if schema else None,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _open_json(file: str, schema: pa.Schema | None = None) -> pa.RecordBatchReader:
    return pyarrow.json.open_json(
        DepthLimitedStream(pa.input_stream(file, compression="detect")),
        pyarrow.json.ReadOptions(block_size=BLOCK_BYTES),
        pyarrow.json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="ignore" if schema else "infer"
        ),
    )
