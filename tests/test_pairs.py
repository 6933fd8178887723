import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.metrics.pairwise import (
    paired_cosine_distances,
    paired_euclidean_distances,
    paired_manhattan_distances,
)
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.utils import get_tags

from sk_sentemb import FineTuner, PairFeatures, PairSimilarity, SentenceEmbedder
from sk_sentemb.exceptions import MissingTextWarning
from tests.helpers.tiny_models import TINY

N_ROWS, DIM = 1500, 7

VECTORS = {
    "u": lambda u, v: u,
    "v": lambda u, v: v,
    "abs_diff": lambda u, v: abs(u - v),
    "product": lambda u, v: u * v,
    "sum": lambda u, v: u + v,
}
SCALARS = {
    "cosine": lambda u, v: 1 - paired_cosine_distances(u, v),
    "dot": lambda u, v: (u * v).sum(axis=1),
    "euclidean": paired_euclidean_distances,
    "manhattan": paired_manhattan_distances,
}
COMBINATIONS = {**VECTORS, **SCALARS}

LEFT = [f"the {'ferry' if i % 2 else 'market'} passed the pier {i} times" for i in range(24)]
RIGHT = [f"nobody remembers the {'ferry' if i % 3 else 'storm'}" for i in range(24)]
SAME = np.array([i % 2 == bool(i % 3) for i in range(24)])
SIMILARITIES = np.random.default_rng(0).uniform(0, 5, 24)

PAIRS = {
    "pandas": pd.DataFrame({"question1": LEFT, "question2": RIGHT}),
    "polars": pl.DataFrame({"question1": LEFT, "question2": RIGHT}),
    "objects": np.array([LEFT, RIGHT], dtype=object).T,
    "tuples": list(zip(LEFT, RIGHT, strict=True)),
}

in_all_containers = pytest.mark.parametrize("pairs", PAIRS.values(), ids=PAIRS)
both = pytest.mark.parametrize("estimator", [PairFeatures(), PairSimilarity()], ids=str)


@pytest.fixture(scope="module", autouse=True)
def _small_models(one_thread):
    pass


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(N_ROWS, 2 * DIM))


@pytest.fixture(scope="module")
def vectors():
    return SentenceEmbedder(TINY).fit_transform(PAIRS["pandas"])


def column(name, u, v):
    return COMBINATIONS[name](u, v).reshape(len(u), -1)


def spearman(y, predicted):
    return spearmanr(y, predicted).statistic


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", COMBINATIONS)
def test_combination_is_its_formula(X, name, dtype):
    X = X.astype(dtype)
    features = PairFeatures(combine=name).fit_transform(X)
    expected = column(name, X[:, :DIM], X[:, DIM:])
    assert features.shape == (N_ROWS, DIM if name in VECTORS else 1)
    assert features.dtype == dtype
    np.testing.assert_allclose(
        features, expected, rtol=0, atol=1e-12 if dtype is np.float64 else 1e-5
    )


def test_combinations_stand_in_the_order_asked(X):
    for names in (list(COMBINATIONS), list(COMBINATIONS)[::-1], ["cosine", "sum", "dot", "u"]):
        features = PairFeatures(combine=names).fit_transform(X)
        one_by_one = [PairFeatures(combine=name).fit_transform(X) for name in names]
        np.testing.assert_array_equal(features, np.hstack(one_by_one))


def test_the_default_is_that_of_sentence_bert(X):
    u, v = np.hsplit(X, 2)
    np.testing.assert_array_equal(PairFeatures().fit_transform(X), np.hstack([u, v, np.abs(u - v)]))


@pytest.mark.parametrize(
    ("combine", "message"),
    [
        ("cosinus", r"combine has \['cosinus'\], which are not among \('u', 'v', "),
        (["u", "w", 3], r"combine has \['w', 3\], which are not among"),
        ("", r"combine has \[''\], which are not among"),
        ([], r"combine=\[\] is empty; pass one or more of \('u', 'v', "),
        (("u", "v", "u", "dot", "dot"), r"combine has \['u', 'dot'\] more than once"),
        (None, "The 'combine' parameter of PairFeatures must be"),
    ],
)
def test_names_that_are_no_combinations_are_an_error(X, combine, message):
    with pytest.raises(ValueError, match=message):
        PairFeatures(combine=combine).fit(X)


def test_unknown_metric_is_an_error(X):
    with pytest.raises(ValueError, match="The 'metric' parameter of PairSimilarity must be"):
        PairSimilarity(metric="abs_diff").fit(X)


