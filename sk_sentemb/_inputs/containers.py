"""Containers that are neither data frames nor arrays: sequences are read, others are refused."""

from collections import UserString
from collections.abc import ItemsView, Iterable, KeysView, Mapping, Sequence, Set, ValuesView
from typing import Any


def list_cells(X: Any) -> list[Any] | None:
    """Return the cells of a sequence, such as a list, a deque or a view of a dict."""
    is_text = isinstance(X, (str, UserString, bytes, bytearray, memoryview))
    if is_text or not isinstance(X, (Sequence, KeysView, ValuesView, ItemsView)):
        return None
    # A slice of a Hugging Face column is much faster than its items one by one.
    return list(X[:] if _is_hugging_face(X) and isinstance(X, Sequence) else X)


def make_sliceable(X: Any) -> Any:
    """Return X, or a list of its cells if it is a sequence, so that rows can be selected."""
    if (cells := list_cells(X)) is not None:
        return cells
    if isinstance(X, (Mapping, Set)) or _is_hugging_face(X):
        raise TypeError(
            f"X is of type {type(X).__name__}, which is not a sequence. Pass {advise_container(X)}."
        )
    return X


def advise_container(X: Any) -> str | None:
    """Return what to pass instead of a container that is refused."""
    if isinstance(X, Mapping):
        return "pandas.DataFrame(X) if it maps names to columns, or list(X.values())"
    if _is_hugging_face(X) and hasattr(X, "to_pandas"):
        return "one of its columns, such as X['text'], or X.to_pandas()"
    if isinstance(X, Set):
        return "sorted(X), since a set has no order"
    return "list(X)" if isinstance(X, Iterable) else None


def _is_hugging_face(X: Any) -> bool:
    return type(X).__module__.startswith("datasets.")
