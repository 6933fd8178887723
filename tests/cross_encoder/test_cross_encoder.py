"""CrossEncoderScorer and CrossEncoderClassifier as they read, run and predict; training has its own."""

import itertools
import pickle
import shutil
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sentence_transformers import CrossEncoder
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    KFold,
    RepeatedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils._param_validation import InvalidParameterError

from sk_sentemb import (
    CrossEncoderClassifier,
    CrossEncoderScorer,
    FineTuner,
    load_encoder,
    release_models,
)
from sk_sentemb.cache import DiskCache, MemoryCache
from sk_sentemb.exceptions import ModelNotFoundError, NoHeadError, TruncationWarning
from tests.checks.data import PAIRS
from tests.helpers.checkpoints import make_cross_encoder
from tests.helpers.processes import ends_within
from tests.helpers.tiny_models import (
    NLI,
    OTHER_SCORER,
    TINY,
    TINY_NLI,
    TINY_SCORER,
    assert_other_rows,
    assert_same_rows,
)

pytestmark = pytest.mark.usefixtures("one_thread")

TWO_STEPS = FineTuner(max_steps=2, batch_size=4, learning_rate=1e-3, random_state=0)
BOTH = [
    pytest.param(CrossEncoderScorer(TINY_SCORER), id="scorer"),
    pytest.param(CrossEncoderClassifier(TINY_NLI), id="classifier"),
]
both = pytest.mark.parametrize("estimator", BOTH)

# Each query beside each document: 5 * 4 pairs.
QUERIES = [f"the ferry of day {i}" for i in range(5)]
DOCUMENTS = ["the pier", "Harbour", "Nobody remembers the storm?", "nets and nets and nets"]
GRID = [(query, document) for query in QUERIES for document in DOCUMENTS]
GRADES = np.arange(len(GRID)) % 4

# Weights that no other test has.
_seeds = itertools.count(9_000)


@pytest.fixture(autouse=True)
def a_time_limit():
    with ends_within(120):
        yield


@pytest.fixture
def model(tmp_path):
    return make_cross_encoder(tmp_path / "model", seed=next(_seeds))


@pytest.fixture(scope="module")
def scorer():
    return CrossEncoderScorer(TINY_SCORER).fit(PAIRS)


@pytest.fixture(scope="module")
def classifier():
    return CrossEncoderClassifier(TINY_NLI).fit(PAIRS)


# Models


@both
def test_model_is_a_path_a_name_or_an_encoder(estimator):
    expected = clone(estimator).fit(PAIRS).decision_function(PAIRS)
    path = estimator.model
    for model in (path, str(path), load_encoder(path, pairs=True)):
        fitted = clone(estimator).set_params(model=model).fit(PAIRS)
        np.testing.assert_array_equal(fitted.decision_function(PAIRS), expected)


@both
@pytest.mark.parametrize("model", [TINY, load_encoder(TINY)], ids=["folder", "encoder"])
def test_a_model_without_a_head_says_what_to_pass(estimator, model):
    with pytest.raises(NoHeadError, match=r"Pass a cross-encoder, such as .*, or a FineTuner"):
        clone(estimator).set_params(model=model).fit(PAIRS)


@both
def test_a_model_that_is_not_there_is_an_error_in_fit_not_before(estimator):
    absent = clone(estimator).set_params(model=str(TINY / "nowhere"))
    with pytest.raises(ModelNotFoundError, match="looks like a path"):
        absent.fit(PAIRS)


def test_a_scorer_has_one_logit():
    with pytest.raises(ValueError, match=r"outputs 3 logits .* Use CrossEncoderClassifier"):
        CrossEncoderScorer(TINY_NLI).fit(PAIRS)


@both
def test_a_pickle_by_name_needs_the_folder_and_one_with_weights_does_not(estimator, tmp_path):
    labels = {"labels": NLI} if is_classifier(estimator) else {}
    model = make_cross_encoder(tmp_path / "model", seed=next(_seeds), **labels)
    named = clone(estimator).set_params(model=model).fit(PAIRS)
    carried = clone(named).set_params(store_weights_in_pickle=True).fit(PAIRS)
    tuned = clone(named).set_params(fine_tuner=TWO_STEPS)
    tuned.fit(PAIRS, [NLI[i % 3] for i in range(8)] if labels else np.linspace(0, 1, 8))
    dumped = [pickle.dumps(fitted) for fitted in (named, carried, tuned)]
    expected = [fitted.predict(PAIRS) for fitted in (named, carried, tuned)]
    shutil.rmtree(model)
    del named, carried, tuned
    release_models()
    with pytest.raises(ModelNotFoundError):
        pickle.loads(dumped[0])
    for again, rows in zip(map(pickle.loads, dumped[1:]), expected[1:], strict=True):
        found = again.set_params(cache=None).predict(PAIRS)
        if labels:
            assert (again.classes_.tolist(), found.tolist()) == (sorted(NLI), rows.tolist())
        else:
            assert_same_rows(found, rows)


