"""Data frames as Arrow files, which are mapped into memory, with the dtypes they had."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._inputs import is_missing
from ..exceptions import IndexFileError

# In the metadata of a field: the dtype that pandas restores.
_DTYPE = b"sk_sentemb.dtype"


def import_pyarrow() -> Any:
    """Import pyarrow, or raise an error that names the extra."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError(
            'saving and loading an index requires pyarrow: pip install "sk-sentemb[search]".'
        ) from error
    return pa


def frame_to_table(frame: pd.DataFrame) -> Any:
    """Return a data frame as a pyarrow Table that `table_to_frame` restores; drop its index."""
    pa = import_pyarrow()
    names = list(frame.columns)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"the documents have a column {name!r}, whose name is not a str. Rename it before fit."
            )
    if len(set(names)) < len(names):
        raise ValueError(f"the documents have columns of the same name: {names}. Rename them.")
    arrays, fields = [], []
    for name in names:
        array, kind = _column_to_arrow(name, frame[name])
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata={_DTYPE: json.dumps(kind)}))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def table_to_frame(table: Any) -> pd.DataFrame:
    """Return a table as the data frame that it was made from; strings stay in the table's memory."""
    columns = {
        field.name: _column_from_arrow(column, json.loads(field.metadata[_DTYPE]))
        for field, column in zip(table.schema, table.columns, strict=True)
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(len(table)), columns=table.column_names)


def write_table(table: Any, file: Path) -> None:
    """Write a table as one Arrow file without compression, so that it can be mapped."""
    pa = import_pyarrow()
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        # One batch, also of no rows, without which the categories of a column would be lost.
        arrays = [column.combine_chunks() for column in table.columns]
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=table.schema))


def read_table(file: Path) -> Any:
    """Map a table that `write_table` wrote into memory."""
    pa = import_pyarrow()
    try:
        return pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    except pa.ArrowInvalid as error:
        raise IndexFileError(f"{file} is damaged: {error}. Save the index again.") from None


def _column_to_arrow(name: str, column: pd.Series) -> tuple[Any, str]:
    """Return a column as an Arrow array, and how to restore it."""
    pa = import_pyarrow()
    kind = _describe_dtype(column.dtype)
    try:
        array = pa.array(column, from_pandas=True)
        if kind == "object" and pa.types.is_string(array.type):
            array = array.cast(pa.large_string())  # which has no limit of 2 GB
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        if kind == "object":
            _check_objects(column, array)
        elif kind not in ("str", "string"):
            restored = _column_from_arrow(array[:1], kind)
            if restored.dtype != column.dtype:
                raise TypeError(f"it would become {restored.dtype!r}")
    except UnicodeEncodeError as error:  # a lone surrogate, which UTF-8 cannot represent
        if not all(isinstance(cell, str) or is_missing(cell) for cell in column):
            raise _make_error(name, column, error) from error
        cells = [_encode_surrogates(cell) for cell in column]
        return pa.array(cells, pa.large_binary()), "surrogates"
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise _make_error(name, column, error) from error
    return array, kind


def _make_error(name: str, column: pd.Series, error: Exception) -> ValueError:
    return ValueError(
        f"column {name!r} of the documents, of dtype {column.dtype}, cannot be saved: {error}. Convert "
        "it, for example by `astype(str)`, or leave it out, and fit again."
    )


def _encode_surrogates(cell: Any) -> bytes | None:
    return cell.encode("utf-8", "surrogatepass") if isinstance(cell, str) else None


def _describe_dtype(dtype: Any) -> str:
    if isinstance(dtype, pd.ArrowDtype):
        return "arrow"
    if isinstance(dtype, pd.StringDtype):
        # Its name does not tell where the strings are and how a missing one is represented.
        return "string" if dtype.na_value is pd.NA else "str"
    return "category" if isinstance(dtype, pd.CategoricalDtype) else str(dtype)


def _column_from_arrow(array: Any, kind: str) -> pd.Series:
    """Restore a column from an Arrow array."""
    if kind == "object":
        return pd.Series(_objects_from_arrow(array), dtype=object)
    if kind == "surrogates":
        cells = [b if b is None else b.decode("utf-8", "surrogatepass") for b in array.to_pylist()]
        return pd.Series(cells, dtype=object)
    if kind == "arrow":
        arrow: Any = pd.ArrowDtype(array.type)
        return pd.Series(arrow.__from_arrow__(array))
    if kind == "category":
        return array.to_pandas()
    dtype = _str_dtype() if kind == "str" else pd.api.types.pandas_dtype(kind)
    if hasattr(dtype, "__from_arrow__"):
        return pd.Series(dtype.__from_arrow__(array))
    return array.to_pandas().astype(dtype)


def _str_dtype() -> Any:
    """Return the dtype of strings of pandas 3, or object for older ones."""
    return pd.api.types.pandas_dtype("str" if pd.Series(["a"]).dtype != object else object)


def _objects_from_arrow(array: Any) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_large_string(array.type):
        return np.asarray(array.to_numpy(zero_copy_only=False), dtype=object)
    objects = np.empty(len(array), dtype=object)
    objects[:] = array.to_pylist()
    return objects


def _check_objects(column: pd.Series, array: Any) -> None:
    """Raise unless an Arrow array gives back equal objects of the same types."""
    import pyarrow as pa

    if pa.types.is_large_string(array.type):
        return  # which pyarrow makes of str alone
    for row, (value, restored) in enumerate(zip(column, _objects_from_arrow(array), strict=True)):
        value = value.item() if isinstance(value, np.generic) else value
        if restored is None:
            continue  # a missing value, of whatever kind
        if not isinstance(value, type(restored)) or value != restored:
            raise TypeError(
                f"row {row} has {value!r} of type {type(value).__name__}, which would be "
                f"{restored!r} of type {type(restored).__name__}"
            )
