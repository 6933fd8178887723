from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import ndcg_score

from sk_sentemb.metrics import (
    hit_rate_at_k,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)

EVERY = {
    "ndcg": ndcg_at_k,
    "map": map_at_k,
    "mrr": mrr_at_k,
    "recall": recall_at_k,
    "precision": precision_at_k,
    "hit_rate": hit_rate_at_k,
}
N_RUNS, N_DOCUMENTS = 10_000, 40
# Without trailing zeros they are in the order of strings, too.
IDS = [f"d{i:02}" for i in range(N_DOCUMENTS)]


@pytest.fixture(scope="module")
def runs():
    """10,000 random judgments and scores with ties, the documents in descending order of ids."""
    rng = np.random.default_rng(0)
    judgments, scores = [], []
    for _ in range(N_RUNS):
        n_judged, n_found = rng.integers(1, 15), rng.integers(1, 30)
        judged = rng.choice(N_DOCUMENTS, n_judged, replace=False)
        grades = rng.integers(0, 4, n_judged)
        grades[0] = max(grades[0], 1)
        found = np.sort(rng.choice(N_DOCUMENTS, n_found, replace=False))[::-1]
        judgments.append({IDS[i]: int(g) for i, g in zip(judged, grades, strict=True)})
        scores.append({IDS[i]: float(rng.integers(0, 8)) / 4 for i in found})
    return judgments, scores


@pytest.mark.parametrize("k", [1, 5, 10])
def test_metrics_equal_those_of_trec_eval(runs, k):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    judgments, scores = runs
    names = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P"}
    names["hit_rate"] = "success"
    measures = {f"{name}.{k}" for name in names.values()}
    evaluator = pytrec_eval.RelevanceEvaluator(
        {str(i): judged for i, judged in enumerate(judgments)}, measures
    )
    theirs = evaluator.evaluate({str(i): run for i, run in enumerate(scores)})
    for name, measure in names.items():
        expected = [theirs[str(i)][f"{measure}_{k}"] for i in range(N_RUNS)]
        ours = EVERY[name](judgments, scores, k, average=False)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12, err_msg=name)


def test_reciprocal_ranks_equal_those_of_trec_eval(runs):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    judgments, scores = runs
    evaluator = pytrec_eval.RelevanceEvaluator(
        {str(i): judged for i, judged in enumerate(judgments)}, {"recip_rank"}
    )
    theirs = evaluator.evaluate({str(i): run for i, run in enumerate(scores)})
    expected = [theirs[str(i)]["recip_rank"] for i in range(N_RUNS)]
    ours = mrr_at_k(judgments, scores, N_DOCUMENTS, average=False)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.slow  # numba compiles for a minute
@pytest.mark.filterwarnings("ignore:unsafe cast from uint64 to int64")  # in ranx
@pytest.mark.parametrize("k", [1, 5, 10])
def test_metrics_equal_those_of_ranx(runs, k):
    ranx = pytest.importorskip("ranx")
    judgments, scores = runs
    # ranx does not say in which order equal scores are, so that these are made distinct.
    distinct = [
        {i: score - 1e-6 * rank for rank, (i, score) in enumerate(run.items())} for run in scores
    ]
    qrels = ranx.Qrels({f"q{i:05}": judged for i, judged in enumerate(judgments)})
    run = ranx.Run({f"q{i:05}": found for i, found in enumerate(distinct)})
    for name, metric in EVERY.items():
        ranx.evaluate(qrels, run, f"{name}@{k}", make_comparable=True)
        values = run.scores[f"{name}@{k}"]
        expected = [values[f"q{i:05}"] for i in range(N_RUNS)]
        ours = metric(judgments, scores, k, average=False)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12, err_msg=name)


def test_ndcg_equals_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 4, (200, 30)) + (np.arange(30) == 0)
    scores = rng.normal(size=(200, 30))
    rankings = np.argsort(-scores, axis=1)
    for k in (1, 10, 30, 50):
        ours = ndcg_at_k(sparse.csr_array(grades), rankings, k)
        assert ours == pytest.approx(ndcg_score(grades, scores, k=k), abs=1e-12)


def test_ndcg_of_scikit_learn_is_the_mean_over_the_orders_of_equal_scores():
    grades = {0: 3, 1: 0, 2: 1, 3: 2, 4: 0}
    scores = np.array([0.5, 0.5, 0.5, 0.2, 0.9])
    for k in (1, 2, 3, 5):
        orders = [
            ndcg_at_k([grades], [{i: scores[i] for i in (*order, 3, 4)}], k)
            for order in permutations(range(3))
        ]
        theirs = ndcg_score([list(grades.values())], [scores], k=k)
        assert np.mean(orders) == pytest.approx(theirs, abs=1e-12)
    assert len({round(value, 12) for value in orders}) > 1


