"""Any corpus to one table: ids, texts and the other columns of a data frame."""

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from narwhals.stable.v2.dependencies import is_into_dataframe, is_pandas_dataframe

from .._inputs import (
    TextColumns,
    is_missing,
    list_cells,
    named_columns,
    read_text_columns,
    to_frame_or_sequence,
)

ID, TEXT = "id", "text"

# The columns of a result that are not those of the documents.
_OF_RESULTS = ("query", "rank", "score")


def read_documents(documents: Any, *, text: Any = None, id: Any = None) -> pd.DataFrame:
    """Return a table with the columns id (where given), text (None where missing) and the others."""
    documents = to_frame_or_sequence(documents, "documents", "text")
    if is_into_dataframe(documents):
        texts, ids, kept = _split_frame(documents, text, id)
    else:
        if text is not None:
            raise ValueError(
                f"text={text!r} names a column, but documents are of type "
                f"{type(documents).__name__}. Pass a data frame, or leave text out."
            )
        if isinstance(id, str):
            raise ValueError(
                f"id={id!r} names a column, but documents are of type {type(documents).__name__}. "
                "Pass a data frame, or one id per document."
            )
        texts, ids, kept = documents, id, pd.DataFrame()
    columns = read_text_columns(texts, "documents")
    if columns.n_columns != 1:
        raise ValueError(
            f"documents have {columns.n_columns} columns without names. Pass one column of texts, or "
            "a data frame with text='...' and id='...'."
        )
    if not columns.n_rows:
        raise ValueError(
            "Found array with 0 sample(s) while a minimum of 1 is required: documents are empty. Pass "
            "at least one."
        )
    table = pd.DataFrame({TEXT: _make_text_column(texts, columns)})
    if ids is not None:
        values = read_ids(ids, columns.n_rows)
        # As it is: pandas 3 would infer a dtype that has no lone surrogates.
        table.insert(0, ID, pd.Series(values, dtype=values.dtype))
    return pd.concat([table, kept], axis=1)


def _make_text_column(texts: Any, columns: TextColumns) -> pd.Series:
    """Return the texts, None where missing, without another copy of their characters."""
    if isinstance(texts, pd.Series) and isinstance(texts.dtype, pd.StringDtype):
        return texts.reset_index(drop=True).copy()
    cells = np.empty(columns.n_rows, dtype=object)
    cells[:] = columns.texts[0]
    cells[columns.missing[:, 0]] = None
    return pd.Series(cells, dtype=object)


def append_documents(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Return both tables as one; raise if their columns differ."""
    if set(table) != set(more):
        raise ValueError(
            f"documents have the columns {list(more)}, but those in the index have {list(table)}. "
            "Pass the same columns."
        )
    return pd.concat([table, more[list(table)]], ignore_index=True)


def read_ids(ids: Any, n_rows: int) -> np.ndarray:
    """Return one id per row: int64, or else objects; raise where one is missing."""
    values = _list_values(ids, "id")
    if len(values) != n_rows:
        raise ValueError(f"id has {len(values)} values for {n_rows} documents. Pass one for each.")
    for row, value in enumerate(values):
        if is_missing(value):
            raise ValueError(
                f"row {row} (counting from 0) of documents has no id. Fill it, or leave the row out."
            )
        if getattr(value, "__hash__", None) is None:
            raise TypeError(
                f"row {row} (counting from 0) of documents has an id of type {type(value).__name__}. "
                "Pass strings or integers."
            )
    return to_id_array(values)


def to_id_array(values: list[Any]) -> np.ndarray:
    """Return ids as int64, or as Python objects if they are not all integers."""
    if all(isinstance(value, Integral) and not isinstance(value, bool) for value in values):
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            pass
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def check_unique(ids: np.ndarray, n_before: int = 0) -> None:
    """Raise if an id occurs twice; the first `n_before` are those of an index."""
    index = pd.Index(ids, dtype=ids.dtype)
    if index.is_unique:
        return
    second = int(np.flatnonzero(index.duplicated())[0])
    first = int(np.flatnonzero(index == ids[second])[0])
    value = ids[second : second + 1].tolist()[0]
    if second < n_before:  # cannot happen: the ids of an index are unique
        raise AssertionError("the ids of the index are not unique.")
    if first < n_before:
        raise ValueError(
            f"the id {value!r} of row {second - n_before} is already in the index, in row {first}. "
            "Remove that document first, or give this one another id."
        )
    raise ValueError(
        f"the id {value!r} occurs twice, in the rows {first - n_before} and {second - n_before} "
        "(counting from 0). Give every document an id of its own."
    )


def find_positions(known: np.ndarray, ids: Any, name: str) -> np.ndarray:
    """Return the row of each id in the index; raise for unknown ones."""
    values = _list_values(ids, name)
    wanted = to_id_array(values)
    index = pd.Index(known, dtype=known.dtype)
    positions = index.get_indexer(pd.Index(wanted, dtype=wanted.dtype))
    if (positions < 0).any():
        unknown = [value for value, at in zip(values, positions, strict=True) if at < 0]
        sample = known[:1].tolist()[0] if len(known) else None
        raise ValueError(
            f"{name} has {len(unknown)} ids that are not in the index, such as {unknown[0]!r} of type "
            f"{type(unknown[0]).__name__}; those of the index look like {sample!r}."
        )
    return positions.astype(np.intp)


def _split_frame(documents: Any, text: Any, id: Any) -> tuple[Any, Any, pd.DataFrame]:
    """Return the texts, the ids or None, and the other columns of a data frame."""
    columns = named_columns(documents)
    id_name = None
    if isinstance(id, str):
        id_name = _check_name(id, "id", columns)
    elif id is None and ID in columns and text != ID:
        id_name = ID
    if text is None:
        others = [name for name in columns if name != id_name]
        text = (
            TEXT if TEXT in columns and id_name != TEXT else others[0] if len(others) == 1 else None
        )
        if text is None:
            raise ValueError(
                f"documents have the columns {list(columns)}, and none is called 'text'. Pass the name "
                "of the column of texts as text='...'."
            )
    text = _check_name(text, "text", columns)
    names = [name for name in columns if name not in (text, id_name)]
    for name in names:
        if name in (ID, TEXT, *_OF_RESULTS):
            raise ValueError(
                f"documents have a column {name!r}, as results have, which is not their {name}. Rename "
                "it, or leave it out."
            )
    if is_pandas_dataframe(documents):
        kept = documents[names].reset_index(drop=True).copy()
    else:
        kept = pd.DataFrame({name: columns[name].to_list() for name in names})
    ids = columns[id_name] if id_name is not None else id
    return columns[text].to_native(), ids, kept


def _check_name(name: Any, argument: str, columns: dict[str, Any]) -> str:
    if name not in columns:
        raise ValueError(
            f"{argument}={name!r}, but documents have the columns {list(columns)}. Pass one of them."
        )
    return name


def _list_values(ids: Any, name: str) -> list[Any]:
    """Return ids as a list of Python objects."""
    if isinstance(ids, (str, bytes)) or not np.iterable(ids):
        raise TypeError(f"{name} is the single value {ids!r}; pass a list of ids.")
    for method in ("to_list", "to_pylist"):  # of pandas, polars and pyarrow
        if hasattr(ids, method):
            return getattr(ids, method)()
    if hasattr(ids, "tolist"):
        return np.asarray(ids).ravel().tolist()
    if (cells := list_cells(ids)) is None:
        cells = list(ids)
    return [cell.item() if isinstance(cell, np.generic) else cell for cell in cells]
