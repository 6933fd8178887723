"""Errors and warnings: their module, their bases, and the line that a warning points at."""

import inspect
import warnings

import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from sk_sentemb import SentenceEmbedder, exceptions
from tests.helpers.tiny_models import TINY

ONE_MISSING = ["a text", None, "another", "a third"]


def test_exceptions_load_neither_torch_nor_scikit_learn(run_python):
    run_python(
        "import sys, sk_sentemb.exceptions\n"
        "loaded = {'torch', 'transformers', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )


@pytest.mark.parametrize("name", exceptions.__all__)
def test_exceptions_have_a_common_base(name):
    category = getattr(exceptions, name)
    base = UserWarning if issubclass(category, Warning) else Exception
    assert issubclass(category, base)
    assert issubclass(
        category, (exceptions.SentenceEmbeddingError, exceptions.SentenceEmbeddingWarning)
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda embedder: embedder.fit_transform(ONE_MISSING),
        lambda embedder: make_pipeline(clone(embedder), "passthrough").fit_transform(ONE_MISSING),
        lambda embedder: cross_val_score(
            make_pipeline(embedder, LogisticRegression()), ONE_MISSING, [0, 1, 0, 1], cv=2
        ),
    ],
    ids=["estimator", "pipeline", "cross_val_score"],
)
def test_warnings_point_at_the_line_of_the_user(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(SentenceEmbedder(TINY))
    missing = [w for w in caught if w.category is exceptions.MissingTextWarning]
    assert missing
    lines, first = inspect.getsourcelines(call)
    for warning in missing:
        assert warning.filename == __file__
        assert first <= warning.lineno < first + len(lines)


def test_warn_accepts_code_without_a_module_name():
    # Python itself drops warnings of such code.
    embedder = SentenceEmbedder(TINY).fit(["text"])
    names = {"transform": embedder.transform, "X": [None], "__name__": None}
    exec("found = transform(X)", names)
    assert not names["found"].any()
