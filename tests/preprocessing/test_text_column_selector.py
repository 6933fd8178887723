"""text_column_selector in column transformers."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer

from sk_sentemb import SentenceEmbedder, text_column_selector
from tests.helpers.tiny_models import TINY

N = 60

RNG = np.random.default_rng(0)


def repeat(*cells):
    return [cells[i % len(cells)] for i in range(N)]


def each(make):
    return [make(i) for i in range(N)]


SENTENCES = each(lambda i: f"The {['red', 'blue'][i % 2]} dress number {i} fits me well")

FRAME = pd.DataFrame(
    {
        "review": SENTENCES,
        "title": SENTENCES[::-1],
        "size": repeat("S", "M"),
        "stars": RNG.integers(5, size=N),
        "id": range(N),
    }
)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_selector_in_column_transformers(make):
    X = make(FRAME)
    embedder = SentenceEmbedder(TINY)
    expected = embedder.fit_transform(FRAME[["review", "title"]])
    of_tuples = ColumnTransformer([("text", embedder, text_column_selector())])
    made = make_column_transformer((embedder, text_column_selector()), remainder="drop")
    for transformer in (of_tuples, made, clone(of_tuples)):
        np.testing.assert_allclose(transformer.fit_transform(X), expected, atol=1e-6)
        fitted = pickle.loads(pickle.dumps(transformer))
        np.testing.assert_allclose(fitted.transform(X), expected, atol=1e-6)


def test_selector_is_cloned_printed_and_set_like_an_estimator():
    selector = text_column_selector(pattern="^re", min_words=2)
    assert str(selector) == "text_column_selector(min_words=2, pattern='^re')"
    assert selector(FRAME) == ["review"]
    for copied in (clone(selector), copy.deepcopy(selector), pickle.loads(pickle.dumps(selector))):
        assert copied.get_params() == selector.get_params()
        assert copied(FRAME) == ["review"]
    assert selector.set_params(pattern=None)(FRAME) == ["review", "title"]


def test_selector_without_text_columns():
    X = FRAME[["size", "stars"]]
    assert text_column_selector()(X) == []
    made = make_column_transformer(
        (SentenceEmbedder(TINY), text_column_selector()), remainder="drop"
    )
    assert made.fit_transform(X).shape == (N, 0)
