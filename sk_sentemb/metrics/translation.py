"""Margin scores of pairs of texts in two languages, and the accuracy of finding translations."""

from collections.abc import Callable
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_array, gen_batches

from .._docstrings import substitute_docstring
from .._exact_search import find_nearest, score_pairs
from .._inputs import read_text_columns

# The smallest mean of similarities that a ratio divides by.
_MIN_MEAN = 1e-3

# Number of rows that are normalized at once.
_BLOCK_ROWS = 4096

# From the cosine similarity of a pair and the mean of those of its neighbors.
_MARGINS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ratio": lambda cosine, mean: cosine / np.maximum(mean, _MIN_MEAN),
    "distance": lambda cosine, mean: cosine - mean,
    "absolute": lambda cosine, mean: cosine,
}


class TranslationAccuracy(NamedTuple):
    """Accuracies in both directions, made by :func:`~sk_sentemb.metrics.translation_accuracy`.

    The fields are the fraction of the rows of ``u`` whose translation is found in ``v``, and the
    fraction of the rows of ``v`` whose translation is found in ``u``.
    """

    u_to_v: float
    v_to_u: float


class Candidates(NamedTuple):
    """The nearest rows of the other side, nearest first, and their margin scores."""

    rows: np.ndarray  # of shape (n_rows, n_neighbors)
    scores: np.ndarray  # float64, likewise

    def find_best(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the row and the score of the best candidate of each row."""
        best = self.scores.argmax(axis=1)[:, np.newaxis]
        rows, scores = (np.take_along_axis(part, best, axis=1)[:, 0] for part in self)
        return rows, scores


@substitute_docstring
def margin_scores(
    u: Any, v: Any, n_neighbors: int = 4, margin: str = "ratio", *, pairs: Any = None
) -> np.ndarray:
    """Compute how much more similar the two rows of a pair are than their neighbors.

    In a parallel corpus, pairs with a low score are likely to be no translations of each other.

    Parameters
    ----------
    {u_of_translations}
    v : array-like of shape (n_v, n_features)
        Embeddings of texts in the other language, by the same model.
    {n_neighbors_of_translations}
    margin : {"ratio", "distance", "absolute"}, default="ratio"
        {values_of_margin}
    pairs : array-like of shape (n_pairs, 2), int, default=None
        A row of ``u`` and a row of ``v`` for each pair. If None, each row of ``u`` and the same row of
        ``v``, which then has as many.

    Returns
    -------
    ndarray of shape (n_pairs,), float64
        The scores; the higher, the more likely the pair is a translation.

    Raises
    ------
    ValueError
        If an embedding is zero or not finite, the numbers of dimensions or of rows differ, or ``pairs``
        has rows that do not exist.

    See Also
    --------
    sk_sentemb.mine_translations : Find the pairs, from texts.
    translation_accuracy : How often the right row is found.

    Notes
    -----
    {notes_of_margins}

    Rows with the same text are neighbors of the same texts and lower each other's scores; pass each
    distinct text once. Nothing of size (n_u, n_v) is kept in memory.

    References
    ----------
    {reference_of_margins}

    Examples
    --------
    >>> from sk_sentemb.metrics import margin_scores
    >>> english = [[1.0, 0.1], [0.1, 1.0], [0.9, 0.5]]
    >>> german = [[1.0, 0.2], [0.2, 1.0], [-0.9, 0.5]]
    >>> margin_scores(english, german, n_neighbors=2).round(2).tolist()
    [1.23, 1.31, -1.44]
    """
    check_margin(margin, n_neighbors)
    u, v = _read_embeddings(u, v)
    if pairs is None:
        _check_same_length(u, v, "Pass pairs, or one row of v for each row of u.")
        rows = np.arange(len(u), dtype=np.intp)[:, np.newaxis].repeat(2, axis=1)
    else:
        rows = _read_pairs(pairs, len(u), len(v))
    if not len(rows):
        return np.empty(0)
    means = [_mean_of_nearest(*sides, n_neighbors) for sides in ((u, v), (v, u))]
    cosines = np.empty(len(rows))
    for batch in gen_batches(len(rows), _BLOCK_ROWS):
        left, right = rows[batch].T
        # Rounded as the similarities of neighbors are.
        cosines[batch] = score_pairs(u[left], v, right[:, np.newaxis])[:, 0].astype(np.float32)
    return _MARGINS[margin](cosines, (means[0][rows[:, 0]] + means[1][rows[:, 1]]) / 2)


@substitute_docstring
def translation_accuracy(
    u: Any,
    v: Any,
    *,
    margin: str = "absolute",
    n_neighbors: int = 4,
    u_texts: Any = None,
    v_texts: Any = None,
) -> TranslationAccuracy:
    """Compute how often the best match of a text is its translation, in both directions.

    Row i of ``v`` is the translation of row i of ``u``. With ``margin="absolute"``, the result is that
    of the ``TranslationEvaluator`` of sentence-transformers.

    Parameters
    ----------
    {u_of_translations}
    v : array-like of shape (n_u, n_features)
        Embeddings of their translations, by the same model.
    margin : {"ratio", "distance", "absolute"}, default="absolute"
        {values_of_margin}
    {n_neighbors_of_translations}
    u_texts, v_texts : array-like of shape (n_u,), default=None
        The texts. With them, a row with the same text as the right one is correct too. If None, only
        the right row is.

    Returns
    -------
    TranslationAccuracy
        The accuracies ``u_to_v`` and ``v_to_u``, from 0 to 1.

    Raises
    ------
    ValueError
        If an embedding is zero or not finite, such as those of missing texts; the numbers of rows or of
        dimensions differ; or a text is missing.

    See Also
    --------
    margin_scores : Scores of given pairs.

    Notes
    -----
    The best match is the one with the highest score among the ``n_neighbors`` most similar rows. Among
    equal scores it is the most similar row, and then the first, so a model with the same embedding for
    all texts finds the translation of one row only.

    {notes_of_margins}

    References
    ----------
    {reference_of_margins}

    Examples
    --------
    >>> from sk_sentemb.metrics import translation_accuracy
    >>> english = [[1.0, 0.1], [0.1, 1.0], [0.9, 0.5]]
    >>> german = [[1.0, 0.2], [0.2, 1.0], [-0.9, 0.5]]
    >>> accuracy = translation_accuracy(english, german)
    >>> round(accuracy.u_to_v, 2), round(accuracy.v_to_u, 2)
    (0.67, 0.67)
    """
    check_margin(margin, n_neighbors)
    u, v = _read_embeddings(u, v)
    _check_same_length(u, v, "Row i of v is the translation of row i of u: pass as many of both.")
    if margin == "absolute":
        best = [find_nearest(*sides, 1)[0][:, 0] for sides in ((u, v), (v, u))]
    else:
        candidates = score_candidates(u, v, margin=margin, n_neighbors=n_neighbors)
        best = [side.find_best()[0] for side in candidates]
    rows = np.arange(len(u))
    texts = [
        rows if given is None else _read_text_ids(given, name, len(u))
        for name, given in (("v_texts", v_texts), ("u_texts", u_texts))
    ]
    correct = [ids[found] == ids for ids, found in zip(texts, best, strict=True)]
    return TranslationAccuracy(*(float(hits.mean()) for hits in correct))


def score_candidates(
    u: np.ndarray, v: np.ndarray, *, margin: str, n_neighbors: int
) -> tuple[Candidates, Candidates]:
    """Return the nearest rows of v for each row of u, and of u for each row of v; unit norms."""
    rows_of_u, cosines_of_u = find_nearest(u, v, n_neighbors)
    rows_of_v, cosines_of_v = find_nearest(v, u, n_neighbors)
    mean_of_u, mean_of_v = (
        cosines.mean(axis=1, dtype=np.float64) for cosines in (cosines_of_u, cosines_of_v)
    )
    compute = _MARGINS[margin]
    u_to_v = compute(
        cosines_of_u.astype(np.float64), (mean_of_u[:, np.newaxis] + mean_of_v[rows_of_u]) / 2
    )
    v_to_u = compute(
        cosines_of_v.astype(np.float64), (mean_of_v[:, np.newaxis] + mean_of_u[rows_of_v]) / 2
    )
    return Candidates(rows_of_u, u_to_v), Candidates(rows_of_v, v_to_u)


def check_margin(margin: Any, n_neighbors: Any) -> None:
    """Raise if the parameters of a margin are out of range."""
    if not isinstance(margin, str) or margin not in _MARGINS:
        raise ValueError(f"margin={margin!r}: pass 'ratio', 'distance' or 'absolute'.")
    if not isinstance(n_neighbors, Integral) or isinstance(n_neighbors, bool) or n_neighbors < 1:
        raise ValueError(f"n_neighbors={n_neighbors!r}: pass an integer of 1 or more.")


def _mean_of_nearest(queries: np.ndarray, documents: np.ndarray, n_neighbors: int) -> np.ndarray:
    return find_nearest(queries, documents, n_neighbors)[1].mean(axis=1, dtype=np.float64)


def _read_embeddings(u: Any, v: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float32 rows with unit norm."""
    u, v = _to_unit_norm(u, "u"), _to_unit_norm(v, "v")
    if u.shape[1] != v.shape[1]:
        raise ValueError(
            f"u has {u.shape[1]} dimensions, but v has {v.shape[1]}. Embed both with one model."
        )
    return u, v


def _to_unit_norm(embeddings: Any, name: str) -> np.ndarray:
    embeddings = check_array(embeddings, dtype=np.float32, input_name=name, copy=True)
    for batch in gen_batches(len(embeddings), _BLOCK_ROWS):
        block = embeddings[batch].astype(np.float64)  # squares of float32 may overflow
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        if not norms.all():
            raise ValueError(
                f"row {batch.start + int(norms.argmin())} (counting from 0) of {name} is zero, as the "
                "embeddings of missing texts are. Leave such rows out, in u and in v."
            )
        embeddings[batch] = block / norms
    return embeddings


def _check_same_length(u: np.ndarray, v: np.ndarray, advice: str) -> None:
    if len(u) != len(v):
        raise ValueError(f"u has {len(u)} rows, but v has {len(v)}. {advice}")


def _read_pairs(pairs: Any, n_u: int, n_v: int) -> np.ndarray:
    pairs = np.asarray(pairs)
    if pairs.size == 0:
        return np.empty((0, 2), dtype=np.intp)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(
            f"pairs has the shape {pairs.shape} and the dtype {pairs.dtype}. Pass integers of shape "
            "(n_pairs, 2): a row of u and a row of v for each pair."
        )
    bad = ((pairs < 0) | (pairs >= (n_u, n_v))).any(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"row {row} of pairs is {pairs[row].tolist()}, but u has {n_u} rows and v has {n_v}. Pass "
            "rows counted from 0."
        )
    return pairs.astype(np.intp)


def _read_text_ids(texts: Any, name: str, n_rows: int) -> np.ndarray:
    """Return a number for each text, the same for the same text."""
    columns = read_text_columns(texts, name)
    if columns.n_columns != 1 or columns.n_rows != n_rows:
        raise ValueError(
            f"{name} has {columns.n_rows} rows and {columns.n_columns} columns for {n_rows} embeddings. "
            "Pass one text for each."
        )
    if columns.missing.any():
        raise ValueError(
            f"row {int(columns.missing.argmax())} (counting from 0) of {name} has no text. Leave such "
            "rows out, in u and in v."
        )
    index: dict[str, int] = {}
    return np.array([index.setdefault(text, len(index)) for text in columns.texts[0]])