@both
def test_an_odd_number_of_columns_is_an_error_that_says_what_to_pass(X, estimator):
    message = (
        rf"odd number of columns \(n_features=13\), but {type(estimator).__name__} requires .* Pass "
        "the output of SentenceEmbedder for two columns of text"
    )
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(X[:, 1:])


@both
def test_another_number_of_columns_is_an_error(X, estimator):
    estimator = clone(estimator).fit(X)
    compute = getattr(estimator, "transform", None) or estimator.predict
    with pytest.raises(ValueError, match=r"X has 12 features, but .* is expecting 14 features"):
        compute(X[:, 2:])


@both
def test_not_fitted_says_so(X, estimator):
    compute = getattr(clone(estimator), "transform", None) or clone(estimator).predict
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        compute(X)


@pytest.mark.parametrize("dtype", [np.float16, np.int64, bool])
def test_other_numbers_become_float64(X, dtype):
    X = X.astype(dtype)
    features = PairFeatures(combine="sum").fit_transform(X)
    assert features.dtype == np.float64
    np.testing.assert_array_equal(features, X[:, :DIM].astype(float) + X[:, DIM:])


def test_nan_passes_through(X):
    X = X.copy()
    X[0, 2] = np.nan
    X[1, DIM + 2] = np.nan
    for name in COMBINATIONS:
        features = PairFeatures(combine=name).fit_transform(X)
        if name in VECTORS:
            expected = column(name, X[:, :DIM], X[:, DIM:])
            np.testing.assert_array_equal(np.isnan(features), np.isnan(expected))
        else:
            assert np.flatnonzero(np.isnan(features)).tolist() == [0, 1]
    with pytest.raises(ValueError, match="infinity"):
        PairFeatures().fit(np.full((2, 4), np.inf))


@pytest.mark.filterwarnings("error")
def test_the_cosine_of_a_vector_of_zeros_is_zero_and_that_of_nan_is_nan():
    zeros, ones, nans = np.zeros(3), np.ones(3), np.full(3, np.nan)
    rows = [(zeros, ones), (ones, zeros), (zeros, zeros), (zeros, nans), (nans, ones), (ones, ones)]
    X = np.array(rows).reshape(len(rows), 6)
    expected = [0, 0, 0, np.nan, np.nan, 1]
    np.testing.assert_array_equal(PairSimilarity().fit(X).predict(X), expected)
    np.testing.assert_array_equal(PairFeatures(combine="cosine").fit_transform(X)[:, 0], expected)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1, 1e20, 1e30])
def test_the_cosine_does_not_depend_on_the_length_of_vectors(X, scale):
    X = X.astype(np.float32)
    expected = PairSimilarity().fit(X).predict(X)
    for factors in (scale, np.repeat([scale, 1], DIM)):
        scaled = (X * factors).astype(np.float32)
        found = PairSimilarity().fit(scaled).predict(scaled)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_X_is_not_written_to_and_is_not_in_the_output(X):
    X = X.copy()
    before = X.copy()
    features = PairFeatures(combine=list(COMBINATIONS)).fit_transform(X)
    np.testing.assert_array_equal(X, before)
    assert not np.shares_memory(X, features)
    assert features.flags.c_contiguous


def test_the_order_of_the_two_texts_does_not_matter_to_what_is_symmetric(X):
    names = [name for name in COMBINATIONS if name not in ("u", "v")]
    swapped = np.hstack([X[:, DIM:], X[:, :DIM]])
    fitted = PairFeatures(combine=names).fit(X)
    np.testing.assert_allclose(fitted.transform(X), fitted.transform(swapped), rtol=1e-12)


@both
def test_no_rows_give_no_rows(X, estimator):
    estimator = clone(estimator).fit(X)
    if isinstance(estimator, PairFeatures):
        assert estimator.transform(X[:0]).shape == (0, 3 * DIM)
    else:
        assert estimator.predict(X[:0]).shape == (0,)
    with pytest.raises(ValueError, match="0 sample"):
        clone(estimator).fit(X[:0])


