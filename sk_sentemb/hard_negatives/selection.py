"""Which of the nearest texts are taken: scores, limits, and a choice among what is left."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .corpus import NumberedTexts
from .neighbors import Near

# Numbers of queries and of documents -> the score of each pair, float64.
ScoreFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Selection(NamedTuple):
    """Negatives, one after the other."""

    row: np.ndarray
    document: np.ndarray
    rank: np.ndarray
    positive_score: np.ndarray
    negative_score: np.ndarray


@dataclass(frozen=True)
class Limits:
    """What scores negatives may have; see `mine_hard_negatives`."""

    max_score: float | None
    min_score: float | None
    absolute_margin: float | None
    relative_margin: float | None

    def __bool__(self) -> bool:
        return any(limit is not None for limit in vars(self).values())

    def hold(self, scores: np.ndarray, positive_score: float) -> np.ndarray:
        """Say for each score whether it is within the limits."""
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


def predicted(
    scorer: Any, texts: NumberedTexts, query: np.ndarray, document: np.ndarray
) -> np.ndarray:
    """Return the scores that an estimator predicts for pairs."""
    pairs = np.empty((len(query), 2), dtype=object)
    pairs[:, 0] = [texts.queries[i] for i in query]
    pairs[:, 1] = [texts.documents[i] for i in document]
    if not len(pairs):
        return np.empty(0)
    # A scorer that was fitted on a frame wants its names again.
    names = getattr(scorer, "feature_names_in_", None)
    asked = pairs if names is None else pd.DataFrame(pairs, columns=names)
    scores = np.asarray(scorer.predict(asked))
    if scores.shape not in [(len(pairs),), (len(pairs), 1)] or scores.dtype.kind not in "fiub":
        raise ValueError(
            f"scorer predicts an array of shape {scores.shape} and dtype {scores.dtype} for "
            f"{len(pairs)} pairs. Pass one that predicts a number for each."
        )
    if not np.isfinite(scores).all():
        first = int(np.argmin(np.isfinite(scores)))
        raise ValueError(
            f"scorer predicts {scores.ravel()[first]} for {pairs[first].tolist()}. Pass one that "
            "predicts finite numbers."
        )
    return scores.ravel().astype(np.float64)


def pick(
    texts: NumberedTexts,
    block: slice,
    near: Near,
    *,
    judge: ScoreFunction,
    limits: Limits,
    n_negatives: int,
    draw: np.random.Generator | None,
) -> Selection:
    """Pick the negatives of each row whose query is in a block."""
    rows = texts.rows_of(block)
    positive_scores = judge(texts.query[rows], texts.positive[rows])
    # A scorer may be slow. Without limits, it sees no more than what is picked.
    scores = judge(near.query, near.document) if limits else None
    picked = []
    starts, stops = (np.searchsorted(near.query, texts.query[rows] + i) for i in (0, 1))
    for start, stop, positive_score in zip(starts, stops, positive_scores, strict=True):
        places = np.arange(start, stop)
        if scores is not None:
            places = places[limits.hold(scores[start:stop], positive_score)]
        if draw is not None and len(places) > n_negatives:
            places = np.sort(draw.choice(places, n_negatives, replace=False))
        picked.append(places[:n_negatives])
    which = np.repeat(np.arange(len(rows)), [len(places) for places in picked])
    query, document, rank = (values[np.concatenate(picked)] for values in near)
    negative_scores = judge(query, document) if scores is None else scores[np.concatenate(picked)]
    return Selection(rows[which], document, rank, positive_scores[which], negative_scores)
