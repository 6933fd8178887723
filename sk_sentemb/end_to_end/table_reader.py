"""Read a table as text columns and, from all other columns, numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
from narwhals.stable.v2.dependencies import is_into_dataframe, is_pandas_dataframe
from pandas.api.types import infer_dtype
from scipy.sparse import issparse
from sklearn import config_context
from sklearn.compose import ColumnTransformer

from .._inputs import TextColumns, named_columns, read_cells, read_text_columns
from .._warn import warn
from ..exceptions import ColumnRoleWarning
from ..preprocessing import column_roles, make_multimodal_transformer

# The roles of columns, which are also the names of the parameters that set them.
ROLES = ("text", "categorical", "numeric", "date", "image")

# The names that pandas gives to the contents of columns without text.
_KINDS_WITHOUT_TEXT = {
    *("integer", "floating", "mixed-integer-float", "decimal", "complex", "boolean"),
    *("datetime64", "datetime", "date", "timedelta64", "timedelta", "time", "period"),
}

# The columns of a role: names, or "auto" for the rules of `column_roles`.
Columns = str | Sequence[str]


class Table:
    """X, with its column names if all columns have a string as name."""

    def __init__(self, X: Any) -> None:
        self.X = nw.to_native(X, pass_through=True)
        self.is_frame = is_into_dataframe(self.X)
        self.names = self._find_names() if self.is_frame else None

    def _find_names(self) -> list[str] | None:
        is_pandas = is_pandas_dataframe(self.X)
        names = list(self.X.columns) if is_pandas else nw.from_native(self.X).columns
        return names if all(isinstance(name, str) for name in names) else None

    @cached_property
    def all_texts(self) -> TextColumns:
        """All columns, read as text."""
        return read_text_columns(self.X)

    @property
    def n_columns(self) -> int:
        """The number of columns."""
        return self.all_texts.n_columns if self.names is None else len(self.names)

    @property
    def is_1d(self) -> bool:
        """Whether X is a single column without a name, such as a list of texts."""
        return self.names is None and self.all_texts.is_1d

    def read_texts(self, names: list[str] | None) -> TextColumns:
        """Read the named columns as text, or all of them."""
        if names is None or self.names is None:
            return self.all_texts
        frame = nw.from_native(self.X, eager_only=True)
        return read_text_columns(frame.select(names).to_native())


@dataclass(frozen=True)
class TableColumns(TextColumns):
    """The text columns of a table, and its other columns as numbers."""

    features: np.ndarray = field(kw_only=True)  # (n_rows, n_features), float32


@dataclass(frozen=True)
class TableReader:
    """Reads tables as the one that it was fitted to."""

    text: list[str] | None  # names of the text columns; None if the columns have no names
    indicator_columns: np.ndarray  # indices of the text columns with a missing indicator
    transformer: ColumnTransformer | None  # encodes the columns that are not text
    output_order: np.ndarray  # columns of its output: those of the table, then of each image
    part_sizes: tuple[int, ...]  # widths of the parts of the features: table, images

    @classmethod
    def fit(
        cls, table: Table, *, image_embedder: Any = None, roles: Mapping[str, Columns]
    ) -> tuple[Self, TableColumns]:
        """Learn how to read a table, and read it."""
        others: dict[str, Any] = {}
        text = None
        if table.names is not None:
            others = _find_roles(table.X, roles)
            text = others.pop("text")
        columns = table.read_texts(text)
        if table.names is None:
            _check_unnamed(table, roles)
        indicator_columns = np.flatnonzero(columns.missing.any(axis=0))
        transformer, encoded = None, None
        parts = [np.arange(0)]
        if any(others.values()):
            transformer = make_multimodal_transformer(
                text=[], image_embedder=image_embedder, **others
            )
            # Arrays, whatever scikit-learn is set to. An imputer's indicator follows the setting alone.
            transformer.set_output(transform="default")
            with config_context(transform_output="default"):
                encoded = transformer.fit_transform(table.X)
            parts = _split_output(transformer)
        sizes = (len(indicator_columns) + len(parts[0]), *map(len, parts[1:]))
        reader = cls(
            text,
            indicator_columns,
            transformer,
            np.concatenate(parts).astype(np.intp),
            tuple(size for size in sizes if size),
        )
        return reader, reader._join(columns, encoded)

    def read(self, table: Table) -> TableColumns:
        """Read a table."""
        columns = table.read_texts(self.text)
        encoded = None
        # scikit-learn's transformers raise without rows.
        if self.transformer is not None and columns.n_rows:
            with config_context(transform_output="default"):
                encoded = self.transformer.transform(table.X)
        return self._join(columns, encoded)

    def can_read(self, table: Table) -> bool:
        """Say whether a table has the names that are needed to tell text columns from others."""
        return (
            table.names is not None
            or self.text is None
            or (self.transformer is None and len(self.text) == table.n_columns)
        )

    def _join(self, columns: TextColumns, encoded: Any) -> TableColumns:
        """Put missing indicators and encoded columns side by side."""
        if encoded is None:
            encoded = np.zeros((columns.n_rows, len(self.output_order)))
        encoded = encoded.toarray() if issparse(encoded) else np.asarray(encoded)
        indicators = columns.missing[:, self.indicator_columns]
        with np.errstate(over="ignore"):  # which raises below
            features = np.hstack([indicators, encoded[:, self.output_order]]).astype(np.float32)
        self._check_finite(features)
        return TableColumns(columns.texts, columns.missing, columns.names, features=features)

    def _check_finite(self, features: np.ndarray) -> None:
        where = np.argwhere(~np.isfinite(features))
        if not len(where):
            return
        assert self.transformer is not None
        row, column = where[0]
        names = self.transformer.get_feature_names_out()[self.output_order]
        raise ValueError(
            f"row {row} of X (counting from 0) has {features[row, column]} in "
            f"{names[column - len(self.indicator_columns)]!r}, but features must be finite float32 "
            "numbers. Pass smaller numbers, and for missing images an ImageEmbedder with "
            "missing='zero'."
        )


def _find_roles(X: Any, roles: Mapping[str, Columns]) -> dict[str, list[str]]:
    """Find the columns of each role, at least one of them text."""
    asked: dict[str, Any] = {
        role: None if columns == "auto" else columns for role, columns in roles.items()
    }
    found = column_roles(X, **asked)
    n_columns = sum(map(len, found.values()))
    if n_columns == 1 and all(columns is None for columns in asked.values()):
        # Short texts look like categories; but a single column must be the text.
        found["text"] = found["text"] or found["categorical"] or found["id"]
    if not found["text"]:
        shown = ", ".join(f"{role} {names}" for role, names in found.items() if names)
        raise ValueError(
            f"X has no text column. The roles of its columns are: {shown}. Name the text columns with "
            "text=[...], or use an estimator for tables."
        )
    return {
        role: [name for name in found[role] if role == "text" or name not in found["text"]]
        for role in ROLES
    }


def _check_unnamed(table: Table, roles: Mapping[str, Columns]) -> None:
    """Raise if roles were given for columns without names, and warn of columns without text."""
    given = [role for role, columns in roles.items() if columns != "auto"]
    if given and not table.is_frame:
        raise ValueError(
            f"{given[0]}={roles[given[0]]!r} requires column names, but X has none. Pass a data frame."
        )
    others = _find_columns_without_text(table.X)
    if table.is_frame and (given or others):
        named_columns(table.X)  # raises, and asks for names
    if others:
        column, kind = others[0]
        warn(
            "X has no column names, so all its columns are embedded as texts, but column "
            f"{column} (counting from 0) has cells of the kind {kind!r}. To use them as such, pass a "
            "data frame with strings as column names.",
            ColumnRoleWarning,
        )


def _find_columns_without_text(X: Any) -> list[tuple[int, str]]:
    """Return the indices and kinds of columns of numbers or dates next to columns of text."""
    columns = read_cells(X).columns
    kinds = [infer_dtype(column, skipna=True) for column in columns]
    others = [(i, kind) for i, kind in enumerate(kinds) if kind in _KINDS_WITHOUT_TEXT]
    return others if len(others) < len(kinds) else []


def _split_output(transformer: ColumnTransformer) -> list[np.ndarray]:
    """Return the output columns of the table, and those of each image column."""
    slices = transformer.output_indices_
    images = [np.r_[columns] for name, columns in slices.items() if name.startswith("image")]
    n_outputs = max(columns.stop for columns in slices.values())
    table = np.setdiff1d(np.arange(n_outputs), np.concatenate([np.arange(0), *images]))
    return [table, *images]