def test_feature_names_say_which():
    X = pd.DataFrame(
        np.ones((2, 4)), columns=["question1_0", "question1_1", "question2_0", "question2_1"]
    )
    fitted = PairFeatures(combine=("abs_diff", "cosine", "u")).fit(X)
    names = ["abs_diff_0", "abs_diff_1", "cosine", "u_0", "u_1"]
    assert list(fitted.get_feature_names_out()) == names
    assert list(fitted.get_feature_names_out(X.columns)) == names
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        fitted.get_feature_names_out(list("abcd"))
    with pytest.raises(ValueError, match="should have length equal"):
        PairFeatures().fit(X.to_numpy()).get_feature_names_out(["a"])
    with pytest.raises(NotFittedError):
        PairFeatures().get_feature_names_out()
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(X[X.columns[::-1]])


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_frames_in_and_out(X, kind, dtype):
    X = X.astype(dtype)
    columns = {f"c{i}": column for i, column in enumerate(X.T)}
    frame = pd.DataFrame(columns) if kind == "pandas" else pl.DataFrame(columns)
    transformer = PairFeatures(combine=("product", "dot")).set_output(transform=kind)
    features = transformer.fit_transform(frame)
    assert type(features) is type(frame)
    assert list(features.columns) == [*(f"product_{i}" for i in range(DIM)), "dot"]
    assert features.to_numpy().dtype == dtype
    as_array = clone(transformer).set_output(transform="default").fit_transform(X)
    np.testing.assert_allclose(features.to_numpy(), as_array, rtol=1e-6)


@both
def test_clone_and_pickle(X, estimator):
    fitted = clone(estimator).fit(X)
    copied = pickle.loads(pickle.dumps(fitted))
    assert copied.get_params() == clone(fitted).get_params() == estimator.get_params()
    compute = "transform" if hasattr(fitted, "transform") else "predict"
    np.testing.assert_array_equal(getattr(copied, compute)(X), getattr(fitted, compute)(X))


@given(
    X=st.integers(1, 4).flatmap(
        lambda dim: arrays(
            np.float64,
            st.tuples(st.integers(1, 5), st.just(2 * dim)),
            elements=st.floats(-1e3, 1e3, width=32),
        )
    ),
    names=st.lists(st.sampled_from(list(COMBINATIONS)), min_size=1, unique=True),
)
def test_any_combination_of_any_vectors(X, names):
    u, v = np.hsplit(X, 2)
    fitted = PairFeatures(combine=names).fit(X)
    features = fitted.transform(X)
    assert features.shape == (len(X), len(fitted.get_feature_names_out()))
    starts = np.cumsum([0] + [u.shape[1] if name in VECTORS else 1 for name in names])
    for name, start, stop in zip(names, starts[:-1], starts[1:], strict=True):
        found = features[:, start:stop]
        if name == "cosine":
            # scikit-learn's takes short vectors for zeros.
            assert (np.abs(found) <= 1).all()
        else:
            np.testing.assert_allclose(found, column(name, u, v), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("metric", SCALARS)
def test_similarity_is_the_metric_and_more_is_more_similar(X, metric):
    sign = -1 if metric in ("euclidean", "manhattan") else 1
    expected = sign * SCALARS[metric](X[:, :DIM], X[:, DIM:])
    for dtype, atol in ((np.float64, 1e-12), (np.float32, 1e-5)):
        found = PairSimilarity(metric=metric).fit(X).predict(X.astype(dtype))
        assert found.shape == (N_ROWS,)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
    near = np.hstack([X[:, :DIM], X[:, :DIM] + 0.01 * X[:, DIM:]])
    predict = PairSimilarity(metric=metric).fit(X).predict
    assert predict(near).mean() > predict(X).mean()


def test_similarity_checks_y_and_learns_nothing_from_it(X):
    y = np.arange(N_ROWS)
    without = PairSimilarity().fit(X)
    assert vars(PairSimilarity().fit(X, y)) == vars(without)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        PairSimilarity().fit(X, y[1:])
    with pytest.raises(ValueError, match="Input y contains NaN"):
        PairSimilarity().fit(X, np.where(y, y, np.nan))
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        PairSimilarity().fit(X, y[:, None])


def test_tags():
    features, similarity = get_tags(PairFeatures()), get_tags(PairSimilarity())
    assert features.transformer_tags.preserves_dtype == ["float64", "float32"]
    assert features.input_tags.allow_nan
    assert similarity.input_tags.allow_nan
    assert similarity.estimator_type == "regressor"
    assert similarity.regressor_tags.poor_score
    assert not similarity.target_tags.required


@in_all_containers
def test_features_after_an_embedder(pairs, vectors):
    pipeline = make_pipeline(SentenceEmbedder(TINY), PairFeatures(combine=("abs_diff", "cosine")))
    features = pipeline.fit_transform(pairs)
    dim = vectors.shape[1] // 2
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, pipeline.transform(pairs))
    expected = PairFeatures(combine=("abs_diff", "cosine")).fit_transform(vectors)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-6)
    names = [*(f"abs_diff_{i}" for i in range(dim)), "cosine"]
    assert list(pipeline.get_feature_names_out()) == names


