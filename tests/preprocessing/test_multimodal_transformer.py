"""make_multimodal_transformer: entries, features, searches, missing values."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from sk_sentemb import (
    SentenceEmbedder,
    TextCleaner,
    make_multimodal_transformer,
    text_column_selector,
)
from sk_sentemb.cache import open_cache
from sk_sentemb.exceptions import MissingTextWarning, UnreadableCellWarning
from sk_sentemb.preprocessing import DateEncoder, column_roles
from tests.helpers.tiny_models import OTHER, TINY

N = 40

RNG = np.random.default_rng(0)

FRAME = pd.DataFrame(
    {
        "Title": [f"Love this dress {i}!" for i in range(N)],
        "Review Text": [f"The {['red', 'blue'][i % 2]} one of {i} fits me" for i in range(N)],
        "size": ["S", "M", "L", None] * 10,
        "member": [True, False] * 20,
        "price": [*RNG.normal(30, 9, N - 1), np.nan],
        "stars": RNG.integers(1, 6, N),
        "bought": [None, *(f"2024-{i % 12 + 1:02d}-03" for i in range(N - 1))],
        "order_id": np.arange(N) * 7,
        "tags": [["a"]] * N,
        "empty": [None] * N,
    }
).loc[::-1]

Y = np.arange(N) % 2

EMBEDDER = SentenceEmbedder(TINY)

DIM = 32

FRAMES = {
    "pandas": FRAME,
    "polars": pl.from_pandas(FRAME),
    "pyarrow": pa.Table.from_pandas(FRAME, preserve_index=False),
}


@pytest.fixture(scope="module", autouse=True)
def _small_models(one_thread):
    pass


def entries(transformer):
    return {name: columns for name, _, columns in transformer.transformers}


def steps(transformer):
    return {name: step for name, step, _ in transformer.transformers}


def make(X=FRAME, **how):
    return make_multimodal_transformer(X, embedder=EMBEDDER, **how)


def test_every_column_has_an_entry():
    transformer = make()
    assert type(transformer) is ColumnTransformer
    assert entries(transformer) == {
        "text-Title": "Title",
        "text-Review Text": "Review Text",
        "categorical": ["size", "member"],
        "numeric": ["price", "stars"],
        "date": ["bought"],
        "left-out": ["order_id", "empty", "tags"],
    }
    kinds = {name: type(step) for name, step in steps(transformer).items()}
    assert kinds["text-Title"] is kinds["text-Review Text"] is SentenceEmbedder
    assert kinds["categorical"] is kinds["numeric"] is kinds["date"] is Pipeline
    assert steps(transformer)["left-out"] == "drop"
    # Two embedders, for they may be searched over one by one.
    assert steps(transformer)["text-Title"] is not steps(transformer)["text-Review Text"]


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("encoder", ["onehot", "target"])
@pytest.mark.parametrize("components", [None, 3])
def test_features_are_those_of_the_steps(kind, encoder, components):
    X = FRAMES[kind]
    how = {"categorical_encoder": encoder, "text_components": components, "random_state": 0}
    transformer = make(X, **how)
    features = transformer.fit_transform(X, Y)
    n_of_categories = 4 + 2 if encoder == "onehot" else 2
    n_of_text = components or DIM
    # Two numbers and an indicator for one; seven parts of a date.
    assert features.shape == (N, 2 * n_of_text + n_of_categories + 3 + 7)
    assert np.isfinite(features).all()
    assert features.shape[1] == len(transformer.get_feature_names_out())
    assert transformer.transform(X).shape == features.shape
    by_hand = make(FRAME, **how).fit_transform(FRAME, Y)
    np.testing.assert_allclose(features, by_hand, atol=1e-6)
    if components is None:
        expected = EMBEDDER.fit_transform(FRAME[["Title", "Review Text"]])
        np.testing.assert_allclose(features[:, : 2 * DIM], expected, atol=1e-6)


def test_feature_names_out():
    names = make(text_components=2).fit(FRAME).get_feature_names_out()
    assert list(names) == [
        "text-Title__pca0",
        "text-Title__pca1",
        "text-Review Text__pca0",
        "text-Review Text__pca1",
        "categorical__size_L",
        "categorical__size_M",
        "categorical__size_S",
        "categorical__size_missing",
        "categorical__member_False",
        "categorical__member_True",
        "numeric__price",
        "numeric__stars",
        "numeric__missingindicator_price",
        *(f"date__bought_{part}" for part in DateEncoder().parts),
        "date__bought_missing",
    ]
    assert make().fit(FRAME).get_feature_names_out()[0] == "text-Title__Title_0"


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_set_output(kind):
    transformer = make().set_output(transform=kind)
    rows = transformer.fit_transform(FRAMES[kind])
    assert type(rows) is type(FRAMES[kind])
    assert list(rows.columns) == list(transformer.get_feature_names_out())
    np.testing.assert_allclose(rows.to_numpy(), make().fit_transform(FRAME), atol=1e-6)
    if kind == "pandas":
        assert list(rows.index) == list(FRAME.index)


def test_listed_columns():
    lists = {"text": "Title", "categorical": ["stars", "size"], "numeric": ["price"]}
    assert entries(make(None, **lists)) == {
        "text-Title": "Title",
        "categorical": ["stars", "size"],
        "numeric": ["price"],
    }
    assert entries(make(**lists)) == {
        "text-Title": "Title",
        "categorical": ["size", "stars"],
        "numeric": ["price"],
        "date": ["bought"],
        "left-out": ["order_id", "empty", "Review Text", "member", "tags"],
    }
    by_selector = make(text=text_column_selector(pattern="Review"), roles={"stars": "categorical"})
    assert list(entries(by_selector)) == [
        "text-Review Text",
        "categorical",
        "numeric",
        "date",
        "left-out",
    ]
    assert entries(by_selector)["categorical"] == ["size", "member", "stars"]
    assert make(None, **lists).fit_transform(FRAME).shape == (N, DIM + 5 + 4 + 2)


@pytest.mark.filterwarnings("ignore:Columns of X are dropped")
def test_rules_are_those_of_column_roles():
    for rules in ({}, {"min_words": 9}, {"id_names": None}, {"min_share": 1, "max_unique": 0}):
        roles = column_roles(FRAME, **rules)
        found = entries(make(**rules))
        assert [found[name] for name in found if name.startswith("text-")] == roles["text"]
        for role in ("categorical", "numeric", "date"):
            assert found.get(role, []) == roles[role]


def test_errors_about_columns_and_roles():
    for how in ({}, {"text": []}):
        with pytest.raises(ValueError, match=r"No column has a role\. Pass X or list columns"):
            make(None, **how)
    with pytest.raises(ValueError, match=r"No column has a role\."):
        make(FRAME[["order_id", "empty"]])
    with pytest.raises(ValueError, match="'Title' is listed twice"):
        make(None, text="Title", categorical=["Title"])
    with pytest.raises(ValueError, match="text is a callable and requires X"):
        make(None, text=text_column_selector())
    for how in ({"roles": {"Title": "text"}}, {"min_words": 3}):
        with pytest.raises(ValueError, match="no effect without X"):
            make(None, text="Title", **how)
    with pytest.raises(
        TypeError,
        match=r"make_multimodal_transformer\(\) got an unexpected keyword argument 'texts'",
    ):
        make(texts="Title")
    with pytest.raises(ValueError, match="categorical_encoder='ordinal' is unknown; pass 'onehot'"):
        make(categorical_encoder="ordinal")


def test_embedders_and_encoders_must_be_estimators():
    with pytest.raises(
        TypeError, match=r"embedder='minilm' is a string; .* SentenceEmbedder\('minilm'\)"
    ):
        make_multimodal_transformer(FRAME, embedder="minilm")
    with pytest.raises(TypeError, match=r"image_embedder='clip' is a string; .*ImageEmbedder"):
        make(None, image="photo", image_embedder="clip")
    with pytest.raises(TypeError, match=r"embedder=<class .* is not an estimator; pass an object"):
        make_multimodal_transformer(FRAME, embedder=SentenceEmbedder)
    with pytest.raises(TypeError, match="categorical_encoder=3 is not an estimator"):
        make(categorical_encoder=3)


def test_ids_inferred_from_cells_are_dropped_with_a_warning():
    X = FRAME.assign(person=[f"Ann{i} Lee{i}" for i in range(N)], row=range(N))
    with pytest.warns(
        UserWarning, match=r"look like ids: 'person', 'row'\. describe_columns"
    ) as met:
        transformer = make(X)
    assert met[0].filename == __file__
    assert {"person", "row", "order_id"} < set(entries(transformer)["left-out"])
    with pytest.warns(UserWarning, match="look like ids: 'row'"):
        make(X, roles={"person": "text"})
    lists = {"text": [], "categorical": [], "numeric": "price", "date": [], "image": []}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(X, roles={"person": "id", "row": "id"})
        make(X, id_names="person|row|id$")
        make(X, **lists)
        make()


def test_entry_names_have_no_double_underscores():
    X = FRAME[["Title"]].rename(columns={"Title": "the__title_"})
    X["the_title"] = X["the____title"] = X["the__title_"]
    transformer = make(X)
    assert list(entries(transformer)) == [
        "text-the_title",
        "text-the_title-2",
        "text-the_title-3",
    ]
    transformer.set_params(**{"text-the_title-2__truncate_dim": 4})
    assert transformer.fit_transform(X).shape == (N, 2 * DIM + 4)


def test_grid_search_over_steps():
    model = make_pipeline(make(), LogisticRegression())
    of_text = "columntransformer__text-Review Text__"
    grid = {f"{of_text}model": [TINY, OTHER], f"{of_text}missing": ["zero", "empty"]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(FRAME, Y)
    scores = search.cv_results_["mean_test_score"]
    for params, score in zip(search.cv_results_["params"], scores, strict=True):
        alone = clone(model).set_params(**params)
        assert cross_val_score(alone, FRAME, Y, cv=2).mean() == pytest.approx(score)

    model = make_pipeline(make(text_components=2), LogisticRegression())
    grid = {
        "columntransformer__text-Title__embedder__model": [TINY, OTHER],
        "columntransformer__text-Title__pca__n_components": [1, 2],
        "columntransformer__text-Review Text": ["drop", EMBEDDER],
        "columntransformer__categorical__encode__min_frequency": [1, 15],
        "columntransformer__numeric__impute__strategy": ["mean"],
        "columntransformer__date__encode__parts": [("year",), ("month", "elapsed")],
    }
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(FRAME, Y)
    assert len(search.cv_results_["params"]) == 32


def test_grid_search_embeds_each_text_once():
    model = make_pipeline(make(), LogisticRegression())
    cache = open_cache("memory")
    before = cache.statistics().misses
    grid = {
        "columntransformer__numeric__impute__strategy": ["mean", "median"],
        "logisticregression__C": [0.1, 1],
    }
    GridSearchCV(model, grid, cv=4, error_score="raise").fit(FRAME, Y)
    assert cache.statistics().misses - before == 2 * N


def test_unknown_categories_are_infrequent_or_zero():
    X = FRAME.assign(size=["XS", *["S"] * 20, *["M"] * 19])
    fitted = make(text=[]).fit(X)
    new = X.assign(size="XXL")
    names = fitted.get_feature_names_out()
    of_size = [name.startswith("categorical__size") for name in names]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
        assert not fitted.transform(new)[:, of_size].any()
    fitted = make(text=[]).set_params(categorical__encode__min_frequency=2).fit(X)
    names = list(fitted.get_feature_names_out())
    rows = fitted.transform(new)
    assert (rows[:, names.index("categorical__size_infrequent_sklearn")] == 1).all()


def test_one_hot_encoding_has_at_most_100_columns():
    X = pd.DataFrame({"word": [f"w{i % 150}" for i in range(600)]})
    assert entries(make(X)) == {"categorical": ["word"]}
    assert make(X).fit_transform(X).shape == (600, 100)


def test_categories_are_equal_whatever_their_dtype():
    fitted = make(None, categorical="c").fit(pd.DataFrame({"c": [1, 2, 3, 3]}))
    expected = fitted.transform(pd.DataFrame({"c": [1, 2]}))
    for cells in ([1.0, 2.0], ["1", "2"], pd.array([1, 2], dtype="Int64"), np.array([1, 2], "O")):
        np.testing.assert_array_equal(fitted.transform(pd.DataFrame({"c": cells})), expected)
    fitted.transform(pd.DataFrame({"c": pd.Series([1, None])}))


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.MissingTextWarning")
def test_missing_values_in_columns_of_every_role():
    gone = FRAME.copy()
    for name in ("Title", "Review Text", "size", "member", "price", "stars", "bought"):
        gone[name] = gone[name].astype(object)
        gone.loc[[0, 1], name] = None
    for X, new in ((FRAME, gone), (gone, FRAME), (gone, gone)):
        fitted = make().set_params(**{"text-Title__missing": "empty"}).fit(X)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
            rows = fitted.transform(new)
        assert rows.shape[1] == len(fitted.get_feature_names_out())
        assert np.isfinite(rows).all()
    with pytest.warns(MissingTextWarning, match="2 of 40 cells have no text"):
        make().fit_transform(gone)


def test_column_that_is_empty_in_a_fold():
    X = FRAME.copy()
    for name in ("price", "bought", "size", "Title"):
        X[name] = X[name].astype(object)
        X.loc[X.index[:30], name] = None
    train, test = X[:30], X[30:]
    lists = {"text": "Title", "categorical": "size", "numeric": "price", "date": "bought"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingTextWarning)
        fitted = make(None, **lists).fit(train)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
        rows = fitted.transform(test)
    assert rows.shape == (10, DIM + 1 + 2 + 7)
    assert np.isfinite(rows).all()


def test_missing_and_reordered_columns():
    fitted = make().fit(FRAME)
    for name in ("Title", "size", "price", "bought"):
        with pytest.raises(ValueError, match=f"columns are missing: {{'{name}'}}"):
            fitted.transform(FRAME.drop(columns=name))
    # In another order, with more columns, and without those that are left out.
    other = FRAME[FRAME.columns[::-1]].assign(more=1).drop(columns=["order_id", "empty", "tags"])
    np.testing.assert_array_equal(fitted.transform(other), fitted.transform(FRAME))


def test_no_rows_and_one_class():
    fitted = make().fit(FRAME)
    # scikit-learn's own transformers want one row at least.
    of_text = make(text=["Title", "Review Text"], categorical=[], numeric=[], date=[]).fit(FRAME)
    assert of_text.transform(FRAME[:0]).shape == (0, 2 * DIM)
    assert fitted.transform(FRAME[:1]).shape[0] == 1
    rows = make(categorical_encoder="target").fit_transform(FRAME, np.zeros(N))
    assert np.isfinite(rows).all()


def test_clone_and_pickle():
    fitted = make(text_components=3, random_state=0).fit(FRAME)
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copied.transform(FRAME), fitted.transform(FRAME))
    again = clone(fitted).fit(FRAME)
    np.testing.assert_allclose(again.transform(FRAME), fitted.transform(FRAME), atol=1e-6)
    parallel = make(n_jobs=2)
    assert parallel.n_jobs == 2


def test_random_state_of_target_encoding():
    y = RNG.normal(size=N)
    how = {"text": [], "categorical_encoder": "target", "random_state": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        once, again = (make(**how).fit_transform(FRAME, y) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    other = make(**{**how, "random_state": 4}).fit_transform(FRAME, y)
    assert np.abs(other - once).max() > 1e-3


def test_custom_embedder_and_encoder():
    clean = TextCleaner(missing="empty")
    both = FeatureUnion([("meaning", EMBEDDER), ("words", make_pipeline(clean, TfidfVectorizer()))])
    transformer = make_multimodal_transformer(
        FRAME,
        embedder=both,
        categorical_encoder=OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    )
    X = FRAME.copy()
    X.loc[3, "Title"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingTextWarning)
        rows = transformer.fit_transform(X)
    assert rows.shape == (N, len(transformer.get_feature_names_out()))
    assert "text-Title__words__love" in transformer.get_feature_names_out()
    assert steps(transformer)["text-Title"].transformer_list[0][1] is not EMBEDDER


class MeanOfPixels(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.array([[np.mean(picture)] for picture in X.iloc[:, 0]])


def test_image_columns_have_one_entry_each():
    X = pd.DataFrame({name: [np.full((2, 2, 3), i, np.uint8) for i in range(3)] for name in "ab"})
    transformer = make(X, image_embedder=MeanOfPixels())
    assert entries(transformer) == {"image-a": ["a"], "image-b": ["b"]}
    np.testing.assert_array_equal(transformer.fit_transform(X), [[0, 0], [1, 1], [2, 2]])


def test_default_image_embedder():
    image = pytest.importorskip("sk_sentemb.image")
    transformer = make(None, image=["photo"])
    assert type(steps(transformer)["image-photo"]) is image.ImageEmbedder


def test_placeholders_among_numbers_are_counted():
    X = pd.DataFrame({"n": [f"{i}.5" if i % 10 else "?" for i in range(N)]})
    transformer = make(X)
    assert entries(transformer) == {"numeric": ["n"]}
    with pytest.warns(UnreadableCellWarning, match="4 of 40 cells of 'n' are not numbers"):
        assert transformer.fit_transform(X).shape == (N, 2)
