"""Predictions of CrossEncoderScorer."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.special import expit
from sentence_transformers import CrossEncoder
from sklearn.base import clone, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.utils import get_tags

from sk_sentemb import CrossEncoderScorer
from sk_sentemb.cache import MemoryCache
from tests.checks.data import PAIRS
from tests.cross_encoder.data import GRID
from tests.helpers.checkpoints import make_cross_encoder
from tests.helpers.tiny_models import OTHER_SCORER, TINY_SCORER, assert_other_rows, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def test_scorer_matches_sentence_transformers(scorer):
    reference = CrossEncoder(str(TINY_SCORER), device="cpu", local_files_only=True)
    for pairs in (PAIRS, GRID):
        np.testing.assert_allclose(scorer.predict(pairs), reference.predict(pairs), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("activation", ["Sigmoid", "Identity", "Tanh", "Softmax", "Softsign"])
@pytest.mark.parametrize("style", ["old", "new"])
def test_scorer_activation_is_that_of_checkpoint(activation, style, tmp_path):
    folder = make_cross_encoder(tmp_path, activation=activation, style=style)
    scorer = CrossEncoderScorer(folder).fit(PAIRS)
    reference = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    np.testing.assert_allclose(scorer.predict(PAIRS), reference.predict(PAIRS), atol=1e-6)
    logits = reference.predict(PAIRS, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(scorer.decision_function(PAIRS), logits, atol=1e-5)


def test_score_range_scales_sigmoid_of_logits(scorer):
    logits, scores = scorer.decision_function(PAIRS), scorer.predict(PAIRS)
    assert (logits.dtype, scores.dtype) == (np.float32, np.float32)
    assert (logits.shape, scores.shape) == ((8,), (8,))
    assert scorer.score_range_ == (0.0, 1.0)
    np.testing.assert_allclose(scores, expit(logits), atol=1e-7)
    np.testing.assert_array_equal(scorer.transform(PAIRS), scores[:, None])
    np.testing.assert_array_equal(clone(scorer).fit_transform(PAIRS), scores[:, None])
    assert scorer.score(PAIRS, range(8)) == pytest.approx(r2_score(range(8), scores))


def test_symmetric_averages_logits_of_both_orders(scorer):
    symmetric = CrossEncoderScorer(TINY_SCORER, symmetric=True).fit(PAIRS)
    swapped = [pair[::-1] for pair in PAIRS]
    both_orders = [scorer.decision_function(X) for X in (PAIRS, swapped)]
    assert_same_rows(symmetric.decision_function(PAIRS), np.mean(both_orders, axis=0))
    np.testing.assert_array_equal(symmetric.predict(PAIRS), symmetric.predict(swapped))
    assert_other_rows(*(rows[[0, 2, 4], None] for rows in both_orders))


def test_symmetric_encodes_each_order_once():
    cache = MemoryCache()
    symmetric = CrossEncoderScorer(TINY_SCORER, symmetric=True, cache=cache).fit(PAIRS)
    symmetric.predict(PAIRS)
    orders = {*PAIRS, *(pair[::-1] for pair in PAIRS)}
    assert cache.statistics().misses == len(orders)
    # The one order is known already, and so are both of pairs that were the other way round.
    CrossEncoderScorer(TINY_SCORER, cache=cache).fit(PAIRS).predict(list(orders))
    symmetric.predict([pair[::-1] for pair in PAIRS])
    assert cache.statistics().misses == len(orders)


def test_missing_nan_gives_nan_in_both_orders():
    X = [("?", "!"), (None, "!"), ("?", None), (None, None), ("!", "?")]
    for symmetric in (False, True):
        scorer = CrossEncoderScorer(TINY_SCORER, missing="nan", symmetric=symmetric).fit(X)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scores = scorer.predict(X)
        assert np.isnan(scores).tolist() == [False, True, True, True, False]
        np.testing.assert_array_equal(np.isnan(scorer.transform(X)[:, 0]), np.isnan(scores))
        assert np.isnan(scorer.predict([(None, "?")] * 2)).all()


def test_scorer_validates_y_without_fine_tuner():
    message = r"requires a numeric y, got values such as 'good'. Use Cross"
    for y in (["good"] * 8, np.array(["good"] * 8, dtype=object), pd.Series(["good"] * 8)):
        with pytest.raises(ValueError, match=message):
            CrossEncoderScorer(TINY_SCORER).fit(PAIRS, y)
    with pytest.raises(ValueError, match="y contains infinity"):
        CrossEncoderScorer(TINY_SCORER).fit(PAIRS, [np.inf] * 8)
    CrossEncoderScorer(TINY_SCORER).fit(PAIRS, pd.Series([1, 0.5] * 4, dtype=object))


def test_scorer_tags():
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


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_scorer_in_column_transformer(scorer, kind):
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


def test_scorer_in_feature_union(scorer):
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
def test_scorer_set_output(scorer, kind):
    X = pd.DataFrame(PAIRS, columns=["a", "b"], index=range(10, 18))
    shown = clone(scorer).set_output(transform=kind).fit(X)
    rows = shown.transform(X)
    assert list(rows.columns) == ["crossencoderscorer0"] == list(shown.get_feature_names_out())
    np.testing.assert_array_equal(rows.to_numpy()[:, 0], scorer.predict(PAIRS))
    if kind == "pandas":
        assert list(rows.index) == list(X.index)
    assert type(shown.predict(X)) is np.ndarray


def test_scorer_predicts_columns_without_names(scorer):
    X = pd.DataFrame(PAIRS, columns=["a", "b"])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        clone(scorer).fit(X).predict(PAIRS)
