"""Select the columns of a source, and their types."""

from collections.abc import Iterable, Sequence

import pyarrow as pa
from pyarrow import types


def read_schema(
    available: pa.Schema,
    texts: Sequence[str],
    keep: str | Sequence[str],
    format: str | None,
    part: str,
) -> pa.Schema:
    """Return the selected columns, with text as text where pyarrow infers another type."""
    names = dict.fromkeys([*available.names, *texts] if keep == "all" else [*texts, *keep])
    check_columns(names, available, part)
    schema = pa.schema(
        [(name, _read_type(available.field(name).type, format, name in texts)) for name in names]
    )
    for name in texts:
        _check_text(schema.field(name), part)
    return schema


def check_columns(names: Iterable[str], available: pa.Schema, part: str) -> None:
    """Raise if a column is missing from a file or repeated."""
    for name in names:
        n_columns = len(available.get_all_field_indices(name))
        if n_columns != 1:
            raise ValueError(
                f"{part} has {n_columns or 'no'} column{'s' * (n_columns > 1)} {name!r}; it has "
                f"{available.names[:20]}."
            )


def _read_type(kind: pa.DataType, format: str | None, is_text: bool) -> pa.DataType:
    # The first rows are empty, or not UTF-8.
    is_vague = types.is_null(kind) or types.is_binary(kind)
    if format in ("csv", "tsv") and (is_text or is_vague):
        return pa.string()
    # A JSON string stays a string, even if it looks like a time.
    if format == "json" and (is_vague or types.is_timestamp(kind)):
        return pa.string()
    return kind


def _check_text(field: pa.Field, part: str) -> None:
    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    tests = (types.is_nested, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    if any(test(kind) for test in tests):
        raise ValueError(
            f"column {field.name!r} of {part} is of type {field.type}, not text. Decode it, or join "
            "its parts into one string."
        )
