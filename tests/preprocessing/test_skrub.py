"""SentenceEmbedder among skrub's transformers."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceEmbedder, TextCleaner
from sk_sentemb.cache import open_cache
from sk_sentemb.exceptions import MissingTextWarning
from tests.helpers.tiny_models import OTHER, TINY

skrub = pytest.importorskip("skrub")

N = 60
DIM = 32
# More than 40 distinct cells, which TableVectorizer takes for text.
REVIEWS = [f"The {['red', 'blue', 'long'][i % 3]} dress of {i} fits me" for i in range(N)]
FRAME = pd.DataFrame(
    {
        "review": REVIEWS,
        "size": ["S", "M", "L"] * 20,
        "title": [*REVIEWS[:0:-1], None],
        "price": np.arange(N, dtype=float),
    },
    index=range(100, 100 + N),
)
Y = np.arange(N) % 2
TEXTS = ["review", "title"]
EMBEDDER = SentenceEmbedder(TINY, missing="empty")

FRAMES = {"pandas": FRAME, "polars": pl.from_pandas(FRAME)}
each_frame = pytest.mark.parametrize("X", FRAMES.values(), ids=FRAMES)


@pytest.fixture(scope="module", autouse=True)
def _small_models(one_thread):
    pass


def names(*columns):
    return [f"{column}_{i}" for column in columns for i in range(DIM)]


def vectors(X, columns=TEXTS):
    return EMBEDDER.fit_transform(X[columns])


@each_frame
@pytest.mark.parametrize("step", [EMBEDDER, make_pipeline(TextCleaner(), EMBEDDER)], ids=str)
def test_table_vectorizer(X, step):
    vectorizer = skrub.TableVectorizer(high_cardinality=step)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = vectorizer.fit_transform(X)
    assert type(features) is type(X)
    assert set(names(*TEXTS)) <= set(features.columns)
    assert list(vectorizer.get_feature_names_out()) == list(features.columns)
    np.testing.assert_allclose(features[names(*TEXTS)].to_numpy(), vectors(X), atol=1e-6)
    if isinstance(X, pd.DataFrame):
        assert list(features.index) == list(X.index)
    few = vectorizer.transform(X[:5])
    np.testing.assert_allclose(few.to_numpy(), features[:5].to_numpy(), atol=1e-6)


@each_frame
def test_table_vectorizer_takes_an_embedder_for_chosen_columns(X):
    vectorizer = skrub.TableVectorizer(specific_transformers=[(EMBEDDER, ["title"])])
    features = vectorizer.fit_transform(X)
    np.testing.assert_allclose(
        features[names("title")].to_numpy(), vectors(X, ["title"]), atol=1e-6
    )


@each_frame
@pytest.mark.parametrize("cols", [TEXTS, ["title"], "title"], ids=str)
def test_apply_to_cols(X, cols):
    applied = skrub.ApplyToCols(EMBEDDER, cols=cols)
    features = applied.fit_transform(X)
    cols = [cols] if isinstance(cols, str) else cols
    assert set(features.columns) == {*X.columns} - {*cols} | set(names(*cols))
    np.testing.assert_allclose(features[names(*cols)].to_numpy(), vectors(X, cols), atol=1e-6)
    few = applied.transform(X[:5])
    np.testing.assert_allclose(
        few[names(*cols)].to_numpy(), features[names(*cols)].to_numpy()[:5], atol=1e-6
    )


@each_frame
def test_apply_to_cols_keeps_and_renames(X):
    applied = skrub.ApplyToCols(
        EMBEDDER, cols="review", keep_original=True, rename_columns="vector_{}"
    )
    features = applied.fit_transform(X)
    assert set(features.columns) == {*X.columns, *(f"vector_{name}" for name in names("review"))}


@each_frame
def test_apply_to_cols_cleans(X):
    cleaned = skrub.ApplyToCols(TextCleaner(lowercase=True), cols=TEXTS).fit_transform(X)
    assert type(cleaned) is type(X)
    found = [text for text in cleaned["title"] if isinstance(text, str)]
    assert found == [text.lower() for text in REVIEWS[:0:-1]]


def test_missing_texts_are_counted_as_elsewhere():
    vectorizer = skrub.TableVectorizer(high_cardinality=SentenceEmbedder(TINY))
    with pytest.warns(MissingTextWarning, match="1 of 60 cells have no text"):
        features = vectorizer.fit_transform(FRAME)
    assert not features[names("title")].iloc[-1].any()


def test_a_search_uses_every_model_and_embeds_each_text_once():
    model = make_pipeline(
        skrub.TableVectorizer(cardinality_threshold=10, high_cardinality=EMBEDDER),
        LogisticRegression(max_iter=1000),
    )
    cache = open_cache("memory")
    before = cache.statistics().misses
    grid = {
        "tablevectorizer__high_cardinality__model": [TINY, OTHER],
        "logisticregression__C": [1, 9],
    }
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(FRAME, Y)
    # The reviews, of which titles are some, and the empty text of a missing title; with two models.
    assert cache.statistics().misses - before == 2 * (N + 1)
    copied = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(copied.predict(FRAME), search.predict(FRAME))


def test_a_fine_tuned_embedder():
    tuned = SentenceEmbedder(TINY, fine_tuner=FineTuner(random_state=0))
    vectorizer = skrub.TableVectorizer(
        high_cardinality="drop", specific_transformers=[(tuned, ["review"])]
    )
    features = vectorizer.fit_transform(FRAME, Y)
    alone = clone(tuned).fit(FRAME["review"], Y).transform(FRAME["review"])
    np.testing.assert_allclose(features[names("review")].to_numpy(), alone, atol=1e-5)


def test_tabular_pipeline():
    model = skrub.tabular_pipeline(LogisticRegression())
    model.set_params(tablevectorizer__high_cardinality=EMBEDDER)
    assert model.fit(FRAME, Y).predict(FRAME).shape == (N,)
