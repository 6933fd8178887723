"""The documents of an index: a data frame, or a mapped file that becomes one when it is needed."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from .document_table import frame_to_table, table_to_frame
from .documents import ID, TEXT


class LazyDocuments:
    """Documents that are read by rows or columns, or as a data frame if all are asked for."""

    def __init__(self, frame: pd.DataFrame | None = None, *, table: Any = None) -> None:
        self._frame = frame
        self._table = table  # of pyarrow, if there is no data frame yet

    @property
    def frame(self) -> pd.DataFrame:
        """All documents."""
        if self._frame is None:
            self._frame = table_to_frame(self._table)
        return self._frame

    @cached_property
    def ids(self) -> np.ndarray:
        """The ids of the documents."""
        return self[ID].to_numpy()

    @property
    def has_integer_ids(self) -> bool:
        """Whether the ids are int64 and not objects."""
        first = self.take(np.zeros(min(len(self), 1), dtype=np.intp))
        return pd.api.types.is_integer_dtype(first[ID].dtype)

    @cached_property
    def has_text(self) -> np.ndarray:
        """Which documents have a text."""
        if self._frame is None:
            return self._table[TEXT].is_valid().to_numpy()
        return self._frame[TEXT].notna().to_numpy()

    def take(self, rows: np.ndarray) -> pd.DataFrame:
        """Return the documents of some rows, numbered from 0."""
        if self._frame is None:
            return table_to_frame(self._table.take(rows))
        return self._frame.iloc[rows].reset_index(drop=True)

    def to_table(self) -> Any:
        """Return the documents as a table of pyarrow."""
        return frame_to_table(self._frame) if self._frame is not None else self._table

    def __len__(self) -> int:
        return len(self._table if self._frame is None else self._frame)

    def __iter__(self) -> Iterator[str]:
        names: Any = self._table.column_names if self._frame is None else self._frame
        return iter(names)

    def __getitem__(self, column: str) -> pd.Series:
        if self._frame is None:
            return table_to_frame(self._table.select([column]))[column]
        return self._frame[column]

    def __getstate__(self) -> dict[str, Any]:
        return {"_frame": self.frame, "_table": None}
