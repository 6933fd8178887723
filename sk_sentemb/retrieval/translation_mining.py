"""`mine_translations`: pairs of texts in two languages that say the same."""

import logging
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

from .._docstrings import substitute_docstring
from .._inputs import read_text_columns
from .._warn import warn
from ..exceptions import MissingTextWarning
from ..hard_negatives import fit_if_needed
from ..metrics import Candidates, check_margin, score_candidates
from .search_prompts import find_text_embedder, get_encoder, resolve_prompt, with_parameters
from .text_embedding import embed_texts

logger = logging.getLogger(__name__)

_CONSTRAINTS: dict[str, list] = {
    "embedder": [HasMethods("transform")],
    "strategy": [StrOptions({"max", "mutual", "forward", "backward"})],
    "threshold": [Interval(Real, None, None, closed="neither"), None],
    "prompt": [str, None],
}


@substitute_docstring
def mine_translations(
    embedder: Any,
    left: Any,
    right: Any,
    *,
    margin: str = "ratio",
    n_neighbors: int = 4,
    strategy: str = "max",
    threshold: float | None = None,
    prompt: str | None = "auto",
) -> pd.DataFrame:
    """Find pairs of texts that are likely to be translations of each other.

    The embeddings of both languages are compared in both directions, and a pair gets a score by its
    margin over other pairs [1]_. Each distinct text counts once, by its first row.

    Parameters
    ----------
    embedder : SentenceEmbedder or other transformer
        The transformer that embeds the texts of both languages, with a multilingual model. If it is not
        fitted, a clone is fitted to all texts.
    left : array-like of shape (n_left,)
        The texts in one language.
    right : array-like of shape (n_right,)
        The texts in the other language.
    margin : {"ratio", "distance", "absolute"}, default="ratio"
        {values_of_margin}
    {n_neighbors_of_translations}
    strategy : {"max", "mutual", "forward", "backward"}, default="max"
        Which pairs to return, where the best match of a text is the one with the highest score among its
        ``n_neighbors`` nearest texts on the other side.

        - ``"max"``: the best matches of both directions by descending score, without those that have a
          text of an earlier one; as in the bitext mining of sentence-transformers;
        - ``"mutual"``: only pairs in which each text is the best match of the other;
        - ``"forward"``: each text of ``left`` with its best match. Texts of ``right`` may occur in
          several pairs;
        - ``"backward"``: each text of ``right`` with its best match, likewise.
    threshold : float, default=None
        Minimum score. If None, all pairs of the strategy are returned, those that are no translations
        too. Good values depend on the margin, the model and the texts: look at a sorted sample.
    prompt : str, default="auto"
        Prompt prepended to all texts.

        - ``"auto"``: the prompt of the embedder, if it has a parameter ``prompt`` or ``prompt_name``;
          or else the checkpoint's prompt named ``BitextMining`` or ``query``; or else, for models called
          E5, ``"query: "``; or else the checkpoint's default prompt;
        - None: no prompt;
        - other str: the name of a prompt of the checkpoint, or else literal text.

    Returns
    -------
    DataFrame
        One row per pair, sorted by descending score:

        - ``left``, ``right``: the texts;
        - ``left_row``, ``right_row``: their first rows, counted from 0, int64;
        - ``score``: the score of the pair, float64.

    Raises
    ------
    ValueError
        If a side has no text, or a parameter is out of range.

    Warns
    -----
    MissingTextWarning
        If texts are missing or have an embedding of zeros, which is similar to none. They are left out;
        the warning reports their number.

    See Also
    --------
    sk_sentemb.metrics.margin_scores : Scores of pairs that are known.
    sk_sentemb.metrics.translation_accuracy : How often the right translation is found.
    SemanticIndex : Search, also in other languages than that of the query.

    Notes
    -----
    {notes_of_margins}

    All embeddings and ``n_neighbors`` similarities of each text are kept in memory.

    References
    ----------
    {reference_of_margins}

    Examples
    --------
    The default model is for English; ``"intfloat/multilingual-e5-small"`` knows some hundred languages.

    >>> from sk_sentemb import SentenceEmbedder, mine_translations
    >>> left = ["This field is required.", "Enter a valid date.", "Good morning!"]
    >>> right = ["Enter a date that is valid.", "Requests are slow.", "The field is required!"]
    >>> pairs = mine_translations(SentenceEmbedder(), left, right, strategy="mutual", threshold=1.2)
    >>> pairs[["left", "right"]].values.tolist()
    [['Enter a valid date.', 'Enter a date that is valid.'],
     ['This field is required.', 'The field is required!']]
    """
    validate_parameter_constraints(_CONSTRAINTS, locals(), caller_name="mine_translations")
    check_margin(margin, n_neighbors)
    texts = [_read_distinct(name, X) for name, X in (("left", left), ("right", right))]
    fitted = _fit_embedder(embedder, list(dict.fromkeys([*texts[0], *texts[1]])), prompt)
    u, v = _embed_both(fitted, texts)
    forward, backward = score_candidates(u, v, margin=margin, n_neighbors=n_neighbors)
    pairs, scores = _select(forward, backward, strategy)
    if threshold is not None:
        pairs, scores = pairs[scores >= threshold], scores[scores >= threshold]
    frame = pd.DataFrame(
        {
            name: pd.Series([distinct[i] for i in column], dtype=str)
            for name, distinct, column in zip(
                ("left", "right"), map(list, texts), pairs.T, strict=True
            )
        }
    )
    rows = [
        np.array(list(distinct.values()), dtype=np.int64)[column]
        for distinct, column in zip(texts, pairs.T, strict=True)
    ]
    return frame.assign(left_row=rows[0], right_row=rows[1], score=scores)


