"""make_multimodal_transformer: columns with odd names and dtypes."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from sk_sentemb import (
    SentenceEmbedder,
    make_multimodal_transformer,
    text_column_selector,
)
from sk_sentemb.preprocessing import column_roles
from tests.helpers.tiny_models import TINY

pytestmark = pytest.mark.filterwarnings("error")

N = 12

TEXTS = [f"The {['red', 'blue'][i % 2]} dress number {i} fits me" for i in range(N)]

EMBEDDER = SentenceEmbedder(TINY)

DIM = 32

FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}

frames = pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)


def entries(transformer):
    return {name: columns for name, _, columns in transformer.transformers}


@pytest.mark.parametrize("dtype", ["category", "pl.Categorical", "dictionary"])
def test_sentences_of_categorical_dtype_are_embedded(dtype):
    texts = [f"{text} very well" for text in TEXTS]
    X = pd.DataFrame({"text": texts, "size": ["S", "M"] * 6, "n": np.arange(12) * 3})
    expected = make_multimodal_transformer(X, embedder=EMBEDDER).fit_transform(X)
    as_category = X.astype({"text": "category", "size": "category"})
    if dtype == "pl.Categorical":
        as_category = pl.from_pandas(as_category)
    if dtype == "dictionary":
        as_category = pa.Table.from_pandas(as_category, preserve_index=False)
    features = make_multimodal_transformer(as_category, embedder=EMBEDDER)
    assert entries(features) == {"text-text": "text", "categorical": ["size"], "numeric": ["n"]}
    np.testing.assert_array_equal(features.fit_transform(as_category), expected)
    # Unless the user says so.
    given = column_roles(as_category, roles={"text": "categorical"})
    assert given["categorical"] == ["text", "size"]


@frames
def test_text_column_with_an_empty_name(make):
    X = make({"b": TEXTS[::-1], "": TEXTS})
    features = make_multimodal_transformer(X, text=["", "b"], embedder=EMBEDDER)
    assert entries(features) == {"text-b": "b", "text-": 1}
    embedded = EMBEDDER.fit_transform(TEXTS)
    expected = np.hstack([embedded[::-1], embedded])
    np.testing.assert_array_equal(features.fit_transform(X), expected)
    np.testing.assert_array_equal(features.transform(X), expected)
    assert features.get_feature_names_out()[DIM] == "text-___0"


def test_column_with_an_empty_name_at_any_position():
    X = pd.DataFrame({"": TEXTS, "b": TEXTS[::-1], "n": range(3, 15)})
    features = make_multimodal_transformer(X, roles={"": "text"}, embedder=TfidfVectorizer()).fit(X)
    expected = features.transform(X)
    words = TfidfVectorizer().fit_transform(TEXTS)
    assert expected.shape == (N, 2 * words.shape[1] + 1)
    turned = X[["n", "b", ""]]
    np.testing.assert_array_equal(features.transform(turned), expected)
    # Of other roles, columns stand in lists.
    X = pd.DataFrame({"": ["S", "M"] * 6, "b": range(3, 15)})
    assert make_multimodal_transformer(X).fit_transform(X).shape == (N, 3)
    with pytest.raises(ValueError, match="A column named '' requires X"):
        make_multimodal_transformer(text=["", "b"])


@pytest.mark.parametrize("names", [[0, 1], [5, "a"], [("a", 1), ("b", 2)]])
def test_column_names_must_be_strings(names):
    X = pd.DataFrame({"a": TEXTS, "b": np.linspace(0, 1, N)})
    X.columns = pd.Index(names, tupleize_cols=False)
    for read in (column_roles, make_multimodal_transformer, text_column_selector()):
        with pytest.raises(TypeError, match=r"not strings, .* X.columns = X.columns.astype\(str\)"):
            read(X)
    X.columns = X.columns.astype(str)
    assert len(make_multimodal_transformer(X).transformers) == 2
