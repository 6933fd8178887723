"""Train an embedder or a re-ranker on judgments, with mined hard negatives."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from .._training import FineTuner
from ..cross_encoder import CrossEncoderScorer
from ..embedder import SentenceEmbedder
from ..hard_negatives import mine_hard_negatives
from .first_stage import FirstStage, Pool
from .relevance import Relevance


def has_tuner(embedder: Any) -> bool:
    """Return whether an embedder is trained in fit; raise unless it is a SentenceEmbedder."""
    if embedder is None or isinstance(embedder, FrozenEstimator):
        return False
    tuned = any(isinstance(value, FineTuner) for value in embedder.get_params().values())
    if tuned and not isinstance(embedder, SentenceEmbedder):
        raise ValueError(
            f"embedder is of type {type(embedder).__name__} and has a fine_tuner, but only a "
            "SentenceEmbedder is trained. Pass that, or a FrozenEstimator."
        )
    return tuned


def is_trained(reranker: Any) -> bool:
    """Return whether a re-ranker is trained in fit."""
    if reranker is None or isinstance(reranker, FrozenEstimator):
        return False
    return not isinstance(reranker, CrossEncoderScorer) or reranker.fine_tuner is not None


def without_tuner(embedder: Any) -> Any:
    """Return an embedder with the model before training."""
    return clone(embedder).set_params(fine_tuner=None) if has_tuner(embedder) else embedder


def train_embedder(
    embedder: SentenceEmbedder,
    stage: FirstStage,
    queries: Sequence[str],
    relevance: Relevance,
    **mining: Any,
) -> SentenceEmbedder:
    """Fit a clone to triplets of query, relevant document and hard negative."""
    mined = _mine(stage, queries, relevance, **mining)[0]
    return clone(embedder).fit(mined[["query", "positive", "negative"]])


def fit_reranker(
    reranker: Any,
    stage: FirstStage,
    queries: Sequence[str],
    relevance: Relevance | None,
    **mining: Any,
) -> Any:
    """Fit a clone to pairs of query and document with their grades, 0 for hard negatives."""
    if isinstance(reranker, FrozenEstimator):
        return reranker
    if relevance is None or not is_trained(reranker):
        text = next(text for text in stage.texts if text is not None)
        return clone(reranker).fit([(queries[0], text)])
    mined, pairs = _mine(stage, queries, relevance, **mining)
    negatives = mined[["query", "negative"]].set_axis(["query", "document"], axis=1)
    pairs = pd.concat([pairs, negatives.assign(grade=0.0)])
    pairs = pairs.drop_duplicates(["query", "document"], ignore_index=True)
    return clone(reranker).fit(pairs[["query", "document"]], pairs["grade"])


def score_candidates(
    reranker: Any, queries: Sequence[str], texts: np.ndarray, pool: Pool, chosen: np.ndarray
) -> np.ndarray:
    """Return the re-ranker's scores of the chosen candidates, 0 elsewhere."""
    query, place = np.nonzero(chosen)
    scores = np.zeros(chosen.shape, dtype=np.float32)
    if not len(query):
        return scores
    rows = pool.rows[query, place]
    pairs = np.array([[queries[int(i)] for i in query], texts[rows]], dtype=object).T
    names = getattr(reranker, "feature_names_in_", None)
    # Scores between 0 and 1 are dense at the ends; logits are not.
    is_scorer = isinstance(reranker, CrossEncoderScorer)
    predict = reranker.decision_function if is_scorer else reranker.predict
    found = predict(pairs if names is None else pd.DataFrame(pairs, columns=names))
    scores[query, place] = np.asarray(found, dtype=np.float32)
    return scores


def _mine(
    stage: FirstStage,
    queries: Sequence[str],
    relevance: Relevance,
    *,
    n_negatives: int,
    n_candidates: int,
    random_state: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return hard negatives of the judged queries, and the pairs with relevant documents."""
    query, row, grade = relevance.list_pairs()
    texts = stage.texts
    known = np.array([texts[i] is not None for i in row], dtype=bool)
    if not known.any():
        raise ValueError("no query of y has a relevant document, so there is nothing to train on.")
    pairs = pd.DataFrame(
        {
            "query": [queries[i] for i in query[known]],
            "document": texts[row[known]],
            "grade": grade[known],
        }
    )
    mined = mine_hard_negatives(
        stage.index.embedder_,
        pairs["query"],
        pairs["document"],
        [text for text in texts if text is not None],
        query_embedder=stage.index._embedders.query,
        n_negatives=n_negatives,
        range_max=max(n_candidates, n_negatives),
        sampling="random",
        random_state=random_state,
    )
    return mined, pairs
