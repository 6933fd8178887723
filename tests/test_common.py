import pytest
from embedding import TINY
from sklearn.base import BaseEstimator, clone
from sklearn.utils.estimator_checks import check_fit1d, parametrize_with_checks

import sk_sentemb
from sk_sentemb import SentenceEmbedder

ESTIMATORS = [SentenceEmbedder(TINY)]

EXPECTED_FAILURES = {
    "check_fit1d": "one-dimensional X is one column of text here, as for TfidfVectorizer"
}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda _: EXPECTED_FAILURES)
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_the_check_expected_to_fail_fails_because_one_dimension_is_accepted(estimator):
    with pytest.raises(AssertionError, match="Did not raise"):
        check_fit1d(type(estimator).__name__, clone(estimator))


def test_every_public_estimator_is_checked():
    public = {getattr(sk_sentemb, name) for name in sk_sentemb.__all__}
    estimators = {
        value
        for value in public
        if isinstance(value, type) and issubclass(value, BaseEstimator) and hasattr(value, "fit")
    }
    assert {type(estimator) for estimator in ESTIMATORS} == estimators