@both
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", 7),
        ("symmetric", "yes"),
        ("prompt", 1),
        ("max_length", 0),
        ("long_text", "chunk"),
        ("missing", "zero"),
        ("dtype", "float64"),
        ("batch_tokens", 0),
        ("fine_tuner", "adam"),
        ("warm_start", "no"),
        ("store_weights_in_pickle", "embed"),
        ("verbose", -1),
    ],
)
def test_an_invalid_value_is_an_error_that_names_the_parameter(estimator, name, value):
    message = f"The '{name}' parameter of {type(estimator).__name__}"
    with pytest.raises(InvalidParameterError, match=message):
        clone(estimator).set_params(**{name: value}).fit(PAIRS)


def test_a_classifier_gives_every_row_a_class():
    with pytest.raises(InvalidParameterError, match="The 'missing' parameter"):
        CrossEncoderClassifier(TINY_NLI, missing="nan").fit(PAIRS)


@both
def test_what_has_no_effect_on_a_model_as_it_is_is_said(estimator):
    with pytest.warns(UserWarning, match="sample_weight has no effect without a fine_tuner"):
        clone(estimator).fit(PAIRS, sample_weight=np.ones(8))
    if not is_classifier(estimator):
        with pytest.warns(UserWarning, match="query_id has no effect without a fine_tuner"):
            clone(estimator).fit(PAIRS, query_id=range(8))


@both
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "auto"])
def test_dtype_is_that_of_the_transformer_and_never_of_the_output(estimator, dtype):
    fitted = clone(estimator).set_params(dtype=dtype).fit(PAIRS)
    assert dtype in ("auto", fitted.encoder_.dtype)
    found = fitted.decision_function(PAIRS)
    assert found.dtype == np.float32
    exact = clone(estimator).fit(PAIRS).decision_function(PAIRS)
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


# Long pairs

LONG = [("?" * 40, "!"), ("!", "?" * 40), ("?", "!"), ("?" * 40, "!")]


