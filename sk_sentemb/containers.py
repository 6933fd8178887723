"""Containers that are neither frames nor arrays: which are read cell by cell, and which are refused."""

from collections.abc import ItemsView, Iterable, KeysView, Mapping, Sequence, Set, ValuesView
from typing import Any


def list_cells(X: Any) -> list[Any] | None:
    """Return the cells of a sequence that is no array, such as a deque or a view of a dict.

    Parameters
    ----------
    X : object
        Anything but a single text.

    Returns
    -------
    list or None
        None where X has no order or can be read only once.
    """
    if not isinstance(X, (Sequence, KeysView, ValuesView, ItemsView)):
        return None
    # A slice of a Hugging Face column is much faster than its items one by one.
    is_hugging_face = type(X).__module__.startswith("datasets.")
    return list(X[:] if is_hugging_face and isinstance(X, Sequence) else X)


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
    if hasattr(X, "column_names") and hasattr(X, "to_pandas"):  # a Hugging Face dataset
        return "one of its columns, such as X['text'], or X.to_pandas()"
    if isinstance(X, Set):
        return "sorted(X), since a set has no order"
    return "list(X)" if isinstance(X, Iterable) else None
