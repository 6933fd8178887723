import re
from functools import partial
from hashlib import blake2b
from unittest import SkipTest

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import (
    assert_allclose_dense_sparse,
    parametrize_with_checks,
)
from sklearn.utils.validation import _check_n_features, validate_data

import sk_sentemb
from sk_sentemb import (
    CrossEncoderClassifier,
    CrossEncoderScorer,
    FineTuner,
    ImageEmbedder,
    PairFeatures,
    PairSimilarity,
    SemanticIndex,
    SemanticRetriever,
    SentenceClassifier,
    SentenceEmbedder,
    SentenceRegressor,
    TextCleaner,
)
from tests.helpers.images import TINY_VIT
from tests.helpers.tiny_models import ORDERED_NLI, TINY, TINY_SCORER


class CleanerOfNumbers(TextCleaner):
    """Returns the numbers that the checks pass, which are text meanwhile, so that they compare."""

    def transform(self, X):
        return super().transform(X).astype(float)


class EmbedderOfNumbers(ImageEmbedder):
    """Makes a picture of every number, because only what reads tables of numbers is checked."""

    def _validate_input(self, X, *, reset):
        if not isinstance(X, str) and not sparse.issparse(X):
            numbers = np.asarray(X)
            if numbers.dtype.kind != "c":
                X = np.empty(numbers.shape, dtype=object)
                for place, number in np.ndenumerate(numbers):
                    X[place] = picture_of(number) if number == number else None
        return super()._validate_input(X, reset=reset)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


class IndexOfNumbers(SemanticIndex):
    """Writes every row of numbers as a text, because only what reads tables of numbers is checked."""

    def fit(self, documents, y=None, *, text=None, id=None):
        return self._add(super().fit, documents, reset=True)

    def partial_fit(self, documents, y=None, *, text=None, id=None):
        if not hasattr(self, "documents_"):
            return self.fit(documents)
        return self._add(super().partial_fit, documents, reset=False)

    def _add(self, method, X, *, reset):
        texts = self._join(X, reset=reset)
        n_columns = self.n_features_in_
        method(texts)
        self.n_features_in_ = n_columns
        return self

    def kneighbors(self, X=None, n_neighbors=1, return_distance=True):
        return super().kneighbors(self._join(X, reset=False), n_neighbors, return_distance)

    def _join(self, X, *, reset):
        X = validate_data(self, X, reset=reset)
        return [" ".join(map(str, row)) for row in X]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        tags.input_tags.allow_nan = False
        return tags


def picture_of(number):
    pixels = blake2b(str(number).encode(), digest_size=48).digest()
    return np.frombuffer(pixels, dtype=np.uint8).reshape(4, 4, 3)


class _EvenColumns:
    """Leaves out the last of an odd number of columns, so that all checks reach what is checked."""

    def _split(self, X):
        n_columns = X.shape[1]
        return super()._split(X[:, :-1] if n_columns > 1 and n_columns % 2 else X)


class EvenPairFeatures(_EvenColumns, PairFeatures):
    pass


class EvenPairSimilarity(_EvenColumns, PairSimilarity):
    pass


class _TwoColumns:
    """Reads the first and the last column, however many there are."""

    def _validate_input(self, X, *, reset, **how):
        if isinstance(X, str) or sparse.issparse(X):
            return super()._validate_input(X, reset=reset, **how)
        X = np.asarray(X)
        if X.ndim != 2 or not X.shape[1]:
            return super()._validate_input(X, reset=reset, **how)
        _check_n_features(self, X, reset=reset)
        n_columns = self.n_features_in_
        columns = super()._validate_input(X[:, [0, -1]], reset=reset, **how)
        self.n_features_in_ = n_columns
        return columns


class ScorerOfTwoColumns(_TwoColumns, CrossEncoderScorer):
    pass


class ClassifierOfTwoColumns(_TwoColumns, CrossEncoderClassifier):
    pass


