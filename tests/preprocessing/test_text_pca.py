"""TextPCA: fewer components where there are few rows or features."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_sentemb import (
    SentenceEmbedder,
    make_multimodal_transformer,
)
from sk_sentemb.exceptions import ReducedComponentsWarning
from sk_sentemb.preprocessing.text_pca import TextPCA
from tests.helpers.tiny_models import TINY

pytestmark = pytest.mark.filterwarnings("error")

N = 12

TEXTS = [f"The {['red', 'blue'][i % 2]} dress number {i} fits me" for i in range(N)]

EMBEDDER = SentenceEmbedder(TINY)

TABLE = pd.DataFrame({"t": TEXTS, "n": np.arange(12) * 3})


def reduced(k, **how):
    return make_multimodal_transformer(
        text="t", numeric="n", text_components=k, embedder=EMBEDDER, random_state=0, **how
    )


def test_text_pca_with_fewer_rows_than_components():
    features = reduced(30)
    message = r"text-t__pca__n_components=30 exceeds the 12 rows: 12 components"
    with pytest.warns(ReducedComponentsWarning, match=message):
        found = features.fit_transform(TABLE)
    expected = PCA(12, random_state=0).fit_transform(EMBEDDER.fit_transform(TEXTS))
    np.testing.assert_allclose(found[:, :12], expected, atol=1e-5)
    assert found.shape == (12, 13)
    np.testing.assert_allclose(features.transform(TABLE), found, atol=1e-5)
    assert features.get_feature_names_out().tolist() == [
        *(f"text-t__pca{i}" for i in range(12)),
        "numeric__n",
    ]
    pca = features.named_transformers_["text-t"]["pca"]
    assert (pca.n_components, pca.n_components_) == (30, 12)
    assert clone(pca).get_params() == pca.get_params()
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(features)).transform(TABLE), features.transform(TABLE)
    )
    # The next fit has what it needs.
    more = pd.DataFrame({"t": [f"{i} {text}" for i in range(4) for text in TEXTS], "n": range(48)})
    assert features.fit_transform(more).shape == (48, 31)


def test_text_pca_with_fewer_features_than_components():
    more = pd.DataFrame({"t": [f"{i} {text}" for i in range(4) for text in TEXTS], "n": range(48)})
    with pytest.warns(
        ReducedComponentsWarning, match="exceeds the 32 features of the embedder: 32 components"
    ):
        assert reduced(40).fit_transform(more).shape == (48, 33)


def test_text_pca_equals_pca_of_scikit_learn():
    for k in (3, 0.9, None):
        features = reduced(k)
        found = features.fit_transform(TABLE)[:, :-1]
        embedded = EMBEDDER.fit_transform(TEXTS)
        if k is not None:
            embedded = PCA(k, random_state=0).fit_transform(embedded)
        np.testing.assert_array_equal(found, embedded)


def test_text_pca_in_folds_and_of_sparse_features():
    words = make_multimodal_transformer(text="t", text_components=30, embedder=TfidfVectorizer())
    n_words = TfidfVectorizer().fit_transform(TEXTS).shape[1]
    with pytest.warns(
        ReducedComponentsWarning, match=f"exceeds the {n_words} features of the embedder"
    ):
        assert words.fit_transform(TABLE).shape == (12, n_words - 1)
    model = make_pipeline(reduced(8), LogisticRegression())
    with pytest.warns(ReducedComponentsWarning, match="exceeds the 6 rows: 6 components are kept"):
        scores = cross_val_score(model, TABLE, np.arange(12) % 2, cv=2, error_score="raise")
    assert scores.shape == (2,)
    with pytest.warns(ReducedComponentsWarning, match="^n_components=5 exceeds the 3 rows"):
        assert TextPCA(5).fit(np.eye(3)).transform(np.eye(3)).shape == (3, 3)


@parametrize_with_checks([TextPCA(2)])
def test_scikit_learn_check(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReducedComponentsWarning)
        check(estimator)