def test_exponential_gain():
    value = ndcg_at_k([{"a": 3, "b": 1}], [["b", "a"]], 2, gain="exponential")
    discount = 1 / np.log2(3)
    assert value == pytest.approx((1 + 7 * discount) / (7 + discount))


@pytest.mark.parametrize("metric", EVERY.values())
def test_forms_of_judgments_and_rankings_agree(metric):
    as_lists = [[2, 0], [1]]
    rankings = [[0, 1], [2, 1, 0]]
    expected = metric(as_lists, rankings, 2)
    forms = [
        [np.array([2, 0]), 1],
        [{2: 1, 0: 1, 1: 0}, {1: 1.0}],
        sparse.coo_array(([1, 1, 1], ([0, 0, 1], [2, 0, 1])), shape=(2, 3)),
        [(2, 0), pd.Series([1])],
    ]
    for judgments in forms:
        assert metric(judgments, rankings, 2) == expected
    frame = pd.DataFrame({"query": [1, 0, 1, 0, 1], "rank": [3, 1, 1, 2, 2], "id": [0, 0, 2, 1, 1]})
    scores = [{1: 0.2, 0: 0.3}, {0: -3.0, 1: 0.0, 2: 5}]
    for form in (frame, scores, [np.array(ranking) for ranking in rankings]):
        assert metric(as_lists, form, 2) == expected


def test_equal_scores_keep_their_order():
    assert mrr_at_k([["b"]], [{"a": 1.0, "b": 1.0}]) == 0.5
    assert mrr_at_k([["b"]], [{"b": 1.0, "a": 1.0}]) == 1.0


@pytest.mark.parametrize("metric", EVERY.values())
def test_queries_without_relevant_documents_are_left_out_with_a_warning(metric):
    y_true, y_pred = [["a"], [], {"b": 0, "c": -1}], [["a"], ["a"], ["b", "c"]]
    values = metric(y_true, y_pred, 1, average=False)
    np.testing.assert_array_equal(values, [1, np.nan, np.nan])
    with pytest.warns(UndefinedMetricWarning, match="2 of 3 queries have no relevant documents"):
        assert metric(y_true, y_pred, 1) == 1
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(metric([[]], [["a"]]))


@pytest.mark.parametrize("metric", EVERY.values())
def test_an_empty_ranking_scores_zero(metric):
    assert metric([["a"]], [[]]) == 0
    empty = pd.DataFrame({"query": [], "rank": [], "id": []})
    assert metric([["a"]], empty) == 0


@pytest.mark.parametrize(
    ("y_true", "y_pred", "k", "error", "message"),
    [
        ([["a"]], [["a"]], 0, ValueError, "k=0: pass an int above 0"),
        ([["a"]], [["a"]], 2.0, ValueError, r"k=2\.0: pass an int"),
        ([["a"]], [["a"], ["b"]], 1, ValueError, "rankings of 2 queries, .* judgments of 1"),
        ([["a"]], [["b", "a", "b"]], 1, ValueError, r"y_pred\[0\] has 'b' more than once"),
        ("ab", [["a"]], 1, TypeError, "y_true is of type str"),
        ({"q": ["a"]}, [["a"]], 1, TypeError, "y_true is of type dict"),
        (np.eye(2), [[0], [1]], 1, ValueError, r"scipy\.sparse\.csr_array\(y_true\)"),
        ([{"a": np.nan}], [["a"]], 1, ValueError, r"y_true\[0\] has the grade nan for 'a'"),
        ([{"a": "high"}], [["a"]], 1, ValueError, "has the grade 'high'"),
        ([["a", None]], [["a"]], 1, ValueError, r"y_true\[0\] has None, which is not an id"),
        ([["a"]], ["a"], 1, TypeError, r"y_pred\[0\] is of type str"),
        ([["a"]], [{"a": np.nan}], 1, ValueError, r"y_pred\[0\] has the score NaN for 'a'"),
        ([["a"]], pd.DataFrame({"query": [0], "id": ["a"]}), 1, ValueError, "no column 'rank'"),
        (
            [["a"]],
            pd.DataFrame({"query": [1], "rank": [1], "id": ["a"]}),
            1,
            ValueError,
            "y_pred has query 1, but y_true has judgments of 1 queries",
        ),
    ],
)
def test_errors_name_what_is_wrong(y_true, y_pred, k, error, message):
    with pytest.raises(error, match=message):
        ndcg_at_k(y_true, y_pred, k)


def test_unknown_gain_is_refused():
    with pytest.raises(ValueError, match="gain='log': pass 'linear' or 'exponential'"):
        ndcg_at_k([["a"]], [["a"]], gain="log")
