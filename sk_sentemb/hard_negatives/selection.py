"""Select negatives among the neighbors of each query: scores, limits and sampling."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .corpus import Corpus
from .neighbors import Neighbors

# Computes the float64 score of each pair from the indices of its query and its document.
ScoreFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Selection(NamedTuple):
    """The selected negatives, one entry each."""

    row: np.ndarray
    document: np.ndarray
    rank: np.ndarray
    positive_score: np.ndarray
    negative_score: np.ndarray


@dataclass(frozen=True)
class ScoreLimits:
    """Limits of the scores of negatives; see `mine_hard_negatives`."""

    max_score: float | None
    min_score: float | None
    absolute_margin: float | None
    relative_margin: float | None

    def __bool__(self) -> bool:
        return any(limit is not None for limit in vars(self).values())

    def mask(self, scores: np.ndarray, positive_score: float) -> np.ndarray:
        """Return a mask of the scores within the limits."""
        within = np.ones(len(scores), dtype=bool)
        if self.max_score is not None:
            within &= scores <= self.max_score
        if self.min_score is not None:
            within &= scores >= self.min_score
        if self.absolute_margin is not None:
            within &= scores <= positive_score - self.absolute_margin
        if self.relative_margin is not None:
            within &= scores <= positive_score - self.relative_margin * abs(positive_score)
        return within


def predict_scores(
    scorer: Any, corpus: Corpus, query: np.ndarray, document: np.ndarray
) -> np.ndarray:
    """Predict the scores of pairs with an estimator."""
    pairs = np.empty((len(query), 2), dtype=object)
    pairs[:, 0] = [corpus.queries[i] for i in query]
    pairs[:, 1] = [corpus.documents[i] for i in document]
    if not len(pairs):
        return np.empty(0)
    # A scorer that was fitted to a data frame requires its column names.
    names = getattr(scorer, "feature_names_in_", None)
    X = pairs if names is None else pd.DataFrame(pairs, columns=names)
    scores = np.asarray(scorer.predict(X))
    if scores.shape not in [(len(pairs),), (len(pairs), 1)] or scores.dtype.kind not in "fiub":
        raise ValueError(
            f"scorer predicted an array of shape {scores.shape} and dtype {scores.dtype} for "
            f"{len(pairs)} pairs. Pass one that predicts a number for each."
        )
    if not np.isfinite(scores).all():
        first = int(np.argmin(np.isfinite(scores)))
        raise ValueError(
            f"scorer predicted {scores.ravel()[first]} for {pairs[first].tolist()}. Pass one that "
            "predicts finite numbers."
        )
    return scores.ravel().astype(np.float64)


def select_negatives(
    corpus: Corpus,
    block: slice,
    neighbors: Neighbors,
    *,
    score: ScoreFunction,
    limits: ScoreLimits,
    n_negatives: int,
    rng: np.random.Generator | None,
) -> Selection:
    """Select the negatives of each row whose query is in the block."""
    rows = corpus.find_rows(block)
    positive_scores = score(corpus.query_ids[rows], corpus.positive_ids[rows])
    # A scorer may be slow. Without limits, it only scores the selected negatives.
    scores = score(neighbors.query, neighbors.document) if limits else None
    selected = []
    starts, stops = (np.searchsorted(neighbors.query, corpus.query_ids[rows] + i) for i in (0, 1))
    for start, stop, positive_score in zip(starts, stops, positive_scores, strict=True):
        candidates = np.arange(start, stop)
        if scores is not None:
            candidates = candidates[limits.mask(scores[start:stop], positive_score)]
        if rng is not None and len(candidates) > n_negatives:
            candidates = np.sort(rng.choice(candidates, n_negatives, replace=False))
        selected.append(candidates[:n_negatives])
    row = np.repeat(np.arange(len(rows)), [len(candidates) for candidates in selected])
    indices = np.concatenate(selected)
    query, document, rank = (values[indices] for values in neighbors)
    negative_scores = score(query, document) if scores is None else scores[indices]
    return Selection(rows[row], document, rank, positive_scores[row], negative_scores)
