"""mine_hard_negatives: texts that are near a query and do not belong to it."""

from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

from .._progress import progress_bar
from .._random import draw_seed
from .._warn import warn
from ..exceptions import FewNegativesWarning
from .corpus import NumberedTexts, number_texts
from .neighbors import cosines_of, fitted, nearest, unit_vectors
from .selection import Limits, ScoreFunction, Selection, pick, predicted

_NUMBER_OR_NONE = [Interval(Real, None, None, closed="neither"), None]
_AT_LEAST_ONE = [Interval(Integral, 1, None, closed="left")]

_CONSTRAINTS: dict[str, list] = {
    "embedder": [HasMethods("transform")],
    "query_embedder": [HasMethods("transform"), None],
    "scorer": [HasMethods("predict"), None],
    "n_negatives": _AT_LEAST_ONE,
    "range_min": [Interval(Integral, 0, None, closed="left")],
    "range_max": _AT_LEAST_ONE,
    "max_score": _NUMBER_OR_NONE,
    "min_score": _NUMBER_OR_NONE,
    "absolute_margin": _NUMBER_OR_NONE,
    "relative_margin": _NUMBER_OR_NONE,
    "sampling": [StrOptions({"top", "random"})],
    "block_size": _AT_LEAST_ONE,
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}


def mine_hard_negatives(
    embedder: Any,
    queries: Any,
    positives: Any,
    corpus: Any = None,
    *,
    query_embedder: Any = None,
    scorer: Any = None,
    n_negatives: int = 3,
    range_min: int = 0,
    range_max: int = 100,
    max_score: float | None = None,
    min_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    sampling: str = "top",
    block_size: int = 64,
    random_state: int | np.random.RandomState | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Find texts that are near a query and do not belong to it, to fine-tune on.

    Texts are the same if their characters are: each counts once, none of a query's positives is its
    negative in any row, and neither is the query itself.

    Parameters
    ----------
    embedder : SentenceEmbedder or other transformer of texts to vectors
        Finds the nearest texts, by cosine. If it is not fitted, a clone is, to the corpus and the
        positives.
    queries : array-like of shape (n_rows,)
        Texts. A query with several positives has several rows.
    positives : array-like of shape (n_rows,)
        A text for each of them that belongs to it.
    corpus : array-like of shape (n_texts,), default=None
        Texts to take negatives from; None for the positives.
    query_embedder : transformer, default=None
        Embeds the queries, for models that read them with another prompt; None for ``embedder``.
    scorer : estimator, default=None
        Scores pairs: its ``predict`` takes an array of shape (n_pairs, 2), queries and texts. The
        limits and the result have its scores instead of cosines; ranks are by cosine still.
    n_negatives : int, default=3
        How many to find for each row.
    range_min : int, default=0
        How many of the nearest texts to pass over, which may be positives that nobody has marked.
    range_max : int, default=100
        How many of the nearest texts to look at, with those that are passed over. Positives and the
        query itself do not count.
    max_score : float, default=None
        The largest score of a negative.
    min_score : float, default=None
        The smallest.
    absolute_margin : float, default=None
        How much less than the score of the row's positive it must be, at least.
    relative_margin : float, default=None
        The same, as a share of the size of that score: 0.05 for 95% of a positive one, at most.
    sampling : {"top", "random"}, default="top"
        Whether to take the nearest texts within the limits, or any.
    block_size : int, default=64
        How many queries to compare with the corpus at once. It has no effect on what is found.
    random_state : int, RandomState instance or None, default=None
        Decides on random negatives. Global generators are never touched.
    verbose : int, default=0
        Above 0, a progress bar on standard error.

    Returns
    -------
    DataFrame
        A row for each negative, by row of ``queries`` and then by rank: ``query``, ``positive`` and
        ``negative``, triplets to fit on; ``query_row``, counted from 0; ``rank``, 0 for the nearest;
        ``positive_score`` and ``negative_score``. Where there are fewer than ``n_negatives``, a
        warning counts the rows.

    Raises
    ------
    ValueError
        If the columns of text have missing texts, no rows or different lengths; if the corpus has
        nothing but positives; if a parameter is out of range.

    See Also
    --------
    FineTuner : Learns from the triplets.

    Notes
    -----
    Limits and ranges are named as in ``sentence_transformers.util.mine_hard_negatives``, where
    ``range_min`` counts texts within the limits, and here all of them. Of the ways to mine that [1]_
    compares, a relative margin of 0.05 was the best. In memory are all vectors (twice, while they are
    scaled) and ``block_size`` rows of cosines to the corpus.

    References
    ----------
    .. [1] G. de S. P. Moreira et al., "NV-Retriever: Improving text embedding models with effective
       hard-negative mining", 2024, https://arxiv.org/abs/2407.15831

    Examples
    --------
    >>> from sk_sentemb import SentenceEmbedder, mine_hard_negatives
    >>> queries = ["How do I freeze my card?", "What is the exchange rate?"]
    >>> positives = ["Tap on the card to freeze it.", "We exchange money at the bank's rate."]
    >>> corpus = [*positives, "Your card comes by mail.", "Loans have a fixed rate.", "We are closed."]
    >>> mined = mine_hard_negatives(SentenceEmbedder(), queries, positives, corpus, n_negatives=1)
    >>> mined[["query", "positive", "negative"]].values.tolist()
    [['How do I freeze my card?',
      'Tap on the card to freeze it.',
      'Your card comes by mail.'],
     ['What is the exchange rate?',
      "We exchange money at the bank's rate.",
      'Loans have a fixed rate.']]
    """
    validate_parameter_constraints(_CONSTRAINTS, locals(), caller_name="mine_hard_negatives")
    if range_max - range_min < n_negatives:
        raise ValueError(
            f"range_min={range_min} and range_max={range_max} leave {max(0, range_max - range_min)} "
            f"texts for n_negatives={n_negatives}. Pass a larger range_max."
        )
    if min_score is not None and max_score is not None and min_score > max_score:
        raise ValueError(
            f"min_score={min_score} is more than max_score={max_score}; exchange them."
        )
    texts = number_texts(queries, positives, corpus)
    never = texts.never_negative()
    query_vectors, vectors = _embed(texts, embedder, query_embedder)
    corpus_vectors = vectors[: texts.n_corpus]
    judge: ScoreFunction = partial(cosines_of, query_vectors, vectors)
    if scorer is not None:
        judge = partial(predicted, scorer, texts)
    limits = Limits(max_score, min_score, absolute_margin, relative_margin)
    draw = np.random.default_rng(draw_seed(random_state)) if sampling == "random" else None
    blocks = list(gen_batches(len(texts.queries), block_size))
    picked = []
    with progress_bar(len(blocks), shown=bool(verbose), work="mining", unit="block") as bar:
        for block in blocks:
            near = nearest(query_vectors, corpus_vectors, never, block, (range_min, range_max))
            picked.append(
                pick(
                    texts,
                    block,
                    near,
                    judge=judge,
                    limits=limits,
                    n_negatives=n_negatives,
                    draw=draw,
                )
            )
            bar.update()
    mined = _as_frame(texts, picked)
    n_found = np.bincount(mined["query_row"], minlength=len(texts.query))
    n_few, n_none = ((n_found < n).sum() for n in (n_negatives, 1))
    if n_few:
        warn(
            f"{n_few} of {len(n_found)} rows have fewer than n_negatives={n_negatives} negatives; "
            f"{n_none} of them have none and are left out. Raise range_max, widen the limits, or pass "
            "a larger corpus.",
            FewNegativesWarning,
        )
    return mined


def _embed(texts: NumberedTexts, embedder: Any, query_embedder: Any) -> tuple[Any, Any]:
    """Return the vectors of the queries and of the documents."""
    embedder = fitted("embedder", embedder, texts.documents)
    vectors = unit_vectors("embedder", embedder, texts.documents)
    if query_embedder is None:
        return unit_vectors("embedder", embedder, texts.queries), vectors
    query_embedder = fitted("query_embedder", query_embedder, texts.documents)
    query_vectors = unit_vectors("query_embedder", query_embedder, texts.queries)
    if query_vectors.shape[1] != vectors.shape[1]:
        raise ValueError(
            f"query_embedder gives vectors of {query_vectors.shape[1]} dimensions, and embedder of "
            f"{vectors.shape[1]}. Pass two with the same model."
        )
    return query_vectors, vectors


def _as_frame(texts: NumberedTexts, picked: list[Selection]) -> pd.DataFrame:
    row, document, rank, positive_score, negative_score = map(
        np.concatenate, zip(*picked, strict=True)
    )
    columns = {
        "query": [texts.queries[i] for i in texts.query[row]],
        "positive": [texts.documents[i] for i in texts.positive[row]],
        "negative": [texts.documents[i] for i in document],
    }
    frame = pd.DataFrame(columns, dtype=str).assign(
        query_row=row, rank=rank, positive_score=positive_score, negative_score=negative_score
    )
    return frame.sort_values("query_row", kind="stable", ignore_index=True)
