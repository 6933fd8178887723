"""`mine_hard_negatives`: from pairs of query and positive to triplets with hard negatives."""

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
from .corpus import Corpus, read_corpus
from .neighbors import (
    compute_similarities,
    compute_unit_embeddings,
    find_neighbors,
    fit_if_needed,
)
from .selection import ScoreFunction, ScoreLimits, Selection, predict_scores, select_negatives

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
    """Find hard negatives: texts near a query that are not its positives.

    Two texts are the same if all their characters are. Each distinct text counts once. A positive of a
    query is not a negative of this query in any row, and neither is the query itself.

    Parameters
    ----------
    embedder : SentenceEmbedder or other transformer
        The transformer that embeds texts; neighbors are found by cosine similarity. If it is not
        fitted, a clone is fitted to the corpus and the positives.
    queries : array-like of shape (n_rows,)
        The queries. A query with several positives has several rows.
    positives : array-like of shape (n_rows,)
        The positive of the query in each row.
    corpus : array-like of shape (n_texts,), default=None
        The texts from which negatives are taken. If None, the positives.
    query_embedder : transformer, default=None
        The transformer that embeds the queries, for models with a different prompt for queries. If
        None, ``embedder``.
    scorer : estimator, default=None
        An estimator that scores pairs: its ``predict`` takes an array of shape (n_pairs, 2), queries
        and texts. The limits and the result then use its scores instead of cosine similarities; ranks
        are still by cosine similarity.
    n_negatives : int, default=3
        Number of negatives per row.
    range_min : int, default=0
        Number of nearest neighbors to skip; they may be unlabeled positives.
    range_max : int, default=100
        Number of nearest neighbors to consider, including the skipped ones. Positives and the query
        itself do not count.
    max_score : float, default=None
        Maximum score of a negative.
    min_score : float, default=None
        Minimum score of a negative.
    absolute_margin : float, default=None
        Minimum difference between the score of the row's positive and that of a negative.
    relative_margin : float, default=None
        The same difference as a fraction of the absolute score of the positive: with 0.05, a negative
        has at most 95% of a score above zero.
    sampling : {"top", "random"}, default="top"
        How to select negatives from the neighbors within the limits.

        - ``"top"``: the nearest ones;
        - ``"random"``: a random sample.
    block_size : int, default=64
        Number of queries that are compared with the corpus at once. It does not change the result.
    random_state : int, RandomState instance or None, default=None
        Controls the random sample. Pass an int for reproducible results. Global generators are not
        used.
    verbose : int, default=0
        If positive, show a progress bar on standard error.

    Returns
    -------
    DataFrame
        One row per negative, sorted by row of ``queries`` and then by rank:

        - ``query``, ``positive``, ``negative``: a triplet to fine-tune on;
        - ``query_row``: the row of ``queries``, counted from 0;
        - ``rank``: the rank of the negative, 0 for the nearest;
        - ``positive_score``, ``negative_score``: the scores, float64.

    Raises
    ------
    ValueError
        If ``queries``, ``positives`` or ``corpus`` have missing texts, no rows or different lengths; if
        the corpus contains nothing but positives; if a parameter is out of range.

    Warns
    -----
    FewNegativesWarning
        If rows have fewer than ``n_negatives`` negatives. It reports the number of rows.

    See Also
    --------
    FineTuner : Train on the triplets.

    Notes
    -----
    Parameters are named as in ``sentence_transformers.util.mine_hard_negatives``. There ``range_min``
    counts the texts within the limits; here it counts all texts. Of the mining methods compared in
    [1]_, a relative margin of 0.05 was the best. All embeddings (twice, during normalization) and
    ``block_size`` rows of similarities to the corpus are kept in memory.

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
            f"texts, but n_negatives={n_negatives}. Pass a larger range_max."
        )
    if min_score is not None and max_score is not None and min_score > max_score:
        raise ValueError(f"min_score={min_score} is greater than max_score={max_score}. Swap them.")
    texts = read_corpus(queries, positives, corpus)
    excluded = texts.find_excluded()
    query_embeddings, embeddings = _compute_embeddings(texts, embedder, query_embedder)
    corpus_embeddings = embeddings[: texts.n_corpus]
    score: ScoreFunction = partial(compute_similarities, query_embeddings, embeddings)
    if scorer is not None:
        score = partial(predict_scores, scorer, texts)
    limits = ScoreLimits(max_score, min_score, absolute_margin, relative_margin)
    rng = np.random.default_rng(draw_seed(random_state)) if sampling == "random" else None
    blocks = list(gen_batches(len(texts.queries), block_size))
    ranks = (range_min, range_max)
    selections = []
    with progress_bar(len(blocks), shown=bool(verbose), work="mining", unit="block") as bar:
        for block in blocks:
            neighbors = find_neighbors(query_embeddings, corpus_embeddings, excluded, block, ranks)
            selections.append(
                select_negatives(
                    texts,
                    block,
                    neighbors,
                    score=score,
                    limits=limits,
                    n_negatives=n_negatives,
                    rng=rng,
                )
            )
            bar.update()
    mined = _make_frame(texts, selections)
    n_found = np.bincount(mined["query_row"], minlength=len(texts.query_ids))
    n_few, n_none = ((n_found < n).sum() for n in (n_negatives, 1))
    if n_few:
        warn(
            f"{n_few} of {len(n_found)} rows have fewer than n_negatives={n_negatives} negatives; "
            f"{n_none} of them have none and are left out. Raise range_max, widen the limits, or pass "
            "a larger corpus.",
            FewNegativesWarning,
        )
    return mined


def _compute_embeddings(texts: Corpus, embedder: Any, query_embedder: Any) -> tuple[Any, Any]:
    """Compute the embeddings of the queries and of the documents."""
    embedder = fit_if_needed("embedder", embedder, texts.documents)
    embeddings = compute_unit_embeddings("embedder", embedder, texts.documents)
    if query_embedder is None:
        return compute_unit_embeddings("embedder", embedder, texts.queries), embeddings
    query_embedder = fit_if_needed("query_embedder", query_embedder, texts.documents)
    query_embeddings = compute_unit_embeddings("query_embedder", query_embedder, texts.queries)
    if query_embeddings.shape[1] != embeddings.shape[1]:
        raise ValueError(
            f"query_embedder returns embeddings of {query_embeddings.shape[1]} dimensions, but embedder "
            f"of {embeddings.shape[1]}. Pass two embedders with the same model."
        )
    return query_embeddings, embeddings


def _make_frame(texts: Corpus, selections: list[Selection]) -> pd.DataFrame:
    row, document, rank, positive_score, negative_score = map(
        np.concatenate, zip(*selections, strict=True)
    )
    columns = {
        "query": [texts.queries[i] for i in texts.query_ids[row]],
        "positive": [texts.documents[i] for i in texts.positive_ids[row]],
        "negative": [texts.documents[i] for i in document],
    }
    frame = pd.DataFrame(columns, dtype=str).assign(
        query_row=row, rank=rank, positive_score=positive_score, negative_score=negative_score
    )
    return frame.sort_values("query_row", kind="stable", ignore_index=True)
