import pytest
from embedding import TINY
from sklearn.base import BaseEstimator, clone
from sklearn.utils.estimator_checks import (
    check_estimator,
    check_fit1d,
    parametrize_with_checks,
)

import sk_sentemb
from sk_sentemb import PairFeatures, PairSimilarity, SentenceEmbedder


class _EvenColumns:
    """Leaves out the last of an odd number of columns, so that all checks reach what is checked."""

    def _split(self, X):
        n_columns = X.shape[1]
        return super()._split(X[:, :-1] if n_columns > 1 and n_columns % 2 else X)


class EvenPairFeatures(_EvenColumns, PairFeatures):
    pass


class EvenPairSimilarity(_EvenColumns, PairSimilarity):
    pass


OF_TEXT = [SentenceEmbedder(TINY)]
OF_PAIRS_OF_VECTORS = [PairFeatures(), PairSimilarity()]
ESTIMATORS = [*OF_TEXT, *OF_PAIRS_OF_VECTORS]

SCALARS = ("cosine", "dot", "euclidean", "manhattan")
# No check is expected to fail on these.
VIEWS = [
    EvenPairFeatures(combine=("u", "v", "abs_diff", "product", "sum", *SCALARS)),
    *(EvenPairSimilarity(metric=metric) for metric in SCALARS),
]

# The checks that pass 3 or 5 columns and expect no error.
WITH_AN_ODD_NUMBER_OF_COLUMNS = {
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_estimators_dtypes",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_predict1d",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_pipeline_consistency",
}
WITH_AN_ODD_NUMBER_OF_COLUMNS_TOO = {
    PairFeatures: {
        "check_transformer_data_not_an_array",
        "check_transformer_general",
        "check_transformer_preserve_dtypes",
    },
    PairSimilarity: {"check_supervised_y_2d"},
}


def expected_failures(estimator):
    if isinstance(estimator, SentenceEmbedder):
        return {
            "check_fit1d": "one-dimensional X is one column of text here, as for TfidfVectorizer"
        }
    checks = WITH_AN_ODD_NUMBER_OF_COLUMNS_TOO.get(type(estimator))
    if checks is None:
        return {}
    reason = "the columns are not the vectors of two texts: their number is odd"
    return dict.fromkeys(checks | WITH_AN_ODD_NUMBER_OF_COLUMNS, reason)


@parametrize_with_checks([*ESTIMATORS, *VIEWS], expected_failed_checks=expected_failures)
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", OF_TEXT, ids=lambda estimator: type(estimator).__name__)
def test_the_check_expected_to_fail_fails_because_one_dimension_is_accepted(estimator):
    with pytest.raises(AssertionError, match="Did not raise"):
        check_fit1d(type(estimator).__name__, clone(estimator))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator", OF_PAIRS_OF_VECTORS, ids=lambda estimator: type(estimator).__name__
)
def test_the_checks_expected_to_fail_fail_because_the_number_of_columns_is_odd(estimator):
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    failed = [result for result in results if result["status"] == "failed"]
    assert {result["check_name"] for result in failed} == set(expected_failures(estimator))
    for result in failed:
        assert "odd number of columns" in str(result["exception"])


def test_every_public_estimator_is_checked():
    public = {getattr(sk_sentemb, name) for name in sk_sentemb.__all__}
    estimators = {
        value
        for value in public
        if isinstance(value, type) and issubclass(value, BaseEstimator) and hasattr(value, "fit")
    }
    assert {type(estimator) for estimator in ESTIMATORS} == estimators