def _read_distinct(name: str, X: Any) -> dict[str, int]:
    """Return the distinct texts of one side, with the first row of each."""
    columns = read_text_columns(X, name)
    if columns.n_columns != 1:
        raise ValueError(f"{name} has {columns.n_columns} columns. Pass one column of texts.")
    n_missing = int(columns.missing.sum())
    if n_missing == columns.n_rows:
        raise ValueError(f"{name} has no texts, in {columns.n_rows} rows. Pass at least one.")
    if n_missing:
        warn(
            f"{n_missing} of {columns.n_rows} rows of {name} have no text and are left out.",
            MissingTextWarning,
        )
    distinct: dict[str, int] = {}
    for row, (text, missing) in enumerate(
        zip(columns.texts[0], columns.missing[:, 0], strict=True)
    ):
        if not missing:
            distinct.setdefault(text, row)
    return distinct


def _fit_embedder(embedder: Any, texts: list[str], prompt: str | None) -> Any:
    """Return a fitted embedder that prepends the prompt of translations."""
    of_text = find_text_embedder(embedder)
    if of_text is not None:
        chosen = resolve_prompt("translation", prompt, of_text)
        if literal := get_encoder(of_text).resolve_prompt(*chosen):
            logger.info("texts are embedded with the prompt %r.", literal)
        embedder = with_parameters(embedder, **chosen._asdict())
    elif prompt not in ("auto", None):
        raise ValueError(
            f"prompt={prompt!r}, but only a SentenceEmbedder has prompts, and embedder is of type "
            f"{type(embedder).__name__}. Pass 'auto' or None."
        )
    return fit_if_needed("embedder", embedder, texts)


def _embed_both(embedder: Any, texts: list[dict[str, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings of both sides, without texts whose embedding is zero."""
    n_left = len(texts[0])
    embeddings = embed_texts(embedder, [*texts[0], *texts[1]], unit=True)
    is_zero = np.asarray(~embeddings.any(axis=1))
    sides = []
    for i, (name, part) in enumerate((("left", slice(n_left)), ("right", slice(n_left, None)))):
        zero, side = is_zero[part], embeddings[part]
        if zero.all():
            raise ValueError(
                f"the embeddings of all {len(zero)} texts of {name} are zero. Pass an embedder that "
                "knows their language."
            )
        if zero.any():
            warn(
                f"{zero.sum()} of {len(zero)} distinct texts of {name} have an embedding of zeros, and "
                "are left out.",
                MissingTextWarning,
            )
            kept = [item for item, gone in zip(texts[i].items(), zero, strict=True) if not gone]
            texts[i], side = dict(kept), side[~zero]
        sides.append(side)
    return sides[0], sides[1]


def _select(
    forward: Candidates, backward: Candidates, strategy: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of rows and their scores, best first; equal scores by row."""
    best_right, forward_scores = forward.find_best()
    best_left, backward_scores = backward.find_best()
    left, right = np.arange(len(best_right)), np.arange(len(best_left))
    of_left = np.stack([left, best_right], axis=1)
    of_right = np.stack([best_left, right], axis=1)
    if strategy == "backward":
        pairs, scores = of_right, backward_scores
    elif strategy == "max":
        pairs = np.concatenate([of_left, of_right])
        scores = np.concatenate([forward_scores, backward_scores])
    else:
        pairs, scores = of_left, forward_scores
        if strategy == "mutual":
            mutual = best_left[best_right] == left
            pairs, scores = pairs[mutual], scores[mutual]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -scores))
    pairs, scores = pairs[order], scores[order]
    if strategy == "max":
        unused = _find_unused(pairs)
        pairs, scores = pairs[unused], scores[unused]
    return pairs, scores


def _find_unused(pairs: np.ndarray) -> list[int]:
    """Return the positions of the pairs none of whose texts is in an earlier one of them."""
    seen_left: set[int] = set()
    seen_right: set[int] = set()
    positions = []
    for position, (left, right) in enumerate(pairs.tolist()):
        if left not in seen_left and right not in seen_right:
            seen_left.add(left)
            seen_right.add(right)
            positions.append(position)
    return positions