OF_TEXT = [SentenceEmbedder(TINY)]
OF_PAIRS_OF_VECTORS = [PairFeatures(), PairSimilarity()]
OF_PAIRS = [CrossEncoderScorer(TINY_SCORER), CrossEncoderClassifier(ORDERED_NLI)]
TO_TEXT = [TextCleaner()]
OF_IMAGES = [ImageEmbedder(TINY_VIT)]
TWO_STEPS = FineTuner(max_steps=2, random_state=0)
CORPUS = ["The first document.", "Another one.", "The last of three."]
OF_DOCUMENTS = [
    SemanticIndex(SentenceEmbedder(TINY)),
    SemanticRetriever(CORPUS, embedder=SentenceEmbedder(TINY), n_neighbors=1),
]
OF_ROWS = [kind(TINY, fine_tuner=TWO_STEPS) for kind in (SentenceClassifier, SentenceRegressor)]
ESTIMATORS = [
    *OF_TEXT,
    *OF_PAIRS_OF_VECTORS,
    *OF_PAIRS,
    *TO_TEXT,
    *OF_IMAGES,
    *OF_DOCUMENTS,
    *OF_ROWS,
]

SCALARS = ("cosine", "dot", "euclidean", "manhattan")
ONE_STEP = FineTuner(max_steps=1, warmup_ratio=0, learning_rate=1e-3, random_state=0)
# What the number of columns keeps from being checked above. On those of vectors no check is expected to
# fail.
VIEWS = [
    CleanerOfNumbers(),
    EmbedderOfNumbers(TINY_VIT),
    IndexOfNumbers(SentenceEmbedder(TINY)),
    EvenPairFeatures(combine=("u", "v", "abs_diff", "product", "sum", *SCALARS)),
    *(EvenPairSimilarity(metric=metric) for metric in SCALARS),
    *(
        view(model, fine_tuner=fine_tuner, missing="empty")
        for view, model in (
            (ScorerOfTwoColumns, TINY_SCORER),
            (ClassifierOfTwoColumns, ORDERED_NLI),
        )
        for fine_tuner in (None, ONE_STEP)
    ),
]

# Why checks are expected to fail, and the errors by which they must do so.
ODD_COLUMNS = "the columns are not the embeddings of two texts: their number is odd"
NOT_PAIRS = "X does not have two columns, and a pair has two"
ONE_COLUMN = "one-dimensional X is one column of text here, as for TfidfVectorizer"
TEXT_OUTPUT = "the output is text, and the check subtracts it"
ERRORS = {
    ODD_COLUMNS: "odd number of columns",
    NOT_PAIRS: "a pair has two",
    ONE_COLUMN: "AssertionError: Did not raise",
    TEXT_OUTPUT: "unsupported operand|ufunc .* not supported",
}

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

# The checks that pass other than two columns and expect no error, or another one.
WITH_OTHER_THAN_TWO_COLUMNS = {
    "check_all_zero_sample_weights_error",
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_nan_inf",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weights_list",
    "check_supervised_y_2d",
}
WITH_OTHER_THAN_TWO_COLUMNS_TOO = {
    CrossEncoderScorer: {
        "check_regressor_data_not_an_array",
        "check_regressors_int",
        "check_regressors_no_decision_function",
        "check_regressors_train",
        "check_transformer_data_not_an_array",
        "check_transformer_general",
    },
    CrossEncoderClassifier: {
        "check_classifiers_one_label",
        "check_classifiers_one_label_sample_weights",
        "check_classifiers_regression_target",
    },
}
OF_A_SCORER = {
    "check_regressors_no_decision_function": "logits are a decision function, for a threshold"
}
# The checks that expect the classes of y, and no others. They pass with a fine_tuner.
OF_A_CLASSIFIER_AS_IT_IS = dict.fromkeys(
    (
        "check_classifiers_classes",
        "check_classifiers_one_label",
        "check_classifiers_train",
        "check_decision_proba_consistency",
        "check_dtype_object",
    ),
    "a model as it is has the three classes of its checkpoint",
)
# The checks that compare what comes out as numbers. They pass with numbers.
OF_TEXT_THAT_COMES_OUT = dict.fromkeys(
    (
        "check_estimators_pickle",
        "check_fit_idempotent",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_pipeline_consistency",
        "check_transformer_data_not_an_array",
        "check_transformer_general",
    ),
    TEXT_OUTPUT,
)
OF_TUNED = {
    "check_sample_weight_equivalence_on_dense_data": "repeated rows are in other batches",
}


