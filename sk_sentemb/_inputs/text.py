"""Columns of text, and which cells are missing, from any X."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from .frames import read_cells


@dataclass(frozen=True)
class TextColumns:
    """The text of X, column by column."""

    texts: list[list[Any]]  # "" where a cell is missing
    missing: np.ndarray  # bool of shape (n_rows, n_columns)
    names: list[str] | None = None
    is_1d: bool = False

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.missing.shape[0]

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return self.missing.shape[1]


def read_text_columns(X: Any, input_name: str = "X") -> TextColumns:
    """Return X as columns of text; cells that are not text, such as numbers, become ``str(cell)``."""
    columns, names, is_1d = read_cells(X, input_name, row_types=(list, tuple, np.ndarray))
    texts = []
    missing = np.zeros((len(columns[0]), len(columns)), dtype=bool)
    for j, cells in enumerate(columns):
        # One pass in C finds the common case, a column of nothing but str.
        if not set(map(type, cells)) <= {str}:
            cells = [
                cell
                if type(cell) is str
                else _convert_cell(cell, describe_cell(i, j, columns, names), input_name)
                for i, cell in enumerate(cells)
            ]
            missing[:, j] = [cell is None for cell in cells]
            cells = [cell or "" for cell in cells]
        texts.append(cells)
    return TextColumns(texts, missing, names, is_1d)


def describe_cell(row: int, column: int, columns: Sequence[Any], names: list[str] | None) -> str:
    """Return the position of a cell, for an error."""
    where = f"row {row} (counting from 0)"
    if names or len(columns) > 1:
        where += f", column {(names[column] if names else column)!r}"
    return where


def _convert_cell(cell: Any, where: str, input_name: str) -> str | None:
    """Return the text of one cell, or None where it is missing."""
    if cell is None or cell is np.ma.masked:
        return None
    if isinstance(cell, str):
        # Not str(cell): of an Enum that is also a str, the text is its value.
        return str.__str__(cell)
    if isinstance(cell, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"{input_name} has {type(cell).__name__} in {where}, but text must be str. Decode it "
            "first, for example with str(cell, 'utf-8')."
        )
    if isinstance(cell, (complex, np.complexfloating)):
        raise ValueError(
            f"Complex data not supported: {input_name} has {cell!r} in {where}. Pass text or "
            "real numbers."
        )
    if hasattr(cell, "as_py"):  # a pyarrow scalar, whose null would read "None"
        return _convert_cell(cell.as_py(), where, input_name)
    if isinstance(cell, (Iterable, np.void)):  # np.void: a record of a structured array
        hint = " If rows are mappings of names to cells, pass pandas.DataFrame(X)."
        raise TypeError(
            f"{input_name} has a cell of type {type(cell).__name__} in {where}, but it must hold one "
            "text. Join its parts into one string, or give every row the same number of texts."
            + (hint if isinstance(cell, Mapping) else "")
        )
    kind = type(cell)
    # The text of a function or an object without one of its own would be its address in memory.
    has_no_text = kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__
    if is_pillow_image(cell) or callable(cell) or has_no_text:
        raise TypeError(
            f"{input_name} has a cell of type {kind.__name__} in {where}, which is not text. "
            "Pass texts, and images to an ImageEmbedder."
        )
    # pandas.NA by its type's name, so that pandas need not be loaded: its comparisons have no truth
    # value. NaN and NaT are the cells that differ from themselves; a signaling NaN cannot be compared.
    if kind.__name__ == "NAType" or (cell.is_nan() if kind is Decimal else cell != cell):
        return None
    return str(cell)


def is_pillow_image(value: Any) -> bool:
    """Return whether a value is an image of Pillow, without loading Pillow."""
    return any(kind.__module__ == "PIL.Image" for kind in type(value).__mro__)
