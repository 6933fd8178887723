import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.exceptions import UndefinedMetricWarning

from sk_sentemb.metrics import compare_retrievers, mrr_at_k, ndcg_at_k, retrieval_report

N_QUERIES, N_DOCUMENTS = 60, 20


def make_rankings(rng, judgments, n_swaps):
    """Return rankings with the relevant documents first, but for some random swaps."""
    rankings = []
    for judged in judgments:
        ranking = [*judged, *(i for i in range(N_DOCUMENTS) if i not in judged)]
        for i, j in rng.integers(0, N_DOCUMENTS, (n_swaps, 2)):
            ranking[i], ranking[j] = ranking[j], ranking[i]
        rankings.append(ranking)
    return rankings


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    judgments = [
        {int(i): 3 - rank for rank, i in enumerate(rng.choice(N_DOCUMENTS, 3, replace=False))}
        for _ in range(N_QUERIES)
    ]
    return judgments, make_rankings(rng, judgments, 10), make_rankings(rng, judgments, 3)


def test_report_has_a_row_per_query_and_a_row_per_metric(data):
    y_true, y_pred, _ = data
    report = retrieval_report(y_true, y_pred, ["ndcg@5", "mrr@20"], random_state=0)
    assert list(report.per_query) == ["query", "n_relevant", "ndcg@5", "mrr@20"]
    assert report.per_query["query"].tolist() == list(range(N_QUERIES))
    assert (report.per_query["n_relevant"] == 3).all()
    expected = {
        "ndcg@5": ndcg_at_k(y_true, y_pred, 5, average=False),
        "mrr@20": mrr_at_k(y_true, y_pred, 20, average=False),
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(report.per_query[name], values)
        assert report.summary.loc[name, "mean"] == pytest.approx(values.mean())
    assert (report.summary["low"] < report.summary["mean"]).all()
    assert (report.summary["high"] > report.summary["mean"]).all()
    assert (report.summary["n_queries"] == N_QUERIES).all()
    assert repr(report) == repr(report.summary)


def test_intervals_are_those_of_scipy(data):
    y_true, y_pred, other = data
    report = retrieval_report(y_true, y_pred, ["ndcg@5"], n_resamples=20_000, random_state=0)
    values = report.per_query["ndcg@5"].to_numpy()
    options = {"method": "percentile", "n_resamples": 20_000, "rng": 1, "vectorized": True}
    expected = stats.bootstrap((values,), np.mean, **options).confidence_interval
    found = report.summary.loc["ndcg@5", ["low", "high"]].astype(float)
    np.testing.assert_allclose(found, expected, atol=0.005)

    comparison = compare_retrievers(y_true, y_pred, other, "ndcg@5", random_state=0)
    differences = ndcg_at_k(y_true, other, 5, average=False) - values
    expected = stats.bootstrap((differences,), np.mean, **options).confidence_interval
    np.testing.assert_allclose((comparison.low, comparison.high), expected, atol=0.005)


def test_comparison_is_paired_and_reproducible(data):
    y_true, worse, better = data
    comparison = compare_retrievers(y_true, worse, better, random_state=0)
    assert comparison.metric == "ndcg@10"
    assert comparison.mean_a == ndcg_at_k(y_true, worse)
    assert comparison.mean_b == pytest.approx(ndcg_at_k(y_true, better))
    assert comparison.difference == pytest.approx(comparison.mean_b - comparison.mean_a)
    assert 0 < comparison.low < comparison.difference < comparison.high
    assert comparison.p_value < 0.01
    assert comparison.n_queries == N_QUERIES
    assert compare_retrievers(y_true, worse, better, random_state=0) == comparison
    assert compare_retrievers(y_true, worse, better, random_state=1) != comparison
    swapped = compare_retrievers(y_true, better, worse, random_state=0)
    assert swapped.difference == pytest.approx(-comparison.difference)
    assert swapped.p_value == comparison.p_value


def test_rankings_that_are_equal_do_not_differ(data):
    y_true, y_pred, _ = data
    comparison = compare_retrievers(y_true, y_pred, y_pred, random_state=0)
    assert (comparison.difference, comparison.low, comparison.high) == (0, 0, 0)
    assert comparison.p_value == 1


def test_p_values_are_small_as_often_as_they_say():
    rng = np.random.default_rng(0)
    n_runs, significant = 200, 0
    for _ in range(n_runs):
        y_true = [[0]] * 50
        a, b = ([list(rng.permutation(5)) for _ in y_true] for _ in range(2))
        comparison = compare_retrievers(
            y_true, a, b, "mrr@5", n_resamples=500, random_state=int(rng.integers(2**31))
        )
        significant += comparison.p_value < 0.1
    # The chance of less or more is below 1e-3.
    assert 0.04 < significant / n_runs < 0.19


def test_the_bootstrap_leaves_the_global_generator_alone(data):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    retrieval_report(*data[:2], ["ndcg@5"])
    compare_retrievers(*data, n_resamples=10)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_a_random_state_may_be_a_generator_object(data):
    first, second = (
        retrieval_report(*data[:2], ["mrr@5"], random_state=np.random.RandomState(3)).summary
        for _ in range(2)
    )
    pd.testing.assert_frame_equal(first, second)


def test_queries_without_relevant_documents_are_left_out():
    y_true, a, b = [["a"], [], ["b"]], [["a"], ["a"], ["a", "b"]], [["b", "a"], ["a"], ["b"]]
    with pytest.warns(UndefinedMetricWarning, match="1 of 3 queries"):
        report = retrieval_report(y_true, a, ["mrr@5"], random_state=0)
    np.testing.assert_array_equal(report.per_query["mrr@5"], [1, np.nan, 0.5])
    assert report.summary.loc["mrr@5", ["mean", "n_queries"]].tolist() == [0.75, 2]
    with pytest.warns(UndefinedMetricWarning, match="1 of 3 queries"):
        comparison = compare_retrievers(y_true, a, b, "mrr@5", random_state=0)
    assert (comparison.mean_a, comparison.mean_b, comparison.n_queries) == (0.75, 0.75, 2)


def test_no_query_with_relevant_documents():
    with pytest.warns(UndefinedMetricWarning, match="2 of 2 queries"):
        report = retrieval_report([[], []], [["a"], ["b"]], ["mrr@5"])
    assert report.summary[["mean", "low", "high"]].isna().all(axis=None)
    with pytest.warns(UndefinedMetricWarning, match="2 of 2 queries"):
        comparison = compare_retrievers([[], []], [["a"], ["b"]], [["a"], ["b"]])
    assert np.isnan(comparison.p_value)
    assert comparison.n_queries == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"metrics": "ndcg@10"}, TypeError, r"the single str 'ndcg@10'. Pass \['ndcg@10'\]"),
        ({"metrics": []}, ValueError, "metrics is empty"),
        ({"metrics": ["ndcg"]}, ValueError, r"metric='ndcg': pass one of \['hit_rate', 'map'"),
        ({"metrics": ["ndcg@0"]}, ValueError, "metric='ndcg@0'"),
        ({"metrics": ["accuracy@1"]}, ValueError, "metric='accuracy@1'"),
        (
            {"confidence_level": 95},
            ValueError,
            "confidence_level=95: pass a number between 0 and 1",
        ),
        ({"n_resamples": 0}, ValueError, "n_resamples=0: pass an int above 0"),
    ],
)
def test_errors_name_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        retrieval_report([["a"]], [["a"]], **arguments)
