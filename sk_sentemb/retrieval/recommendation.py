"""Profiles of users: the weighted mean of what they like."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .._warn import warn
from ..exceptions import MissingTextWarning
from .documents import find_positions
from .embedding_store import EmbeddingStore, normalize_rows


def read_liked(liked: Any, texts: Any) -> tuple[list[list[Any]], list[list[Any]]]:
    """Return the ids and the texts that each user likes."""
    if liked is None and texts is None:
        raise ValueError("Pass the ids that a user likes as liked, or texts, or both.")
    parts = [_split_users(values, name) for values, name in ((liked, "liked"), (texts, "texts"))]
    n_users = {len(part) for part in parts if part is not None}
    if len(n_users) > 1:
        raise ValueError(
            f"liked and texts are of {' and '.join(map(str, sorted(n_users)))} users. Pass both for "
            "one user, or a list for each user, which may be empty."
        )
    ids, strings = ([[]] * max(n_users) if part is None else part for part in parts)
    return ids, strings


def read_weights(weights: Any, counts: list[int]) -> list[np.ndarray]:
    """Return the weights of what each user likes, one if there are none."""
    if weights is None:
        return [np.ones(count, dtype=np.float32) for count in counts]
    users = _split_users(weights, "weights")
    assert users is not None
    if [len(user) for user in users] != counts:
        raise ValueError(
            f"weights has {[len(user) for user in users]} values for {counts} ids and texts of the "
            "users. Pass one for each id, then one for each text."
        )
    arrays = [np.asarray(user, dtype=np.float32) for user in users]
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("weights has NaN or infinity. Pass finite numbers.")
    return arrays


def read_excluded(exclude: Any, n_users: int, known: np.ndarray) -> list[np.ndarray]:
    """Return the rows to leave out for each user; one list of ids is for all of them."""
    if exclude is None:
        return [np.empty(0, dtype=np.intp)] * n_users
    users = _split_users(exclude, "exclude")
    assert users is not None
    if len(users) == 1:
        users *= n_users
    if len(users) != n_users:
        raise ValueError(f"exclude has lists for {len(users)} users, but there are {n_users}.")
    return [find_positions(known, user, "exclude") for user in users]


def compute_profiles(
    store: EmbeddingStore,
    rows: list[np.ndarray],
    texts: list[list[str]],
    weights: list[np.ndarray],
    embed: Callable[[list[str]], np.ndarray],
) -> np.ndarray:
    """Return the weighted mean of the embeddings that each user likes, of unit norm if they are."""
    embedded = embed([text for user in texts for text in user])
    profiles, start = np.empty((len(rows), embedded.shape[1]), dtype=np.float32), 0
    n_without = 0
    for user, (liked, strings, weight) in enumerate(zip(rows, texts, weights, strict=True)):
        if not len(weight):
            raise ValueError(f"user {user} (counting from 0) likes nothing. Pass an id or a text.")
        of_texts = embedded[start : start + len(strings)]
        start += len(strings)
        embeddings = np.concatenate([store.read(liked), of_texts])
        n_without += int((~embeddings[: len(liked)].any(axis=1)).sum())
        total = np.abs(weight).sum()
        profiles[user] = weight @ embeddings / (total or 1)
        if not np.linalg.norm(profiles[user]) > 1e-6:
            raise ValueError(
                f"what user {user} (counting from 0) likes has no direction: the texts are missing, "
                "or the weights cancel out. Pass other ids, texts or weights."
            )
    if n_without:
        warn(
            f"{n_without} of the liked documents have no text and do not count.", MissingTextWarning
        )
    return normalize_rows(profiles) if store.unit else profiles


def _split_users(values: Any, name: str) -> list[list[Any]] | None:
    """Return a list for each user; values that are no lists are those of one user."""
    if values is None:
        return None
    if isinstance(values, (str, bytes)) or not np.iterable(values) or isinstance(values, dict):
        raise TypeError(
            f"{name} is {values!r} of type {type(values).__name__}; pass a list, or a list of lists for "
            "several users."
        )
    values = list(values)
    nested = [np.iterable(value) and not isinstance(value, (str, bytes)) for value in values]
    if any(nested) and not all(nested):
        raise TypeError(
            f"{name} mixes lists and single values. Pass a list for one user, or a list of lists."
        )
    return [list(value) for value in values] if any(nested) else [values]