@pytest.mark.parametrize("symmetric", [False, True])
@both
def test_pairs_that_are_cut_are_counted_by_rows(estimator, symmetric):
    fitted = clone(estimator).set_params(max_length=12, symmetric=symmetric).fit(PAIRS)
    with pytest.warns(
        TruncationWarning, match=r"^3 of 4 pairs exceed the limit of 12 tokens"
    ) as caught:
        rows = fitted.decision_function(LONG)
    assert len(caught) == 1
    # Eight tokens of the longer text are left, and the shorter one is whole.
    fits = [("?" * 8, "!"), ("!", "?" * 8), ("?", "!"), ("?" * 8, "!")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same_rows(rows, fitted.decision_function(fits))


def test_cut_pairs_are_counted_without_those_that_are_missing():
    scorer = CrossEncoderScorer(TINY_SCORER, max_length=12, missing="nan").fit(PAIRS)
    with pytest.warns(TruncationWarning, match="^1 of 2 pairs exceed"):
        scores = scorer.predict([("?" * 40, None), ("?" * 40, "!"), ("?", "!")])
    np.testing.assert_array_equal(np.isnan(scores), [True, False, False])


@both
def test_long_text_error_names_the_row(estimator):
    fitted = clone(estimator).set_params(max_length=12, long_text="error").fit(PAIRS)
    message = (
        r"^the pair in row 1 of X has more than 12 tokens, and long_text='error'\. Shorten it, or pass "
        r"long_text='truncate'\.$"
    )
    for symmetric in (False, True):
        with pytest.raises(ValueError, match=message):
            fitted.set_params(symmetric=symmetric).predict([LONG[2], LONG[1], LONG[0]])


@both
def test_a_prompt_stands_before_the_first_text(estimator):
    fitted = clone(estimator).set_params(prompt="ferry: ").fit(PAIRS)
    plain = clone(estimator).fit(PAIRS)
    prompted = [(f"ferry: {first}", second) for first, second in PAIRS]
    assert_same_rows(fitted.decision_function(PAIRS), plain.decision_function(prompted))


# What a scorer predicts


def test_scores_are_those_of_sentence_transformers(scorer):
    reference = CrossEncoder(str(TINY_SCORER), device="cpu", local_files_only=True)
    for pairs in (PAIRS, GRID):
        np.testing.assert_allclose(scorer.predict(pairs), reference.predict(pairs), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("activation", ["Sigmoid", "Identity", "Tanh", "Softmax", "Softsign"])
@pytest.mark.parametrize("style", ["old", "new"])
def test_the_activation_is_the_checkpoint_s(activation, style, tmp_path):
    folder = make_cross_encoder(tmp_path, activation=activation, style=style)
    scorer = CrossEncoderScorer(folder).fit(PAIRS)
    reference = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    np.testing.assert_allclose(scorer.predict(PAIRS), reference.predict(PAIRS), atol=1e-6)
    logits = reference.predict(PAIRS, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(scorer.decision_function(PAIRS), logits, atol=1e-5)


def test_scores_are_the_sigmoid_of_logits_between_the_ends_of_a_range(scorer):
    logits, scores = scorer.decision_function(PAIRS), scorer.predict(PAIRS)
    assert (logits.dtype, scores.dtype) == (np.float32, np.float32)
    assert (logits.shape, scores.shape) == ((8,), (8,))
    assert scorer.score_range_ == (0.0, 1.0)
    np.testing.assert_allclose(scores, expit(logits), atol=1e-7)
    np.testing.assert_array_equal(scorer.transform(PAIRS), scores[:, None])
    np.testing.assert_array_equal(clone(scorer).fit_transform(PAIRS), scores[:, None])
    assert scorer.score(PAIRS, range(8)) == pytest.approx(r2_score(range(8), scores))


def test_symmetric_averages_the_logits_of_both_orders(scorer):
    symmetric = CrossEncoderScorer(TINY_SCORER, symmetric=True).fit(PAIRS)
    swapped = [pair[::-1] for pair in PAIRS]
    both_orders = [scorer.decision_function(X) for X in (PAIRS, swapped)]
    assert_same_rows(symmetric.decision_function(PAIRS), np.mean(both_orders, axis=0))
    np.testing.assert_array_equal(symmetric.predict(PAIRS), symmetric.predict(swapped))
    assert_other_rows(*(rows[[0, 2, 4], None] for rows in both_orders))


def test_symmetric_reads_each_order_once():
    cache = MemoryCache()
    symmetric = CrossEncoderScorer(TINY_SCORER, symmetric=True, cache=cache).fit(PAIRS)
    symmetric.predict(PAIRS)
    orders = {*PAIRS, *(pair[::-1] for pair in PAIRS)}
    assert cache.statistics().misses == len(orders)
    # The one order is known already, and so are both of pairs that were the other way round.
    CrossEncoderScorer(TINY_SCORER, cache=cache).fit(PAIRS).predict(list(orders))
    symmetric.predict([pair[::-1] for pair in PAIRS])
    assert cache.statistics().misses == len(orders)


def test_missing_nan_is_nan_in_every_order():
    X = [("?", "!"), (None, "!"), ("?", None), (None, None), ("!", "?")]
    for symmetric in (False, True):
        scorer = CrossEncoderScorer(TINY_SCORER, missing="nan", symmetric=symmetric).fit(X)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scores = scorer.predict(X)
        assert np.isnan(scores).tolist() == [False, True, True, True, False]
        np.testing.assert_array_equal(np.isnan(scorer.transform(X)[:, 0]), np.isnan(scores))
        assert np.isnan(scorer.predict([(None, "?")] * 2)).all()


def test_y_of_a_scorer_is_checked_even_if_nothing_is_learnt():
    message = r"requires a numeric y, got values such as 'good'. Use Cross"
    for y in (["good"] * 8, np.array(["good"] * 8, dtype=object), pd.Series(["good"] * 8)):
        with pytest.raises(ValueError, match=message):
            CrossEncoderScorer(TINY_SCORER).fit(PAIRS, y)
    with pytest.raises(ValueError, match="y contains infinity"):
        CrossEncoderScorer(TINY_SCORER).fit(PAIRS, [np.inf] * 8)
    CrossEncoderScorer(TINY_SCORER).fit(PAIRS, pd.Series([1, 0.5] * 4, dtype=object))


def test_tags_of_a_scorer():
    tags = get_tags(CrossEncoderScorer())
    assert is_regressor(CrossEncoderScorer())
    assert tags.estimator_type == "regressor"
    assert tags.regressor_tags.poor_score
    assert not tags.target_tags.required
    assert tags.transformer_tags.preserves_dtype == []
    assert tags.input_tags.string
    for missing in ("error", "empty", "nan"):
        assert get_tags(CrossEncoderScorer(missing=missing)).input_tags.allow_nan == (
            missing != "error"
        )


# Rankings


def naive(scorer, queries, candidates, top_k=None):
    rows = []
    for i, (query, documents) in enumerate(zip(queries, candidates, strict=True)):
        scores = [float(scorer.predict([(query, document)])[0]) for document in documents]
        order = sorted(range(len(documents)), key=lambda j, scores=scores: -scores[j])
        rows += [(i, j, scores[j], documents[j]) for j in order[:top_k]]
    return pd.DataFrame(rows, columns=["query", "index", "score", "document"])


CANDIDATES = [DOCUMENTS, DOCUMENTS[:1], [], [*DOCUMENTS, *DOCUMENTS], DOCUMENTS[::-1]]


@pytest.mark.parametrize("top_k", [None, 1, 3, 100])
@pytest.mark.parametrize("symmetric", [False, True])
def test_rerank_is_a_loop_over_queries_and_their_candidates(top_k, symmetric):
    scorer = CrossEncoderScorer(TINY_SCORER, symmetric=symmetric).fit(PAIRS)
    expected = naive(scorer, QUERIES, CANDIDATES, top_k)
    found = scorer.rerank(QUERIES, CANDIDATES, top_k=top_k, return_documents=True)
    pd.testing.assert_frame_equal(
        found, expected, check_dtype=False, check_exact=False, rtol=0, atol=1e-6
    )
    without = scorer.rerank(QUERIES, CANDIDATES, top_k=top_k)
    assert list(without.columns) == ["query", "index", "score"]
    assert without["score"].dtype == np.float32
    assert without.index.tolist() == list(range(len(without)))


def test_rank_is_rerank_of_one_query(scorer):
    ranking = scorer.rank(QUERIES[0], DOCUMENTS, return_documents=True)
    expected = naive(scorer, QUERIES[:1], [DOCUMENTS]).drop(columns="query")
    pd.testing.assert_frame_equal(
        ranking, expected, check_dtype=False, check_exact=False, rtol=0, atol=1e-6
    )
    assert ranking["score"].is_monotonic_decreasing
    best = scorer.rank(QUERIES[0], DOCUMENTS, top_k=2)
    pd.testing.assert_frame_equal(best, ranking.drop(columns="document")[:2])


def test_of_equal_scores_the_earlier_document_comes_first(scorer):
    ranking = scorer.rank("the ferry", ["the pier", "?", "the pier", "?", "the pier"])
    of_text = [ranking["index"][ranking["index"] % 2 == parity].tolist() for parity in (0, 1)]
    assert of_text == [[0, 2, 4], [1, 3]]
    assert ranking["score"].nunique() == 2


@pytest.mark.parametrize(
    "make",
    [tuple, np.array, pd.Series, pl.Series, lambda texts: pd.DataFrame({"text": texts})],
)
def test_queries_and_documents_come_in_any_container(scorer, make):
    expected = scorer.rerank(QUERIES, [DOCUMENTS] * 5)
    found = scorer.rerank(make(QUERIES), [make(DOCUMENTS)] * 5)
    pd.testing.assert_frame_equal(found, expected)
    pd.testing.assert_frame_equal(scorer.rerank(QUERIES, np.array([DOCUMENTS] * 5)), expected)


def test_no_candidates_are_no_rows(scorer):
    for return_documents in (False, True):
        for queries, candidates in ((QUERIES[:2], [[], []]), ([], [])):
            ranking = scorer.rerank(queries, candidates, return_documents=return_documents)
            assert len(ranking) == 0
            assert list(ranking.columns)[:3] == ["query", "index", "score"]
        assert len(scorer.rank("the ferry", [], return_documents=return_documents)) == 0


def test_missing_documents_are_last_or_empty_or_named():
    documents = ["the pier", None, "?", np.nan]
    last = CrossEncoderScorer(TINY_SCORER, missing="nan").fit(PAIRS)
    ranking = last.rank("the ferry", documents, return_documents=True)
    assert ranking["index"].tolist()[2:] == [1, 3]
    assert np.isnan(ranking["score"]).tolist() == [False, False, True, True]
    assert ranking["document"].isna().tolist() == [False, False, True, True]
    assert np.isnan(last.rerank([None], [["a", "b"]])["score"]).all()
    empty = clone(last).set_params(missing="empty").fit(PAIRS)
    found = empty.rank("the ferry", documents).sort_values("index")["score"]
    assert_same_rows(found, empty.predict([("the ferry", d) for d in ("the pier", "", "?", "")]))
    error = clone(last).set_params(missing="error").fit(PAIRS)
    with pytest.raises(ValueError, match=r"documents\[1\] has no text\. Leave it out, or pass"):
        error.rank("the ferry", documents)
    with pytest.raises(ValueError, match=r"candidates\[1\]\[2\] has no text"):
        error.rerank(QUERIES[:2], [DOCUMENTS, ["a", "b", None]])
    with pytest.raises(ValueError, match=r"X\[1\] has no text"):
        error.rerank([QUERIES[0], None], [DOCUMENTS] * 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.rank(None, DOCUMENTS), TypeError, "query is of type NoneType. Pass one str"),
        (lambda s: s.rank(QUERIES, DOCUMENTS), TypeError, "query is of type list. Pass one str"),
        (lambda s: s.rank("a", "documents"), TypeError, "documents is a single str"),
        (lambda s: s.rank("a", [["a", "b"]]), ValueError, "documents has 2 columns"),
        (lambda s: s.rank("a", DOCUMENTS, top_k=0), ValueError, "top_k=0: pass an int above 0"),
        (lambda s: s.rank("a", DOCUMENTS, top_k=1.5), ValueError, "top_k=1.5: pass an int"),
        (lambda s: s.rerank("a", [DOCUMENTS]), TypeError, "X is a single str"),
        (lambda s: s.rerank(QUERIES, DOCUMENTS), TypeError, r"candidates\[0\] is a single str"),
        (
            lambda s: s.rerank(["a"], None),
            TypeError,
            "candidates is of type NoneType. Pass a list with",
        ),
        (
            lambda s: s.rerank(["a"], [None]),
            TypeError,
            r"candidates\[0\] is of type",
        ),
        (lambda s: s.rerank(["a", "b"], {0: ["a"]}), TypeError, "candidates is of type dict"),
        (
            lambda s: s.rerank(["a"], pl.DataFrame({"first": ["b"], "second": ["c"]})),
            TypeError,
            "candidates is of type DataFrame",
        ),
        (lambda s: s.rank("a", None), TypeError, "documents is of type NoneType"),
        (lambda s: s.rank("a", ["b"], top_k=True), ValueError, "top_k=True: pass an int"),
        (
            lambda s: (
                clone(s)
                .set_params(long_text="error")
                .fit(PAIRS)
                .rerank(["a", "b"], [["x"], ["y", "market " * 600]])
            ),
            ValueError,
            "document 1 of query 1 has more than",
        ),
        (lambda s: s.rerank(QUERIES, [DOCUMENTS]), ValueError, "1 lists .* there are 5 queries"),
        (lambda s: s.rerank(PAIRS, [DOCUMENTS] * 8), ValueError, "X has 2 columns. Pass one"),
    ],
)
def test_what_cannot_be_ranked_is_named(scorer, call, error, message):
    with pytest.raises(error, match=message):
        call(scorer)


def test_ranking_reads_each_pair_once():
    cache = MemoryCache()
    scorer = CrossEncoderScorer(TINY_SCORER, cache=cache).fit(PAIRS)
    scorer.rerank(QUERIES, [DOCUMENTS * 2] * 5)
    for query in QUERIES:
        scorer.rank(query, DOCUMENTS)
    scorer.predict(GRID)
    assert cache.statistics().misses == len(GRID)


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from(DOCUMENTS), max_size=4), max_size=4), st.integers(1, 5))
def test_any_candidates(candidates, top_k):
    scorer = CrossEncoderScorer(TINY_SCORER).fit(PAIRS)
    queries = QUERIES[: len(candidates)]
    found = scorer.rerank(queries, candidates, top_k=top_k)
    expected = naive(scorer, queries, candidates, top_k)
    assert found["query"].tolist() == expected["query"].tolist()
    assert_same_rows(found["score"], expected["score"].astype(float))