@in_all_containers
def test_similarity_after_an_embedder(pairs, vectors):
    pipeline = make_pipeline(SentenceEmbedder(TINY), PairSimilarity())
    left, right = np.hsplit(vectors, 2)
    expected = 1 - paired_cosine_distances(left, right)
    np.testing.assert_allclose(pipeline.fit(pairs).predict(pairs), expected, rtol=0, atol=1e-6)


def test_one_column_of_text_with_an_odd_number_of_dimensions_is_an_error():
    pipeline = make_pipeline(SentenceEmbedder(TINY, truncate_dim=5), PairSimilarity())
    with pytest.raises(ValueError, match="SentenceEmbedder for two columns of text"):
        pipeline.fit(LEFT)


def test_missing_texts():
    pairs = [("a ferry", None), (None, None), ("a ferry", "a ferry")]
    zero = make_pipeline(SentenceEmbedder(TINY), PairSimilarity())
    with pytest.warns(MissingTextWarning, match="3 of 6 cells"):
        similarities = zero.fit(pairs).predict(pairs)
    np.testing.assert_allclose(similarities, [0, 0, 1], atol=1e-6)
    nan = make_pipeline(SentenceEmbedder(TINY, missing="nan"), PairSimilarity())
    np.testing.assert_allclose(nan.fit(pairs).predict(pairs), [np.nan, np.nan, 1], atol=1e-6)


def test_columns_of_a_table():
    frame = PAIRS["pandas"].assign(n=range(24))
    of_pairs = make_pipeline(SentenceEmbedder(TINY), PairFeatures(combine=("product", "cosine")))
    table = make_column_transformer(
        (of_pairs, ["question1", "question2"]), remainder="passthrough"
    ).set_output(transform="pandas")
    features = table.fit_transform(frame)
    assert features.columns[0] == "pipeline__product_0"
    assert list(features.columns[-2:]) == ["pipeline__cosine", "remainder__n"]
    expected = of_pairs.fit_transform(PAIRS["pandas"])
    np.testing.assert_array_equal(features.iloc[:, :-1].to_numpy(np.float32), expected)


def test_union_of_features(vectors):
    union = FeatureUnion(
        [("all", PairFeatures(combine=("sum", "dot"))), ("one", PairFeatures(combine="cosine"))]
    )
    features = union.fit_transform(vectors)
    assert features.dtype == np.float32
    assert list(union.get_feature_names_out()[-2:]) == ["all__dot", "one__cosine"]
    halves = ColumnTransformer([("p", PairFeatures(combine=("sum", "dot")), slice(0, None))])
    np.testing.assert_array_equal(halves.fit_transform(vectors), features[:, :-1])


@in_all_containers
def test_cross_validation_without_a_head(pairs):
    if isinstance(pairs, list):
        pairs = np.array(pairs)
    model = make_pipeline(SentenceEmbedder(TINY), PairSimilarity())
    scores = cross_val_score(
        model, pairs, SIMILARITIES, scoring=make_scorer(spearman), cv=3, error_score="raise"
    )
    predicted = model.fit(pairs).predict(pairs)
    expected = [spearman(SIMILARITIES[i : i + 8], predicted[i : i + 8]) for i in (0, 8, 16)]
    np.testing.assert_allclose(scores, expected)


def test_grid_search_over_combinations():
    model = make_pipeline(SentenceEmbedder(TINY), PairFeatures(), LogisticRegression(C=100))
    grid = {"pairfeatures__combine": ["cosine", ("u", "v", "abs_diff"), ["product", "dot"]]}
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(PAIRS["pandas"], SAME)
    n_features = []
    for params in search.cv_results_["params"]:
        fitted = clone(model).set_params(**params).fit(PAIRS["pandas"], SAME)
        n_features.append(fitted[-1].n_features_in_)
        scores = cross_val_score(fitted, PAIRS["pandas"], SAME, cv=3)
        which = search.cv_results_["params"].index(params)
        assert search.cv_results_["mean_test_score"][which] == pytest.approx(scores.mean())
    dim = model[0].fit(LEFT).embedding_dim_
    assert n_features == [1, 3 * dim, dim + 1]


def test_grid_search_over_metrics_and_models():
    model = make_pipeline(SentenceEmbedder(TINY), PairSimilarity())
    grid = {
        "pairsimilarity__metric": list(SCALARS),
        "sentenceembedder__fine_tuner": [None, FineTuner("cosent", random_state=0)],
    }
    search = GridSearchCV(
        model, grid, scoring=make_scorer(spearman), cv=2, error_score="raise", refit=False
    ).fit(PAIRS["pandas"], SIMILARITIES / 5)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
