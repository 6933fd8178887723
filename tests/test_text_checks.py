import numpy as np
import pytest
from sklearn.base import clone

from sk_sentemb import SentenceEmbedder
from tests.checks import text_checks
from tests.checks.text_checks import TEXT_CHECKS
from tests.helpers.tiny_models import TINY

# Add an estimator that reads text here, and every check runs on it.
TEXT_ESTIMATORS = [
    pytest.param(SentenceEmbedder(TINY), id="embedder"),
    pytest.param(
        SentenceEmbedder(
            TINY,
            pooling=["cls", "max"],
            normalize=False,
            truncate_dim=40,
            prompt="Nobody: ",
            max_length=20,
            long_text="chunk",
            store_weights_in_pickle=True,
        ),
        id="embedder-with-everything-set",
    ),
]


@pytest.mark.parametrize("check", TEXT_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("estimator", TEXT_ESTIMATORS)
def test_text_check(estimator, check):
    check(clone(estimator))


class SortsRows(SentenceEmbedder):
    def transform(self, X):
        rows = super().transform(X)
        return rows[np.lexsort(rows.T)]


class DependsOnNeighbours(SentenceEmbedder):
    def transform(self, X):
        rows = super().transform(X)
        return rows - rows.mean(axis=0)


class KeepsItsFirstModel(SentenceEmbedder):
    def _load(self):
        if not hasattr(self, "first_"):
            self.first_ = super()._load()
        return self.first_


class Prints(SentenceEmbedder):
    def transform(self, X):
        print("embedding")
        return super().transform(X)


class DrawsNumbers(SentenceEmbedder):
    def fit_transform(self, X, y=None):
        np.random.rand()  # noqa: NPY002, the global generator is what the check watches
        return super().fit_transform(X, y)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (SortsRows, text_checks.check_rows_keep_their_order),
        (DependsOnNeighbours, text_checks.check_rows_do_not_depend_on_neighbours),
        (KeepsItsFirstModel, text_checks.check_a_new_model_is_used_by_the_next_fit),
        (Prints, text_checks.check_nothing_is_printed),
        (DrawsNumbers, text_checks.check_global_state_stays_as_it_is),
    ],
)
def test_check_finds_a_broken_estimator(broken, check):
    with pytest.raises(AssertionError):
        check(broken(TINY))