# A scorer among others


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_a_feature_in_a_column_transformer(scorer, kind):
    frame = kind({"n": range(8), "a": [a for a, _ in PAIRS], "b": [b for _, b in PAIRS]})
    table = ColumnTransformer(
        [("score", clone(scorer), ["a", "b"]), ("same", "passthrough", ["n"])]
    )
    features = table.fit_transform(frame)
    np.testing.assert_array_equal(features[:, 0].astype(np.float32), scorer.predict(PAIRS))
    np.testing.assert_array_equal(features[:, 1], range(8))
    assert list(table.get_feature_names_out()) == ["score__crossencoderscorer0", "same__n"]
    name = "pandas" if kind is pd.DataFrame else "polars"
    shown = table.set_output(transform=name).fit_transform(frame)
    assert type(shown) is kind
    assert list(shown.columns) == list(table.get_feature_names_out())
    np.testing.assert_array_equal(table.transform(frame).to_numpy(), features)


def test_a_feature_in_a_union(scorer):
    other = CrossEncoderScorer(OTHER_SCORER, symmetric=True)
    union = FeatureUnion([("one", clone(scorer)), ("other", other)])
    features = union.fit_transform(PAIRS)
    expected = np.column_stack([scorer.predict(PAIRS), clone(other).fit(PAIRS).predict(PAIRS)])
    np.testing.assert_array_equal(features, expected)
    names = ["one__crossencoderscorer0", "other__crossencoderscorer0"]
    assert list(union.get_feature_names_out()) == names
    model = make_pipeline(union, LogisticRegression())
    assert model.fit(PAIRS, np.arange(8) % 2).predict(PAIRS).shape == (8,)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_set_output(scorer, kind):
    X = pd.DataFrame(PAIRS, columns=["a", "b"], index=range(10, 18))
    shown = clone(scorer).set_output(transform=kind).fit(X)
    rows = shown.transform(X)
    assert list(rows.columns) == ["crossencoderscorer0"] == list(shown.get_feature_names_out())
    np.testing.assert_array_equal(rows.to_numpy()[:, 0], scorer.predict(PAIRS))
    if kind == "pandas":
        assert list(rows.index) == list(X.index)
    assert type(shown.predict(X)) is np.ndarray


