"""Files of each format as streams of rows, with little of a file in memory.

These are pyarrow's readers of single files. A scan of a dataset reads hundreds of megabytes ahead, and
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

# No row of CSV or JSON may be longer than a block; pyarrow reads some forty blocks ahead.
BLOCK_BYTES = 4 << 20

# Of Parquet; few rows, so that long texts need little memory.
_BATCH_ROWS = 1024
_BUFFER_BYTES = 1 << 20


def file_schema(file: str, format: str) -> pa.Schema:
    """Return all columns of a file; of CSV and JSON, as its first block has them."""
    if format == "parquet":
        return pq.read_schema(file)
    if format == "json":
        return _open_json(file).schema
    return _open_csv(file, format).schema


def count_rows(file: str, format: str, schema: pa.Schema) -> int:
    """Count the rows of a file; of CSV and JSON by reading them, so that bad ones show themselves."""
    if format == "parquet":
        return pq.read_metadata(file).num_rows
    return sum(map(len, read_file(file, format, schema)))


def read_file(file: str, format: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Read columns of a file."""
    for batch in _batches(file, format, schema):
        batch.validate(full=True)  # neither Parquet nor JSON is seen to be UTF-8 as it is read
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
        # One thread, because only then an error names its row.
        pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        pyarrow.csv.ParseOptions(
            delimiter="\t" if format == "tsv" else ",", newlines_in_values=True
        ),
        # "NA" and "null" are texts; only an empty cell without quotes is missing.
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
