import numpy as np
import pytest
from scipy.stats import rankdata, zscore
from sklearn.metrics import ndcg_score

from sk_sentemb.retrieval.score_fusion import (
    compute_ideal,
    compute_ndcg,
    learn_weights,
    make_grid,
    standardize,
    sum_reciprocal_ranks,
    sum_weighted,
)

RNG = np.random.default_rng(0)
SCORES = RNG.normal(3, 5, (2, 6, 30))
IS_CANDIDATE = np.arange(30) < np.array([30, 30, 25, 20, 12, 11])[:, None]


def make_judged(n_queries=40, n_documents=50):
    """Return grades, and the scores of a good ranker, of another good one, and of noise."""
    grades = (RNG.random((n_queries, n_documents)) < 0.1) * RNG.integers(
        1, 4, (n_queries, n_documents)
    )
    good = [grades + RNG.normal(0, 1, grades.shape) for _ in range(2)]
    return grades.astype(float), np.array([*good, RNG.normal(0, 1, grades.shape)])


def test_scores_are_standardized_over_the_candidates_of_a_query():
    found = standardize(SCORES, IS_CANDIDATE)
    for ranker, query in np.ndindex(2, 6):
        mask = IS_CANDIDATE[query]
        np.testing.assert_allclose(found[ranker, query, mask], zscore(SCORES[ranker, query, mask]))
        assert not found[ranker, query, ~mask].any()


@pytest.mark.parametrize("value", [0, 0.1, 1e8])
def test_equal_scores_have_no_influence(value):
    assert not standardize(np.full((1, 2, 7), value), np.ones((2, 7), dtype=bool)).any()


def test_units_of_scores_do_not_matter():
    weights = np.array([0.3, 0.7])
    found = sum_weighted(SCORES, IS_CANDIDATE, weights)
    scaled = SCORES * np.array([1e-3, 1e3])[:, None, None] + 17
    np.testing.assert_allclose(sum_weighted(scaled, IS_CANDIDATE, weights), found, atol=1e-9)


def test_reciprocal_ranks_share_ties():
    scores = np.array([[[3.0, 1, 1, 0, 9]], [[0, 0, 5, 0, 9]]])
    mask = np.array([[True, True, True, True, False]])
    found = sum_reciprocal_ranks(scores, mask, np.array([1.0, 2.0]))
    expected = sum(
        weight / (60 + rankdata(-row[0, :4])) for weight, row in zip([1, 2], scores, strict=True)
    )
    np.testing.assert_allclose(found[0, :4], expected)


def test_ndcg_is_that_of_scikit_learn():
    grades, scores = make_judged()
    grades[3] = 0
    ideal = compute_ideal(list(grades))
    judged = ideal > 0
    found = compute_ndcg(scores[0], np.ones(grades.shape, dtype=bool), grades, ideal)
    assert found == pytest.approx(ndcg_score(grades[judged], scores[0][judged], k=10))


def test_ndcg_counts_relevant_documents_that_are_no_candidates():
    ideal = compute_ideal([np.array([1.0, 1.0])])
    found = compute_ndcg(np.ones((1, 1)), np.ones((1, 1), bool), np.ones((1, 1)), ideal)
    assert found == pytest.approx(1 / (1 + 1 / np.log2(3)))


def test_weights_of_good_rankers_are_learned():
    grades, scores = make_judged(200)
    weights = learn_weights(
        scores, np.ones(grades.shape, dtype=bool), grades, compute_ideal(list(grades))
    )
    assert weights.sum() == pytest.approx(1)
    assert weights[2] <= 0.15
    assert abs(weights[0] - weights[1]) <= 0.3


def test_learned_weights_are_better_than_equal_ones_on_other_queries():
    grades, scores = make_judged(400)
    mask, ideal = np.ones(grades.shape, dtype=bool), compute_ideal(list(grades))
    train, test = slice(200), slice(200, None)
    weights = learn_weights(scores[:, train], mask[train], grades[train], ideal[train])
    learned, equal = (
        compute_ndcg(
            sum_weighted(scores[:, test], mask[test], w), mask[test], grades[test], ideal[test]
        )
        for w in (weights, np.ones(3) / 3)
    )
    assert learned > equal


def test_weights_without_any_hit_are_equal():
    scores = RNG.normal(size=(2, 3, 20))
    weights = learn_weights(scores, np.ones((3, 20), dtype=bool), np.zeros((3, 20)), np.ones(3))
    np.testing.assert_allclose(weights, [0.5, 0.5])


@pytest.mark.parametrize("n_rankers", [1, 2, 3])
def test_grid_covers_the_simplex(n_rankers):
    grid = make_grid(n_rankers)
    assert (grid >= 0).all()
    assert (grid.sum(axis=1) == 20).all()
    assert len(np.unique(grid, axis=0)) == len(grid) == {1: 1, 2: 21, 3: 231}[n_rankers]