def test_the_columns_of_a_fit_may_be_seen_without_names(scorer):
    X = pd.DataFrame(PAIRS, columns=["a", "b"])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        clone(scorer).fit(X).predict(PAIRS)


# Searches and folds, of models as they are


class Containers:
    """The same pairs in what scikit-learn cuts into folds."""

    frame = pd.DataFrame(GRID, columns=["a", "b"])
    array = np.array(GRID, dtype=object)
    tuples = GRID
    polars = pl.DataFrame(frame.to_dict("list"))


@pytest.mark.parametrize(
    ("X", "n_jobs"),
    [
        *((kind, 1) for kind in ("frame", "array", "tuples", "polars")),
        pytest.param("frame", 2, marks=pytest.mark.slow),
    ],
)
def test_cross_validation_and_grid_search_score_what_predict_gives(X, n_jobs):
    X = getattr(Containers, X)
    scorer = CrossEncoderScorer(TINY_SCORER)
    predicted = scorer.fit(GRID).predict(GRID)
    folds = KFold(4)
    expected = [r2_score(GRADES[test], predicted[test]) for _, test in folds.split(GRADES)]
    scores = cross_val_score(scorer, X, GRADES, cv=folds, error_score="raise", n_jobs=n_jobs)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    np.testing.assert_allclose(cross_val_predict(scorer, X, GRADES), predicted, atol=1e-6)
    grid = {"symmetric": [False, True], "model": [TINY_SCORER, OTHER_SCORER]}
    search = GridSearchCV(scorer, grid, cv=folds, error_score="raise", n_jobs=n_jobs)
    search.fit(X, GRADES)
    for params, mean in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        rows = clone(scorer).set_params(**params).fit(GRID).predict(GRID)
        alone = [r2_score(GRADES[test], rows[test]) for _, test in folds.split(GRADES)]
        assert mean == pytest.approx(np.mean(alone), rel=1e-4)
    assert search.best_estimator_.get_params()["model"] == search.best_params_["model"]


