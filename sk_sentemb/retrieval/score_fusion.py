"""Fuse the scores of several rankers of the same candidates, and find the weights on judgments."""

from itertools import combinations_with_replacement

import numpy as np

# Reciprocal ranks 1 / (60 + rank), as in Cormack, Clarke and Buettcher, SIGIR 2009.
_RANK_OFFSET = 60

# Weights are searched on a grid of twentieths, and each is judged by its neighborhood of two steps:
# on Cranfield, the best point of the grid alone depends more on which queries were drawn.
_N_STEPS, _NEIGHBORHOOD = 20, 2
_TOP = 10


def standardize(scores: np.ndarray, is_candidate: np.ndarray) -> np.ndarray:
    """Scale the scores of each query's candidates to mean 0 and standard deviation 1.

    The last axis has the candidates. Scores that are all equal become 0, as do those of no candidate.
    """
    scores = np.where(is_candidate, scores, 0).astype(np.float64)
    n_candidates = np.maximum(is_candidate.sum(axis=-1, keepdims=True), 1)
    centered = np.where(is_candidate, scores - scores.sum(-1, keepdims=True) / n_candidates, 0)
    deviation = np.sqrt((centered**2).sum(axis=-1, keepdims=True) / n_candidates)
    # A deviation of rounding errors would blow them up.
    size = np.abs(scores).max(axis=-1, keepdims=True, initial=0)
    is_constant = deviation <= 1e-7 * size
    return np.where(is_constant, 0, centered / np.where(is_constant, 1, deviation))


def sum_weighted(scores: np.ndarray, is_candidate: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sum of standardized scores, (n_rankers, n_queries, n_candidates)."""
    return np.tensordot(weights, standardize(scores, is_candidate), axes=1)


def sum_reciprocal_ranks(
    scores: np.ndarray, is_candidate: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the weighted sum of reciprocal ranks; equal scores share the mean of their ranks."""
    fused = np.zeros(is_candidate.shape)
    for weight, of_ranker in zip(weights, np.where(is_candidate, scores, -np.inf), strict=True):
        for total, row in zip(fused, of_ranker, strict=True):
            _, inverse, counts = np.unique(-row, return_inverse=True, return_counts=True)
            last = np.cumsum(counts)
            total += weight / (_RANK_OFFSET + (last - (counts - 1) / 2)[inverse])
    return fused


def learn_weights(
    scores: np.ndarray, is_candidate: np.ndarray, grades: np.ndarray, ideal: np.ndarray
) -> np.ndarray:
    """Return the weights, 0 and above with the sum 1, that have the best nDCG@10 of these queries.

    `grades` are those of the candidates, and `ideal` the DCG@10 of the best ranking of each query.
    """
    n_rankers = len(scores)
    if n_rankers == 1:
        return np.ones(1)
    grid = make_grid(n_rankers)
    standardized = standardize(scores, is_candidate)
    ndcg = np.array(
        [
            compute_ndcg(np.tensordot(weights, standardized, axes=1), is_candidate, grades, ideal)
            for weights in grid / _N_STEPS
        ]
    )
    distances = np.abs(grid[:, None] - grid).max(axis=-1)
    near = (distances <= _NEIGHBORHOOD).astype(np.float64)
    smooth = near @ ndcg / near.sum(axis=1)
    best = np.flatnonzero(smooth >= smooth.max() - 1e-12)
    # Of equal ones, such as those without any hit, the one that is nearest to equal weights.
    from_equal = ((grid[best] / _N_STEPS - 1 / n_rankers) ** 2).sum(axis=1)
    return grid[best[from_equal.argmin()]] / _N_STEPS


def compute_ndcg(
    scores: np.ndarray, is_candidate: np.ndarray, grades: np.ndarray, ideal: np.ndarray
) -> float:
    """Return the mean nDCG@10 of candidates in the order of their scores, equal ones in theirs."""
    ranked = np.argsort(np.where(is_candidate, -scores, np.inf), axis=1, kind="stable")[:, :_TOP]
    gains = np.take_along_axis(grades, ranked, axis=1) @ _discounts(ranked.shape[1])
    has_relevant = ideal > 0
    return float((gains[has_relevant] / ideal[has_relevant]).mean()) if has_relevant.any() else 0.0


def compute_ideal(grades: list[np.ndarray]) -> np.ndarray:
    """Return the DCG@10 of the best ranking of each query, from the grades of its documents."""
    best = [np.sort(of_query)[::-1][:_TOP] for of_query in grades]
    return np.array([float(of_query @ _discounts(len(of_query))) for of_query in best])


def make_grid(n_rankers: int) -> np.ndarray:
    """Return all ways to distribute the steps over the rankers, (n_points, n_rankers)."""
    bounds = combinations_with_replacement(range(_N_STEPS + 1), n_rankers - 1)
    return np.diff(np.array([(0, *of_point, _N_STEPS) for of_point in bounds]), axis=1)


def _discounts(n: int) -> np.ndarray:
    return 1 / np.log2(np.arange(2, n + 2))
