"""A fit that fails leaves an estimator as it was, and a fit owes nothing to the ones before it."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier

import sk_sentemb
import sk_sentemb.preprocessing
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
)
from sk_sentemb.preprocessing import DateEncoder
from tests.helpers.tiny_models import (
    ORDERED_NLI,
    TINY,
    TINY_SCORER,
    assert_same_outputs,
    outputs_of,
)
from tests.test_common import ESTIMATORS

pytestmark = [
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.SentenceEmbeddingWarning"),
    pytest.mark.filterwarnings(
        "ignore:X (has|does not have valid) feature names:UserWarning:sklearn"
    ),
    pytest.mark.usefixtures("one_thread"),
]

N = 12
TUNER = FineTuner(epochs=2, batch_size=4, random_state=0, learning_rate=1e-3, score_range=(0, 99))
NOTHING_FINITE = {"learning_rate": 1e30, "max_grad_norm": 1e30, "epochs": 20, "max_steps": None}

WORDS = [
    "harbour",
    "ferry",
    "pier",
    "storm",
    "gulls",
    "ice",
    "tourists",
    "nets",
    "tide",
    "fog",
    "sea",
    "sand",
]
TEXTS = [f"{word} of {WORDS[i - 3]}" for i, word in enumerate(WORDS)]
OTHERS = [f"no {word} before {WORDS[i - 5]}" for i, word in enumerate(WORDS)]
VECTORS = np.random.default_rng(0).normal(size=(N, 8))
PICTURES = list(np.random.default_rng(0).integers(0, 255, size=(N, 4, 4, 3), dtype=np.uint8))
DAYS = [[f"{i + 1}.3.2024"] for i in range(N)]

CASES = [
    *(clone(e).set_params(fine_tuner=TUNER) if hasattr(e, "head") else e for e in ESTIMATORS),
    DateEncoder(),
    SentenceEmbedder(TINY, fine_tuner=TUNER),
    SentenceEmbedder(TINY, fine_tuner=TUNER, warm_start=True),
    CrossEncoderScorer(TINY_SCORER, fine_tuner=TUNER),
    CrossEncoderScorer(TINY_SCORER, fine_tuner=TUNER, warm_start=True),
    CrossEncoderClassifier(ORDERED_NLI, fine_tuner=TUNER),
    CrossEncoderClassifier(ORDERED_NLI, fine_tuner=TUNER, warm_start=True),
    SentenceClassifier(TINY, fine_tuner=TUNER, warm_start=True),
    SentenceRegressor(TINY, fine_tuner=TUNER, warm_start=True),
]


def name_of(estimator):
    tuned = getattr(estimator, "fine_tuner", None) is not None
    warm = getattr(estimator, "warm_start", False)
    return type(estimator).__name__ + " tuned" * tuned + " warm" * warm


cases = pytest.mark.parametrize("estimator", CASES, ids=name_of)


def test_every_public_estimator_is_among_them():
    for module in (sk_sentemb, sk_sentemb.preprocessing):
        public = [getattr(module, name) for name in module.__all__]
        estimators = {kind for kind in public if isinstance(kind, type) and hasattr(kind, "fit")}
        assert estimators <= {type(estimator) for estimator in CASES}


def frame(*columns):
    return pd.DataFrame(dict(zip("abcdefgh", columns, strict=False)))


def data_of(estimator):
    """Return rows to fit on, and others with other columns; both can be read by a fit."""
    if isinstance(estimator, (PairFeatures, PairSimilarity)):
        return VECTORS, pd.DataFrame(VECTORS[:, :6] ** 2, columns=[*"abcdef"])
    if isinstance(estimator, (CrossEncoderScorer, CrossEncoderClassifier)):
        return list(zip(TEXTS, OTHERS, strict=True)), frame(OTHERS, TEXTS)
    if isinstance(estimator, ImageEmbedder):
        return PICTURES, frame(PICTURES[::-1], PICTURES)
    if isinstance(estimator, DateEncoder):
        return DAYS, frame([f"3/{i + 13}/2024" for i in range(N)], [f"{i}" for i in range(N)])
    if isinstance(estimator, (SentenceClassifier, SentenceRegressor)):
        return TEXTS, frame(OTHERS, [float(i) for i in range(N)])
    is_tuned = isinstance(estimator, SentenceEmbedder) and estimator.fine_tuner is not None
    if is_tuned or isinstance(estimator, (SemanticIndex, SemanticRetriever)):
        return TEXTS, pd.Series(OTHERS, name="a")
    return TEXTS, frame(OTHERS, TEXTS)


def targets_of(estimator):
    """Return targets to fit on, and others; None where there are to be none."""
    if isinstance(estimator, (SentenceRegressor, CrossEncoderScorer)):
        return np.arange(float(N)), np.arange(float(N)) * 9
    if isinstance(estimator, CrossEncoderClassifier) and estimator.fine_tuner is None:
        return np.arange(N) % 3, np.arange(N) % 2
    if is_classifier(estimator) or getattr(estimator, "fine_tuner", None) is not None:
        return np.array(["kitchen", "garage"] * 6), np.array([*"xyz"] * 4)
    return None, None


def fitted_to(estimator, which=0):
    X, y = data_of(estimator)[which], targets_of(estimator)[which]
    return clone(estimator).fit(X, y)


class Unchanged:
    """Compares an estimator with what it was: all attributes, and all that it says of rows."""

    def __init__(self, fitted, X):
        self.fitted, self.X = fitted, X
        self.state, self.outputs = dict(vars(fitted)), outputs_of(fitted, X)

    def check(self):
        after = vars(self.fitted)
        assert list(after) == list(self.state)
        assert [name for name in after if after[name] is not self.state[name]] == []
        assert_same_outputs(outputs_of(self.fitted, self.X), self.outputs)


def failing_fits(estimator):
    """Yield what makes the second fit of an estimator fail: parameters and arguments."""
    X, y = data_of(estimator)[1], targets_of(estimator)[1]
    params = estimator.get_params()
    empty = X[:0]
    yield {}, (empty, None if y is None else y[:0])
    yield {}, ("the ferry", y)
    if isinstance(estimator, (PairFeatures, PairSimilarity)):
        yield {}, (X.iloc[:, :5], y)
    if isinstance(estimator, PairFeatures):
        yield {"combine": ("u", "nothing")}, (X, y)
    if isinstance(estimator, DateEncoder):
        yield {"parts": ("year", "year")}, (X, y)
    if "url" in params:
        yield {"url": "nothing"}, (X, y)
    if "model" in params and not params.get("warm_start"):
        yield {"model": "no-such-folder/no-such-model/at-all"}, (X, y)
    if "truncate_dim" in params:
        yield {"truncate_dim": 9999}, (X, y)
    if y is not None:
        yield {}, (X, y[:-1])
        yield {}, (X, [*y[:-1], None])
    if "fine_tuner" not in params:
        return
    yield {"max_length": 10**6}, (X, y)
    yield {}, (X, y, np.ones(N - 1))
    yield {}, (X, y, np.zeros(N))
    if params["fine_tuner"] is not None:
        if is_classifier(estimator):
            yield {}, (X, ["the same"] * N)
        same = targets_of(estimator)[0] if getattr(estimator, "warm_start", False) else y
        rows = data_of(estimator)[0] if getattr(estimator, "warm_start", False) else X
        yield {f"fine_tuner__{name}": value for name, value in NOTHING_FINITE.items()}, (rows, same)
        last = NOTHING_FINITE | {
            "max_steps": 1,
            "warmup_ratio": 0.0,
        }  # no loss tells of what it did
        yield {f"fine_tuner__{name}": value for name, value in last.items()}, (rows, same)
        yield {"fine_tuner__loss": "no such loss"}, (rows, same)


@cases
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(estimator):
    fitted = fitted_to(estimator)
    X = data_of(estimator)[0]
    unchanged = Unchanged(fitted, X)
    for params, arguments in failing_fits(estimator):
        before = {name: fitted.get_params()[name] for name in params}
        fitted.set_params(**params)
        for method in ("fit", "partial_fit"):
            loads = method == "fit" or "model" not in params  # what goes on has a model
            if hasattr(fitted, method) and loads:
                with pytest.raises((ValueError, TypeError, OSError, FloatingPointError)):
                    getattr(fitted, method)(*arguments)
        fitted.set_params(**before)
        unchanged.check()
    if getattr(estimator, "warm_start", False):
        return
    # Nor does it say a word in the next fit.
    X, y = data_of(estimator)[1], targets_of(estimator)[1]
    assert_as_fresh(fitted.fit(X, y), fitted_to(estimator, 1), X)


def assert_as_fresh(fitted, fresh, X):
    def learned(estimator):
        return {name for name in vars(estimator) if name not in estimator.get_params(deep=False)}

    assert learned(fitted) - {"_is_clone"} == learned(fresh) - {"_is_clone"}
    for name in ("n_features_in_", "feature_names_in_", "classes_", "score_range_"):
        found, expected = getattr(fitted, name, None), getattr(fresh, name, None)
        np.testing.assert_array_equal(found, expected)
    if hasattr(fresh, "get_feature_names_out"):
        names = fitted.get_feature_names_out()
        assert names.tolist() == fresh.get_feature_names_out().tolist()
    assert_same_outputs(outputs_of(fitted, X), outputs_of(fresh, X))


@cases
def test_a_refit_is_a_fresh_fit(estimator):
    if getattr(estimator, "warm_start", False):
        estimator = clone(estimator).set_params(warm_start=False)
    for first, second in ((0, 1), (1, 0)):
        fitted = fitted_to(estimator, first)
        X, y = data_of(estimator)[second], targets_of(estimator)[second]
        assert_as_fresh(fitted.fit(X, y), fitted_to(estimator, second), X)


def test_a_fit_without_a_fine_tuner_forgets_the_training_before_it():
    fitted = fitted_to(SentenceEmbedder(TINY, fine_tuner=TUNER)).set_params(fine_tuner=None)
    assert_as_fresh(fitted.fit(OTHERS), SentenceEmbedder(TINY).fit(OTHERS), TEXTS)


PACKAGE = Path(sk_sentemb.__file__).parent
# What takes locks, which Python does not let go of where an interruption meets their `__exit__`.
WITH_LOCKS = tuple(str(PACKAGE / name) for name in ("cache", "encoder", "parallel", "progress"))


class Interrupt:
    """Raises KeyboardInterrupt, as Ctrl-C does, when the package calls a function for the nth time."""

    def __init__(self, after=None):
        self.after, self.n = after, 0

    def __call__(self, frame, event, argument):
        file = frame.f_code.co_filename
        if file.startswith(str(PACKAGE)) and not file.startswith(WITH_LOCKS):
            self.n += 1
            if self.n == self.after:
                raise KeyboardInterrupt

    def __enter__(self):
        sys.settrace(self)
        return self

    def __exit__(self, *_):
        sys.settrace(None)


# The trace function raises in generators that are closed, too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@cases
def test_an_interruption_anywhere_leaves_the_old_state_or_a_new_one(estimator):
    rows, targets = data_of(estimator), targets_of(estimator)
    X, y = rows[0], targets[0]
    other = 0 if getattr(estimator, "warm_start", False) else 1
    with Interrupt() as counter:
        clone(estimator).fit(X, y).fit(rows[other], targets[other])
    with Interrupt() as first:
        clone(estimator).fit(X, y)
    n_calls = counter.n - first.n
    # Not a clone: an interruption of one would never end its training well.
    fitted = type(estimator)(**estimator.get_params(deep=False)).fit(X, y)
    unchanged = Unchanged(fitted, X)
    for after in np.unique(np.linspace(1, n_calls, 6).astype(int)):
        try:
            with Interrupt(after):
                fitted.fit(rows[other], targets[other])
        except KeyboardInterrupt:
            unchanged.check()
        else:
            assert_whole(fitted, estimator, rows[other])
            unchanged = Unchanged(fitted, rows[other])


def assert_whole(fitted, estimator, X):
    """All that there is to be said of rows is of the new fit."""
    fresh = fitted_to(estimator, 0 if getattr(estimator, "warm_start", False) else 1)
    assert vars(fitted).keys() - {"_is_clone"} == vars(fresh).keys() - {"_is_clone"}
    assert fitted.n_features_in_ == fresh.n_features_in_
    for name, values in outputs_of(fresh, X).items():
        assert getattr(fitted, name)(X).shape == values.shape
        assert values.dtype.kind != "f" or np.isfinite(getattr(fitted, name)(X)).all()
    if is_classifier(fitted):
        assert fitted.classes_.tolist() == fresh.classes_.tolist()
    if hasattr(fresh, "history_"):
        assert 0 < len(fitted.history_) < 10


def test_embedding_that_fails_in_fit_transform_leaves_the_old_state():
    fitted = SentenceEmbedder(TINY, max_length=16, long_text="error").fit(TEXTS)
    unchanged = Unchanged(fitted, TEXTS)
    with pytest.raises(ValueError, match="more than 16 tokens"):
        fitted.fit_transform(pd.DataFrame({"a": TEXTS, "b": ["market " * 99] * N}))
    unchanged.check()


def test_a_thread_that_predicts_sees_a_whole_state_while_another_one_fits():
    seen = []

    def metric(columns, y):
        seen.append(fitted.predict(TEXTS).tolist())
        return 1.0

    params = {"metric": metric, "validation_fraction": 0.25}
    fitted = SentenceClassifier(TINY, fine_tuner=clone(TUNER)).fit(TEXTS, ["a", "b"] * 6)
    before = fitted.predict(TEXTS).tolist()
    fitted.fine_tuner.set_params(**params)
    fitted.fit(TEXTS, ["x", "y", "z"] * 4)
    assert seen == [before] * 2
    assert set(fitted.predict(TEXTS)) <= set("xyz")


def test_a_subclass_may_do_more_in_its_fit():
    class Counts(SentenceEmbedder):
        def fit(self, X, y=None):
            super().fit(X, y)
            self.n_texts_ = len(X)
            return self

    counts = Counts(TINY)
    assert counts.fit(TEXTS) is counts
    assert counts.n_texts_ == N
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert counts.fit_transform(TEXTS).shape == (N, 32)