CLASSES = np.array([NLI[i % 3] for i in range(len(GRID))])
SEARCHES = {
    "folds": lambda e, y: cross_val_score(e, GRID, y, cv=4),
    "repeated folds": lambda e, y: cross_validate(
        e, GRID, y, cv=RepeatedKFold(n_splits=3, n_repeats=3, random_state=0)
    ),
    "predictions": lambda e, y: cross_val_predict(e, GRID, y, cv=3),
    "what changes nothing": lambda e, y: GridSearchCV(
        e, {"batch_tokens": [1, 64, "auto"], "missing": ["error", "empty"]}, cv=3
    ).fit(GRID, y),
}


@both
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_each_pair_is_read_once(search, estimator):
    cache = MemoryCache()
    y = CLASSES if is_classifier(estimator) else GRADES
    search(clone(estimator).set_params(cache=cache), y)
    assert cache.statistics().misses == len(GRID)


def test_candidates_that_read_otherwise_read_once_more():
    cache = MemoryCache()
    scorer = CrossEncoderScorer(TINY_SCORER, cache=cache)
    for grid, n in (
        ({"symmetric": [False, True]}, 2),
        ({"prompt": [None, "", "ferry: "]}, 1),
        ({"max_length": [None, 50, 60]}, 2),
        ({"model": [TINY_SCORER, OTHER_SCORER]}, 1),
    ):
        before = cache.statistics().misses
        GridSearchCV(scorer, grid, cv=2, error_score="raise").fit(GRID, GRADES)
        assert cache.statistics().misses - before == n * len(GRID)


@both
def test_without_a_cache_equal_pairs_are_still_read_once(estimator):
    fitted = clone(estimator).set_params(cache=None).fit(PAIRS)
    seen = []
    table = fitted.encoder_.backbone.model.embeddings.word_embeddings
    hook = table.register_forward_hook(lambda _, ids, __: seen.append(ids[0].numel()))
    fitted.predict(PAIRS)
    once = sum(seen)
    seen.clear()
    fitted.predict(PAIRS * 7)
    assert sum(seen) == once
    hook.remove()


BACKENDS = ["threading", pytest.param("loky", marks=pytest.mark.slow)]  # which starts for long


@both
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cache_on_disk_is_shared(backend, estimator, tmp_path):
    y = CLASSES if is_classifier(estimator) else GRADES
    expected = clone(estimator).set_params(cache=None).fit(GRID).decision_function(GRID)
    on_disk = clone(estimator).set_params(cache=tmp_path)
    with joblib.parallel_config(backend=backend):
        cross_val_score(on_disk, GRID, y, cv=4, n_jobs=2, error_score="raise")
    assert DiskCache(tmp_path).statistics().n_embedded == len(GRID)
    found = clone(on_disk).fit(GRID).decision_function(GRID)
    assert DiskCache(tmp_path).statistics().n_embedded == len(GRID)
    assert_same_rows(found, expected)


def test_a_cache_holds_pairs_and_texts_apart():
    """A pair is found neither by its texts nor the other way round, nor by another head."""
    cache = MemoryCache()
    one = CrossEncoderScorer(TINY_SCORER, cache=cache).fit(PAIRS).decision_function(PAIRS)
    other = CrossEncoderScorer(OTHER_SCORER, cache=cache).fit(PAIRS).decision_function(PAIRS)
    np.testing.assert_array_equal(
        other, CrossEncoderScorer(OTHER_SCORER, cache=None).fit(PAIRS).decision_function(PAIRS)
    )
    assert np.abs(one - other).max() > 1e-3
    assert len(cache.statistics().namespaces) == 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fine_tuner", [None, TWO_STEPS], ids=["as-it-is", "tuned"])
