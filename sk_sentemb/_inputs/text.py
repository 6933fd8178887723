"""Columns of text from any X, and their unique texts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from .._warn import warn
from ..exceptions import TruncationWarning
from .frames import read_cells

# In `UniqueTexts.inverse`, a cell without a text.
MISSING = -1


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


@dataclass(frozen=True)
class UniqueTexts:
    """Distinct texts, or pairs of texts, and the index of the text in each cell."""

    texts: list[Any]
    inverse: np.ndarray  # int of shape (n_columns, n_rows), MISSING where a cell has no text

    def first_cell(self, text: int) -> tuple[int, int]:
        """Return the row and the column of the first cell with a text."""
        row, column = np.argwhere(text == self.inverse.T)[0]
        return int(row), int(column)

    def count_truncated(self, truncated: np.ndarray) -> tuple[int, int]:
        """Return how many cells have a truncated text, and how many have a text."""
        cells = truncated[self.inverse[self.inverse != MISSING]]
        return int(cells.sum()), len(cells)

    def expand(self, embeddings: np.ndarray, *, fill: float) -> np.ndarray:
        """Return the embeddings of the rows, with `fill` where a cell is missing."""
        n_columns, n_rows = self.inverse.shape
        if n_columns == 1 and np.array_equal(self.inverse[0], np.arange(len(embeddings))):
            return embeddings
        expanded = np.full((n_rows, n_columns, embeddings.shape[1]), fill, dtype=embeddings.dtype)
        has_text = self.inverse.T != MISSING
        expanded[has_text] = embeddings[self.inverse.T[has_text]]
        return expanded.reshape(n_rows, n_columns * embeddings.shape[1])


def unique_texts(columns: TextColumns, *, missing_is_empty: bool) -> UniqueTexts:
    """Find the distinct texts, in order of appearance; missing cells have none, or the empty one."""
    index: dict[Any, int] = {}
    missing = np.zeros_like(columns.missing) if missing_is_empty else columns.missing
    inverse = np.full((columns.n_columns, columns.n_rows), MISSING, dtype=np.intp)
    for row, texts, absent in zip(inverse, columns.texts, missing.T, strict=True):
        present = [text for text, gone in zip(texts, absent, strict=True) if not gone]
        row[~absent] = [index.setdefault(text, len(index)) for text in present]
    return UniqueTexts(list(index), inverse)


def make_pairs(columns: TextColumns, *, symmetric: bool = False) -> TextColumns:
    """Pair the first text of each row with each of the others, and optionally the other way round."""
    first, *others = columns.texts
    pairs: list[list[Any]] = [list(zip(first, other, strict=True)) for other in others]
    missing = columns.missing[:, :1] | columns.missing[:, 1:]
    if symmetric:
        pairs += [list(zip(other, first, strict=True)) for other in others]
        missing = np.hstack([missing, missing])
    return TextColumns(pairs, missing)


def warn_truncated(
    n_truncated: int, n_texts: int, *, noun: str, limit: int | None, advice: str
) -> None:
    """Warn of truncated texts, with their number, if there are any."""
    if n_truncated:
        warn(
            f"{n_truncated} of {n_texts} {noun}s exceed the limit of {limit} tokens and were "
            f"truncated. {advice}",
            TruncationWarning,
        )
