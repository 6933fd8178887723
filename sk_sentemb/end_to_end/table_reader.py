"""A table read as columns of text and, beside them, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
from narwhals.stable.v2.dependencies import is_into_dataframe, is_pandas_dataframe
from pandas.api.types import infer_dtype
from scipy.sparse import issparse
from sklearn.compose import ColumnTransformer

from .._inputs import TextColumns, named_columns, read_cells, read_text_columns
from .._warn import warn
from ..exceptions import ColumnRoleWarning
from ..preprocessing import column_roles, make_multimodal_transformer

# The roles of columns, by the names of the parameters that say them.
ROLES = ("text", "categorical", "numeric", "date", "image")

# The names that pandas gives to the contents of columns of numbers, dates and the like.
_NO_TEXT = {
    *("integer", "floating", "mixed-integer-float", "decimal", "complex", "boolean"),
    *("datetime64", "datetime", "date", "timedelta64", "timedelta", "time", "period"),
}

# Columns as a parameter says them: by name, or by the rules of `column_roles`.
Columns = str | Sequence[str]


@dataclass(frozen=True)
class TableReader:
    """How a table is read, as it was learnt from one."""

    text: list[str] | None
    told: np.ndarray
    table: ColumnTransformer | None
    order: np.ndarray
    sizes: tuple[int, ...]

    @classmethod
    def learn(cls, X: Any, *, images: Any = None, **roles: Columns) -> Self:
        """Learn how to read a table."""
        X = nw.to_native(X, pass_through=True)
        if names_of(X) is None:
            return cls._of_texts_without_names(X, roles)
        asked: dict[str, Any] = {
            role: None if columns == "auto" else columns for role, columns in roles.items()
        }
        found = column_roles(X, **asked)
        n_columns = sum(map(len, found.values()))
        if n_columns == 1 and all(columns is None for columns in asked.values()):
            # Short texts look like categories; but one column is what there is to read.
            found["text"] = found["text"] or found["categorical"] or found["id"]
        if not found["text"]:
            raise ValueError(
                f"X has no column of text: the roles of its columns are {_told(found)}. Name one as "
                "text=[...], or take a model for tables."
            )
        reader = cls._of_texts(found["text"], X)
        others: dict[str, Any] = {
            role: [name for name in found[role] if name not in found["text"]]
            for role in ROLES
            if role != "text"
        }
        if not any(others.values()):
            return reader
        if images is not None:
            others["image_embedder"] = images
        table = make_multimodal_transformer(X, text=[], **others)
        # Arrays, whatever scikit-learn is set to.
        table = table.set_output(transform="default").fit(X)
        places = table.output_indices_
        pictures = [np.r_[place] for name, place in places.items() if name.startswith("image")]
        n_numbers = max(place.stop for place in places.values())
        rest = np.setdiff1d(np.arange(n_numbers), np.concatenate([np.arange(0), *pictures]))
        sizes = (len(reader.told) + len(rest), *map(len, pictures))
        order = np.concatenate([rest, *pictures]).astype(np.intp)
        return replace(reader, table=table, order=order, sizes=tuple(n for n in sizes if n))

    @classmethod
    def _of_texts_without_names(cls, X: Any, roles: dict[str, Columns]) -> Self:
        """Return a reader for columns without names, all of which are text."""
        given = [role for role, columns in roles.items() if columns != "auto"]
        if given and not is_into_dataframe(X):
            raise ValueError(
                f"{given[0]}={roles[given[0]]!r}, but X has no column names: all its columns are "
                "texts. Pass a data frame."
            )
        reader = cls._of_texts(None, X)
        numbers = _find_numbers(X)
        if is_into_dataframe(X) and (given or numbers):
            named_columns(X)  # raises, and asks for names
        if numbers:
            place, kind = numbers[0]
            warn(
                f"X has no column names, so that all its columns are embedded as texts; but column "
                f"{place} (counting from 0) holds cells of the kind {kind!r}. To use it as such, pass a "
                "data frame with strings as column names.",
                ColumnRoleWarning,
            )
        return reader

    @classmethod
    def _of_texts(cls, text: list[str] | None, X: Any) -> Self:
        """Return what reads columns of text, and drops the others."""
        told = np.flatnonzero(_text_columns(X, text).missing.any(axis=0))
        return cls(text, told, None, np.arange(0), (len(told),) if len(told) else ())

    def is_of_texts(self, n_columns: int) -> bool:
        """Say whether rows of so many columns without names can be read: all of them are texts."""
        return self.text is None or (self.table is None and len(self.text) == n_columns)

    def texts(self, X: Any) -> TextColumns:
        """Read the columns of text."""
        return _text_columns(X, self.text if names_of(X) is not None else None)

    def features(self, X: Any, missing: np.ndarray) -> np.ndarray:
        """Read what there is beside the texts."""
        features = [missing[:, self.told]]
        if self.table is not None:
            features.append(self._numbers(X, len(missing)))
        with np.errstate(over="ignore"):  # said below
            numbers = np.hstack(features).astype(np.float32)
        self._check_finite(numbers)
        return numbers

    def _check_finite(self, numbers: np.ndarray) -> None:
        odd = np.argwhere(~np.isfinite(numbers))
        if not len(odd):
            return
        assert self.table is not None
        row, place = odd[0]
        name = self.table.get_feature_names_out()[self.order][place - len(self.told)]
        raise ValueError(
            f"row {row} of X (counting from 0) has {numbers[row, place]} as {name!r}, and a head needs "
            "finite numbers of float32. Pass smaller ones, and for missing images an ImageEmbedder with "
            "missing='zero'."
        )

    def _numbers(self, X: Any, n_rows: int) -> np.ndarray:
        """Return what the table becomes."""
        assert self.table is not None
        if not n_rows:  # which scikit-learn's transformers do not take
            return np.zeros((0, len(self.order)))
        numbers = self.table.transform(X)
        numbers = numbers.toarray() if issparse(numbers) else np.asarray(numbers)
        return numbers[:, self.order]


def names_of(X: Any) -> list[str] | None:
    """Return the names of a frame's columns; None where not all have a string for one."""
    X = nw.to_native(X, pass_through=True)
    if not is_into_dataframe(X):
        return None
    names = list(X.columns) if is_pandas_dataframe(X) else nw.from_native(X).columns
    return names if all(isinstance(name, str) for name in names) else None


def _text_columns(X: Any, names: list[str] | None) -> TextColumns:
    """Read some of a frame's columns, or all that there is."""
    if names is not None:
        X = nw.from_native(X, eager_only=True).select(names).to_native()
    return read_text_columns(X)


def _find_numbers(X: Any) -> list[tuple[int, str]]:
    """Return the indices and kinds of columns of numbers, dates and the like beside columns of text."""
    columns, _ = read_cells(X)
    kinds = [infer_dtype(column, skipna=True) for column in columns]
    numbers = [(place, kind) for place, kind in enumerate(kinds) if kind in _NO_TEXT]
    return numbers if len(numbers) < len(kinds) else []


def _told(roles: dict[str, list[str]]) -> str:
    return ", ".join(f"{role} {names}" for role, names in roles.items() if names)