def test_workers_score_the_same(fine_tuner, backend):
    scorer = CrossEncoderScorer(TINY_SCORER, cache=None, fine_tuner=fine_tuner)
    scorer.fit(GRID, np.arange(len(GRID)) % 2)
    one = scorer.predict(GRID)
    with joblib.parallel_config(backend=backend):
        assert_same_rows(scorer.set_params(n_jobs=2).predict(GRID), one)


@both
def test_the_bar_counts_distinct_pairs(estimator, capfd):
    fitted = clone(estimator).set_params(verbose=1).fit(PAIRS)
    assert capfd.readouterr().err == ""
    fitted.predict([*PAIRS, *PAIRS])
    out, err = capfd.readouterr()
    assert out == ""
    assert "scoring: 100%" in err
    assert "8/8" in err


# What a classifier predicts


def test_classes_are_the_names_in_the_checkpoint_in_order(classifier):
    reference = CrossEncoder(str(TINY_NLI), device="cpu", local_files_only=True)
    logits = reference.predict(GRID, activation_fn=torch.nn.Identity())
    assert classifier.classes_.tolist() == ["contradiction", "entailment", "neutral"]
    named = [NLI[i] for i in logits.argmax(axis=1)]
    assert classifier.predict(GRID).tolist() == named
    assert len(set(named)) > 1
    in_order = logits[:, [NLI.index(name) for name in classifier.classes_]]
    np.testing.assert_allclose(classifier.decision_function(GRID), in_order, atol=1e-5)
    np.testing.assert_allclose(classifier.predict_proba(GRID), softmax(in_order, 1), atol=1e-6)


def test_numbers_are_places_of_logits_where_these_are_in_the_order_of_names(classifier, tmp_path):
    codes = [0, 2, 1, 0, 0, 1, 2, 2]
    ordered = make_cross_encoder(tmp_path / "ordered", labels=sorted(NLI))
    named = CrossEncoderClassifier(ordered).fit(GRID).predict(GRID)
    numbered = CrossEncoderClassifier(ordered).fit(PAIRS, codes)
    assert numbered.classes_.tolist() == [0, 1, 2]
    assert [sorted(NLI)[i] for i in numbered.predict(GRID)] == named.tolist()
    # What scikit-learn numbers by name inside comes out under the right name.
    voting = VotingClassifier([("one", CrossEncoderClassifier(ordered))])
    voting.fit(GRID, np.resize(sorted(NLI), len(GRID)))
    assert voting.predict(GRID).tolist() == named.tolist()
    with pytest.raises(
        ValueError, match=r"'neutral' \(its first class\) or 'contradiction' \(the fir"
    ):
        CrossEncoderClassifier(TINY_NLI).fit(PAIRS, codes)
    # What the message advises.
    voting = VotingClassifier([("one", FrozenEstimator(classifier))], voting="soft")
    voting.fit(GRID, np.resize(sorted(NLI), len(GRID)))
    assert voting.predict(GRID).tolist() == classifier.predict(GRID).tolist()
    some = CrossEncoderClassifier(TINY_NLI).fit(PAIRS, ["neutral"] * 8)
    assert some.classes_.tolist() == sorted(NLI)


def test_names_that_are_numbers_stand_for_these(tmp_path):
    """Stars from 1 to 5, or grades; 2 is not the place of the third logit."""
    folder = make_cross_encoder(tmp_path / "stars", labels=("3", "1", "2"))
    reference = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    best = reference.predict(GRID, activation_fn=torch.nn.Identity()).argmax(axis=1)
    for y in (None, [1, 2] * 10, [1.0, 3.0] * 10):
        fitted = CrossEncoderClassifier(folder).fit(GRID, y)
        assert fitted.classes_.tolist() == [1, 2, 3]
        assert fitted.predict(GRID).tolist() == [(3, 1, 2)[i] for i in best]
    named = CrossEncoderClassifier(folder).fit(GRID, ["1", "2"] * 10)
    assert named.classes_.tolist() == ["1", "2", "3"]
    assert named.predict(GRID).tolist() == [("3", "1", "2")[i] for i in best]
    with pytest.raises(
        ValueError, match=r"classes \[0\], which the model does not know. Its classes are \["
    ):
        CrossEncoderClassifier(folder).fit(GRID, [0, 1] * 10)


def test_names_that_nobody_gave_are_numbers(tmp_path):
    folder = make_cross_encoder(tmp_path, n_labels=4)
    assert CrossEncoderClassifier(folder).fit(PAIRS).classes_.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("y", [None, [0, 1] * 4, [False, True] * 4, [0.0, 1.0] * 4])
def test_one_logit_says_yes_or_no(y, scorer):
    fitted = CrossEncoderClassifier(TINY_SCORER).fit(PAIRS, y)
    logits = scorer.decision_function(GRID)
    assert fitted.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(fitted.decision_function(GRID), logits)
    np.testing.assert_array_equal(fitted.predict(GRID), logits > 0)
    np.testing.assert_allclose(fitted.predict_proba(GRID)[:, 1], scorer.predict(GRID), atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(GRID).sum(axis=1), 1)


