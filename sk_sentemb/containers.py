"""Containers that are neither frames nor arrays: which are read cell by cell, and which are refused."""

from collections import UserString
from collections.abc import ItemsView, Iterable, KeysView, Mapping, Sequence, Set, ValuesView
from typing import Any


def list_cells(X: Any) -> list[Any] | None:
    """Return the cells of a sequence that is no array, such as a deque or a view of a dict.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    list or None
        None where X is a single text, has no order or can be read only once.
    """
    is_text = isinstance(X, (str, UserString, bytes, bytearray, memoryview))
    if is_text or not isinstance(X, (Sequence, KeysView, ValuesView, ItemsView)):
        return None
    # A slice of a Hugging Face column is much faster than its items one by one.
    return list(X[:] if _is_hugging_face(X) and isinstance(X, Sequence) else X)


def make_sliceable(X: Any) -> Any:
    """Return X, or a list of its cells where scikit-learn cannot take rows from it, or raise.

    Parameters
    ----------
    X : object
        What was passed.

    Returns
    -------
    object
        A list, an array or a data frame, if X is of a kind that is read.

    Raises
    ------
    TypeError
        If it is a dict, a set or a Hugging Face dataset instead of one of its columns.
    """
    if (cells := list_cells(X)) is not None:
        return cells
    if isinstance(X, (Mapping, Set)) or _is_hugging_face(X):
        raise TypeError(
            f"X is of type {type(X).__name__}, which is not a sequence. Pass {advise_container(X)}."
        )
    return X


def advise_container(X: Any) -> str | None:
    """Say what to pass instead of a container that holds no cells, or None for an unknown one.

    Parameters
    ----------
    X : object
        What was passed.

    Returns
    -------
    str or None
        The advice.
    """
    if isinstance(X, Mapping):
        return "pandas.DataFrame(X) if it maps names to columns, or list(X.values())"
    if _is_hugging_face(X) and hasattr(X, "to_pandas"):
        return "one of its columns, such as X['text'], or X.to_pandas()"
    if isinstance(X, Set):
        return "sorted(X), since a set has no order"
    return "list(X)" if isinstance(X, Iterable) else None


def _is_hugging_face(X: Any) -> bool:
    return type(X).__module__.startswith("datasets.")