ONE_DIMENSION = {"check_fit1d": ONE_COLUMN}
# Weights of rows are compared in test_supervised.py, enough steps made in test_supervised_tuning.py.
OF_TWO_STEPS = {
    "check_sample_weight_equivalence_on_dense_data": "repeated rows are in other batches",
}
# A row of other batches is equal to 1e-6, and the check asks for 1e-7 of numbers around 1.
OF_A_REGRESSOR = {"check_methods_subset_invariance": "rows of other batches are equal to 1e-6"}
OF_PICTURES = {"check_fit1d": "one-dimensional X is one column of images here"}


def expected_failures(estimator):
    if isinstance(estimator, ImageEmbedder):
        # Of itself, next to nothing is checked: what it reads are no tables of numbers.
        return OF_PICTURES if isinstance(estimator, EmbedderOfNumbers) else {}
    if isinstance(estimator, SentenceEmbedder):
        return ONE_DIMENSION
    if isinstance(estimator, SentenceRegressor):
        return ONE_DIMENSION | OF_TWO_STEPS | OF_A_REGRESSOR
    if isinstance(estimator, SentenceClassifier):
        return ONE_DIMENSION | OF_TWO_STEPS
    if isinstance(estimator, TextCleaner):
        numbers = isinstance(estimator, CleanerOfNumbers)
        return ONE_DIMENSION if numbers else ONE_DIMENSION | OF_TEXT_THAT_COMES_OUT
    if isinstance(estimator, (CrossEncoderScorer, CrossEncoderClassifier)):
        return expected_failures_of_pairs(estimator)
    checks = WITH_AN_ODD_NUMBER_OF_COLUMNS_TOO.get(type(estimator))
    if checks is None:
        return {}
    return dict.fromkeys(checks | WITH_AN_ODD_NUMBER_OF_COLUMNS, ODD_COLUMNS)


def expected_failures_of_pairs(estimator):
    is_scorer, frozen = isinstance(estimator, CrossEncoderScorer), estimator.fine_tuner is None
    expected = {} if frozen else dict(OF_TUNED)
    if is_scorer:
        expected |= OF_A_SCORER
    elif frozen:
        expected |= OF_A_CLASSIFIER_AS_IT_IS
    if not isinstance(estimator, _TwoColumns):
        checks = WITH_OTHER_THAN_TWO_COLUMNS_TOO[type(estimator)] | WITH_OTHER_THAN_TWO_COLUMNS
        expected = dict.fromkeys(checks, NOT_PAIRS) | expected
    return expected


def causes_of(error):
    while error is not None:
        yield f"{type(error).__name__}: {error}"
        error = error.__cause__ or error.__context__


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.SentenceEmbeddingWarning")
@parametrize_with_checks([*ESTIMATORS, *VIEWS])
def test_scikit_learn_check_passes_or_fails_as_expected(estimator, check, monkeypatch):
    name = check.func.__name__
    if getattr(estimator, "fine_tuner", None) is not None and name == "check_estimators_pickle":
        # Unpickled weights lie elsewhere in memory, so that sums may be taken in another order.
        promised = partial(assert_allclose_dense_sparse, atol=1e-6)
        monkeypatch.setattr(estimator_checks, "assert_allclose_dense_sparse", promised)
    reason = expected_failures(estimator).get(name)
    if reason is None:
        check(estimator)
        return
    with pytest.raises(Exception) as caught:  # noqa: PT011, the reason has the message
        check(estimator)
    assert not isinstance(caught.value, SkipTest)
    assert any(re.search(ERRORS.get(reason, ""), cause) for cause in causes_of(caught.value))
    pytest.xfail(reason)


def test_every_public_estimator_is_checked():
    public = {getattr(sk_sentemb, name) for name in sk_sentemb.__all__}
    estimators = {
        value
        for value in public
        if isinstance(value, type) and issubclass(value, BaseEstimator) and hasattr(value, "fit")
    }
    assert {type(estimator) for estimator in ESTIMATORS} == estimators