def test_two_logits_are_one_decision(tmp_path):
    folder = make_cross_encoder(tmp_path, labels=("yes", "no"))
    logits = load_encoder(folder, pairs=True).encode(GRID).vectors
    fitted = CrossEncoderClassifier(folder).fit(GRID)
    assert fitted.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(
        fitted.decision_function(GRID), logits[:, 0] - logits[:, 1], atol=1e-6
    )
    np.testing.assert_allclose(fitted.predict_proba(GRID), softmax(logits, 1)[:, ::-1], atol=1e-6)
    named = np.where(logits[:, 0] > logits[:, 1], "yes", "no")
    assert fitted.predict(GRID).tolist() == named.tolist()


def test_probabilities_agree_with_classes(classifier):
    proba = classifier.predict_proba(GRID)
    assert proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert (proba > 0).all()
    np.testing.assert_array_equal(
        classifier.classes_[proba.argmax(axis=1)], classifier.predict(GRID)
    )


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            ["entailment", "?"] * 4,
            r"y has the classes \['\?'\], which the model does not know. Its classes are",
        ),
        ([0, 3] * 4, r"y has numbers, but the model names its classes \['neutral', "),
        ([0.5, 1.5] * 4, "Unknown label type: continuous"),
        ([[0, 1]] * 8, "y should be a 1d array, got an array of shape"),
        ([True, False] * 3 + [True], "inconsistent numbers of samples"),
    ],
)
def test_classes_that_the_model_does_not_know(y, message):
    with pytest.raises(ValueError, match=message):
        CrossEncoderClassifier(TINY_NLI).fit(PAIRS, y)


def test_tags_of_a_classifier():
    assert is_classifier(CrossEncoderClassifier())
    assert not get_tags(CrossEncoderClassifier()).target_tags.required
    assert get_tags(CrossEncoderClassifier(fine_tuner=TWO_STEPS)).target_tags.required
    assert get_tags(CrossEncoderClassifier()).classifier_tags.poor_score
    assert get_tags(CrossEncoderClassifier()).classifier_tags.multi_class


@pytest.mark.parametrize("response", ["decision_function", "predict_proba"])
def test_thresholds(response, scorer):
    y = np.arange(len(GRID)) % 2
    yes_or_no = CrossEncoderClassifier(TINY_SCORER)
    values = yes_or_no.fit(GRID).decision_function(GRID)
    values = values if response == "decision_function" else expit(values)
    threshold = float(np.median(values))
    fixed = FixedThresholdClassifier(yes_or_no, threshold=threshold, response_method=response)
    np.testing.assert_array_equal(fixed.fit(GRID, y).predict(GRID), values >= threshold)
    tuned = TunedThresholdClassifierCV(
        yes_or_no, scoring="balanced_accuracy", response_method=response, cv=2
    ).fit(GRID, y)
    np.testing.assert_array_equal(tuned.predict(GRID), values >= tuned.best_threshold_)


@pytest.mark.parametrize("X", ["frame", "array", "tuples"])
def test_calibration(X, classifier):
    X = getattr(Containers, X)
    for method in ("sigmoid", "isotonic"):
        frozen = CalibratedClassifierCV(FrozenEstimator(classifier), method=method)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X has feature names")
            frozen.fit(X, CLASSES)
            np.testing.assert_allclose(frozen.predict_proba(X).sum(axis=1), 1)
        folds = CalibratedClassifierCV(clone(classifier), method=method, cv=3).fit(X, CLASSES)
        assert folds.classes_.tolist() == sorted(NLI)
        assert folds.predict_proba(X).shape == (len(GRID), 3)


def test_metrics_of_a_classifier_in_folds():
    kinds = {"neg_log_loss": None, "accuracy": None, "roc_auc_ovr": None}
    found = cross_validate(
        CrossEncoderClassifier(TINY_NLI),
        GRID,
        CLASSES,
        cv=3,
        scoring=list(kinds),
        error_score="raise",
    )
    for name in kinds:
        assert np.isfinite(found[f"test_{name}"]).all()


def test_a_checkpoint_with_settings_is_read_alike_by_sentence_transformers(tmp_path):
    scorer = CrossEncoderScorer(TINY_SCORER, prompt="ferry: ", max_length=20).fit(PAIRS)
    scorer.save_pretrained(tmp_path / "saved")
    reference = CrossEncoder(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        np.testing.assert_allclose(reference.predict(PAIRS), scorer.predict(PAIRS), atol=1e-6)
        again = CrossEncoderScorer(tmp_path / "saved").fit(PAIRS)
        assert_same_rows(again.predict(PAIRS), scorer.predict(PAIRS))
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(FileExistsError, match="which do not belong to a checkpoint"):
        scorer.save_pretrained(tmp_path)
