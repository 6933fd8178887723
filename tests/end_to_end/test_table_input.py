"""What SentenceClassifier and SentenceRegressor read as X."""

import pickle
import sys
import warnings
from collections import Counter

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer

from sk_sentemb import ImageEmbedder
from sk_sentemb.cache import MemoryCache
from sk_sentemb.end_to_end import table_reader
from sk_sentemb.end_to_end.fusion import FUSIONS
from sk_sentemb.exceptions import MissingImageWarning, ModelNotFoundError, TruncationWarning
from sk_sentemb.preprocessing import column_roles
from tests.checks.data import CONTAINERS, MISSING
from tests.checks.data import TEXTS as SIX_TEXTS
from tests.end_to_end.data import (
    HEAD_ALONE,
    LABELS,
    NUMBERS,
    SEVERAL,
    SHOP,
    TEXTS,
    WORDS,
    both,
    classifier,
    outputs,
    regressor,
)
from tests.helpers.images import PICTURES, TINY_VIT
from tests.helpers.tiny_models import TINY, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


ROLES = {"text": "review", "categorical": ["size"], "numeric": "price", "date": ("bought",)}


@both
def test_text_containers_give_equal_outputs(make, y):
    expected = outputs(make().fit(SIX_TEXTS, y[:6]), SIX_TEXTS)
    fitted = make().fit(SIX_TEXTS, y[:6])
    for kind, container in CONTAINERS.items():
        X = container(SIX_TEXTS)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X has feature names")
            np.testing.assert_array_equal(outputs(fitted, X), expected, err_msg=kind)
            again = make().fit(X, y[:6])
        np.testing.assert_array_equal(outputs(again, X), expected, err_msg=kind)
        # One column of a frame is often met as a list.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(outputs(again, SIX_TEXTS), expected, err_msg=kind)


LIBRARIES = {
    "polars": pl.DataFrame,
    "pyarrow": lambda d: pa.Table.from_pandas(pd.DataFrame(d)),
    "narwhals": lambda d: nw.from_native(pl.DataFrame(d)),
    "pandas with dtypes": lambda d: pd.DataFrame(d, index=[7] * 24).convert_dtypes(),
}


@pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES)
def test_frame_libraries_give_equal_outputs(make, of_shop):
    expected = of_shop.decision_function(SHOP)
    frame = make(SHOP.to_dict("list"))
    np.testing.assert_array_equal(of_shop.decision_function(frame), expected)
    fitted = classifier().fit(frame, LABELS)
    np.testing.assert_array_equal(fitted.decision_function(SHOP), expected)
    np.testing.assert_array_equal(fitted.transform(frame[:3]), of_shop.transform(SHOP[:3]))
    assert fitted.feature_names_in_.tolist() == list(SHOP)


def test_roles_are_found_or_given(of_shop):
    expected = of_shop.decision_function(SHOP)
    given = classifier(**ROLES).fit(SHOP, LABELS)
    np.testing.assert_array_equal(given.decision_function(SHOP), expected)
    # A column that was given no role, or another one, is another model.
    without = classifier(numeric=[]).fit(SHOP, LABELS)
    other = classifier(categorical=["size", "order_id"]).fit(SHOP, LABELS)
    widths = [f.transform(SHOP).shape[1] for f in (of_shop, without, other)]
    assert widths[1] == widths[0] - 1
    assert widths[2] == widths[0] + 24
    moved = SHOP.assign(price=SHOP["price"][::-1].to_numpy(), order_id=0)
    np.testing.assert_array_equal(without.decision_function(moved), without.decision_function(SHOP))
    assert np.abs(of_shop.decision_function(moved) - expected).min() > 1e-5


@pytest.mark.parametrize("X", [SHOP, TEXTS], ids=["table", "list"])
def test_fit_finds_roles_and_reads_X_once(X, monkeypatch):
    counts = Counter()

    def count(module, name):
        function = getattr(module, name)

        def counting(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, counting)

    count(sys.modules[column_roles.__module__], "describe_columns")
    count(table_reader, "read_text_columns")
    count(ColumnTransformer, "fit_transform")
    count(ColumnTransformer, "transform")
    count(table_reader.Table, "_find_names")
    classifier(how={"max_steps": 1}).fit(X, LABELS)
    of_table = ["describe_columns", "fit_transform", "_find_names"] if X is SHOP else []
    assert counts == dict.fromkeys(["read_text_columns", *of_table], 1)


def test_each_text_column_is_a_part():
    X = pd.DataFrame({"title": TEXTS, "review": TEXTS[::-1]})
    fitted = classifier().fit(X, LABELS)
    embedded = fitted.embedder_.transform(TEXTS)
    assert_same_rows(fitted.transform(X), np.hstack([embedded, embedded[::-1]]))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        found = fitted.decision_function(X.to_numpy())
    np.testing.assert_array_equal(found, fitted.decision_function(X))


def test_fused_parts_are_texts_and_table():
    """Beside the vectors: z-scores of the price, one of each size; by hand."""
    fitted = classifier(date=[]).fit(SHOP, LABELS)
    fused = fitted.transform(SHOP)
    assert fused.dtype == np.float32
    sizes = np.stack([SHOP["size"] == size for size in "LMS"], axis=1)
    price = (SHOP["price"] - SHOP["price"].mean()) / SHOP["price"].std(ddof=0)
    table = np.column_stack([sizes, price])
    assert_same_rows(fused, np.hstack([fitted.embedder_.transform(TEXTS), table]))


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning:sklearn")
def test_feature_names_are_validated(of_shop, of_texts):
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        of_shop.predict(SHOP[SHOP.columns[::-1]])
    with pytest.raises(ValueError, match=r"yet now missing:\n- bought"):
        of_shop.predict(SHOP.drop(columns="bought"))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- more"):
        of_shop.predict(SHOP.assign(more=1))
    with pytest.raises(ValueError, match="1 features, but SentenceClassifier is expecting 5"):
        of_shop.predict(TEXTS)
    with pytest.raises(ValueError, match=r"has no column names, but .* columns of several roles"):
        of_shop.predict(SHOP.to_numpy())
    with pytest.raises(ValueError, match="5 features, but SentenceClassifier is expecting 1"):
        of_texts.predict(SHOP)
    with pytest.raises(ValueError, match="2 features, but SentenceClassifier is expecting 1"):
        of_texts.predict([["a", "b"]])
    with pytest.warns(UserWarning, match="X has feature names, but SentenceClassifier was fitted"):
        np.testing.assert_array_equal(of_texts.predict(SHOP[["review"]]), of_texts.predict(TEXTS))


@pytest.mark.parametrize("name", ["column_names", "columns", "shape", "auto", "text-x", "a__b_"])
def test_columns_may_have_any_name(name, of_shop):
    X = SHOP.rename(columns={"review": name, "price": f"{name}2"})
    fitted = classifier(**ROLES | {"text": [name], "numeric": f"{name}2"}).fit(X, LABELS)
    np.testing.assert_array_equal(fitted.decision_function(X), of_shop.decision_function(SHOP))


def test_columns_without_names_are_texts():
    rows = [[text, str(i)] for i, text in enumerate(TEXTS)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = classifier().fit(rows, LABELS)
    assert not hasattr(fitted, "feature_names_in_")
    expected = fitted.predict_proba(rows)
    # What is no text is embedded as such too, but not silently.
    for X in ([[t, i] for i, t in enumerate(TEXTS)], pd.DataFrame({0: TEXTS, 1: range(24)}).values):
        with pytest.warns(UserWarning, match=r"but column 1 \(counting from 0\) .* 'integer'"):
            again = classifier().fit(X, LABELS)
        np.testing.assert_array_equal(again.predict_proba(X), expected)


@both
def test_column_names_must_be_strings(make, y):
    X = pd.DataFrame({0: TEXTS, 1: np.linspace(0, 1, 24)})
    for frame in (X, X.rename(columns={0: "text"}), X.set_axis([("a", 1), ("b", 2)], axis=1)):
        with pytest.raises(TypeError, match=r"not strings, such as .*; rename them"):
            make().fit(frame, y)
    with pytest.raises(TypeError, match=r"not strings, such as 0; rename them"):
        make(text=["0"]).fit(X[[0]], y)
    named = X.set_axis(X.columns.astype(str), axis=1)
    assert make().fit(named, y).transform(named).shape == (24, 33)
    # Nothing but text needs no roles.
    for frame in (X[[0]], X.assign(**{"1": TEXTS})[[0, "1"]].set_axis([0, 1], axis=1)):
        expected = outputs(make().fit(frame.to_numpy(), y), frame.to_numpy())
        np.testing.assert_array_equal(outputs(make().fit(frame, y), frame), expected)


def test_single_column_with_short_texts_is_text():
    words = pd.DataFrame({"word": WORDS * 3})
    expected = classifier().fit(WORDS * 3, LABELS).decision_function(WORDS)
    np.testing.assert_array_equal(
        classifier().fit(words, LABELS).decision_function(words[:8]), expected
    )


@pytest.mark.parametrize(
    ("X", "params", "error", "message"),
    [
        (TEXTS[0], {}, ValueError, "string object received. Pass"),
        ([], {}, ValueError, "inconsistent numbers of samples"),
        (TEXTS[:-1], {}, ValueError, "inconsistent numbers of samples"),
        (SHOP[["price", "size"]], {}, ValueError, r"no text column. .* categorical \['size'\]"),
        (SHOP[["price"]], {}, ValueError, r"no text column. .* numeric \['price'\]"),
        (SHOP, {"text": []}, ValueError, r"no text column. .* other \['review'\]"),
        (SHOP, {"text": ["title"]}, ValueError, "no column 'title'; its columns are"),
        (SHOP, {"text": ["review"], "numeric": ["review"]}, ValueError, "both 'text' and"),
        (SHOP, {"text": 3}, ValueError, "'text' parameter"),
        (TEXTS, {"numeric": ["price"]}, ValueError, "requires column names, but X has none"),
        (SHOP[["review", "review", "size"]], {}, ValueError, "more than one column of the name"),
        (SHOP.set_axis([*"abcd", 5], axis=1), {}, TypeError, "not strings, such as 5"),
        ({"review": TEXTS}, {}, TypeError, "X is of type dict"),
        (sparse.eye(24), {}, TypeError, "sparse"),
        (pl.LazyFrame({"t": TEXTS}), {}, TypeError, "lazy"),
        (SHOP.assign(review=[b"x"] * 24), {"text": "review"}, TypeError, "bytes in row 0"),
        (TEXTS, {"fusion": "sum"}, ValueError, "'fusion' parameter"),
        (TEXTS, {"hidden_layer_sizes": 8}, ValueError, "'hidden_layer_sizes' parameter"),
        (TEXTS, {"hidden_layer_sizes": [8, 0]}, ValueError, "pass integers above 0"),
        (TEXTS, {"hidden_layer_sizes": [2.5]}, ValueError, "pass integers above 0"),
        (TEXTS, {"activation": "sine"}, ValueError, "'activation' parameter"),
        (TEXTS, {"dropout": 1.0}, ValueError, "'dropout' parameter"),
        (TEXTS, {"missing": "zero"}, ValueError, "'missing' parameter"),
        (TEXTS, {"model": TINY / "nowhere"}, ModelNotFoundError, "looks like a path"),
        ([*TEXTS[:-1], None], {"missing": "error"}, ValueError, "row 23, column 0 of X has no"),
        (TEXTS, {"max_length": 5, "long_text": "error"}, ValueError, "row 0 of X has more than 5"),
    ],
)
def test_bad_X_raises(X, params, error, message):
    for made, y in ((classifier(**params), LABELS), (regressor(**params), NUMBERS)):
        with pytest.raises(error, match=message):
            made.fit(X, y)


def test_no_rows_give_no_rows(of_shop, of_texts):
    for fitted, X in ((of_shop, SHOP[:0]), (of_texts, []), (of_texts, np.array([], dtype=str))):
        assert fitted.predict(X).shape == (0,)
        assert fitted.predict_proba(X).shape == (0, 2)
        assert fitted.transform(X).shape == (0, len(fitted.get_feature_names_out()))
    for fusion in FUSIONS:
        assert classifier(fusion=fusion).fit(SHOP, SEVERAL).predict(SHOP[:0]).shape == (0, 3)
    assert regressor().fit(TEXTS, NUMBERS).predict([]).shape == (0,)
    with pytest.raises(ValueError, match="0 sample"):
        classifier().fit([], [])
    with pytest.raises(ValueError, match="0 sample"):
        regressor().fit([], [])


def test_rows_do_not_depend_on_neighbors(of_shop):
    alone = np.hstack([of_shop.decision_function(SHOP[i : i + 1]) for i in range(24)])
    assert_same_rows(alone, of_shop.decision_function(SHOP))
    order = np.random.default_rng(0).permutation(24)
    assert_same_rows(alone[order], of_shop.decision_function(SHOP.iloc[order]))


def test_head_runs_in_batches(monkeypatch, of_shop):
    expected = of_shop.decision_function(SHOP)
    monkeypatch.setattr("sk_sentemb.end_to_end._base._BATCH_ROWS", 5)
    assert_same_rows(of_shop.decision_function(SHOP), expected)
    assert of_shop.predict_proba(SHOP[:20]).shape == (20, 2)


def test_X_and_y_are_not_modified():
    X, y = SHOP.copy(), LABELS.copy()
    X.loc[0] = None
    before = X.copy()
    classifier().fit(X, y).predict(X)
    pd.testing.assert_frame_equal(X, before)
    np.testing.assert_array_equal(y, LABELS)


def with_holes():
    X = SHOP.astype({"price": object})
    for row, name in enumerate(SHOP.columns):
        X.loc[row, name] = None
    X.loc[5] = None
    return X


def test_new_and_missing_cells_in_predict(of_shop):
    X = with_holes()
    assert np.isfinite(of_shop.decision_function(X)).all()
    assert_same_rows(of_shop.decision_function(X)[6:], of_shop.decision_function(SHOP)[6:])
    # One unknown category is as another; a missing number is the median.
    one, other = SHOP.assign(size="XXL"), SHOP.assign(size="tiny")
    np.testing.assert_array_equal(of_shop.predict_proba(one), of_shop.predict_proba(other))
    none, median = SHOP.assign(price=np.nan), SHOP.assign(price=SHOP["price"].median())
    assert_same_rows(of_shop.predict_proba(none), of_shop.predict_proba(median))


@pytest.mark.parametrize("fusion", FUSIONS)
@both
def test_missing_cells_in_fit_are_informative(make, y, fusion):
    X = with_holes()
    fitted = make(fusion=fusion).fit(X, y)
    assert np.isfinite(outputs(fitted, X)).all()
    for frame in (pl.DataFrame, lambda d: pa.Table.from_pandas(pd.DataFrame(d))):
        same = frame({name: [v if v == v else None for v in X[name]] for name in X})
        np.testing.assert_array_equal(
            outputs(make(fusion=fusion).fit(same, y), X), outputs(fitted, X)
        )


def test_missing_indicator_requires_missing_text_in_fit(of_texts):
    empty = of_texts.decision_function([""])
    # Rounding may differ between one row and several.
    np.testing.assert_allclose(
        of_texts.decision_function(MISSING), empty.repeat(len(MISSING)), rtol=1e-6
    )
    X = [None if i % 3 else text for i, text in enumerate(TEXTS)]
    told = classifier().fit(X, LABELS)
    assert told.transform(X).shape[1] == of_texts.transform(X).shape[1] + 1
    assert told.transform([None, "", "?"])[:, -1].tolist() == [1, 0, 0]
    assert told.decision_function([None])[0] != told.decision_function([""])[0]


def test_rows_without_text_are_predicted_by_table():
    """The text decides where there is one, else the price."""
    has_text = np.arange(24) < 12
    X = pd.DataFrame(
        {
            "review": [t if has else None for t, has in zip(TEXTS, has_text, strict=True)],
            "price": np.where(has_text, np.nan, np.tile([1.0, 9.0], 12)),
        }
    )
    fitted = classifier(text="review", dropout=0.0, how=HEAD_ALONE).fit(X, LABELS)
    assert fitted.score(X[~has_text], LABELS[~has_text]) == 1
    assert fitted.score(X[has_text], LABELS[has_text]) > 0.7
    # No text at all, in any row: there is a table to go by.
    nothing = X.assign(review=None)
    alone = classifier(text="review", numeric="price", how=HEAD_ALONE)
    assert alone.fit(nothing[12:], LABELS[12:]).score(nothing[12:], LABELS[12:]) == 1


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("name", ["size", "price", "bought"])
def test_each_part_of_table_is_used(name, fusion):
    X = SHOP.assign(review="always the same text")
    y = X[name].isin(sorted(X[name])[12:])
    fitted = classifier(text="review", fusion=fusion, dropout=0.0, how=HEAD_ALONE)
    assert fitted.fit(X, y).score(X, y) > 0.9


class Brightness(TransformerMixin, BaseEstimator):
    """Stands in for what embeds images."""

    def fit(self, X, y=None):
        self.n_features_out_ = 2
        return self

    def transform(self, X):
        names = np.asarray(X).ravel()
        return np.array([[len(name), name.startswith("b")] for name in names], dtype=np.float32)

    def get_feature_names_out(self, input_features=None):
        return np.array(["length", "bright"], dtype=object)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_each_image_column_is_a_part(fusion):
    X = SHOP.assign(
        front=[f"{'bd'[i % 2]}{i}.png" for i in range(24)], back=[f"d{i}.png" for i in range(24)]
    )
    made = classifier(
        fusion=fusion,
        image=["back", "front"],
        image_embedder=Brightness(),
        dropout=0.0,
        how=HEAD_ALONE,
    )
    fitted = made.fit(X, LABELS)
    assert fitted.head_.feature_sizes == [11, 2, 2]
    assert fitted.score(X, LABELS) == 1
    again = pickle.loads(pickle.dumps(fitted))
    assert_same_rows(again.transform(X), fitted.transform(X))
    if fusion == "concat":
        assert fitted.transform(X)[:2, -4:].tolist() == [[6, 1, 6, 0], [6, 0, 6, 0]]


def test_images_are_embedded_once_and_may_be_missing():
    cache = MemoryCache()
    X = SHOP.assign(photo=[PICTURES[i % 2] for i in range(24)])
    images = ImageEmbedder(TINY_VIT, cache=cache)
    made = classifier(text="review", image="photo", image_embedder=images, how=HEAD_ALONE)
    fitted = made.fit(X, LABELS)
    fitted.predict(X)
    assert cache.statistics().misses == 2
    np.testing.assert_array_equal(
        fitted.transform(X)[:2, -32:], ImageEmbedder(TINY_VIT).fit_transform(PICTURES[:2])
    )
    with pytest.warns(MissingImageWarning):
        assert not fitted.transform(X.assign(photo=None))[:, -32:].any()
    with pytest.raises(ValueError, match="photo"):
        fitted.predict(X.drop(columns="photo"))
    again = pickle.loads(pickle.dumps(fitted))
    assert_same_rows(again.predict_proba(X), fitted.predict_proba(X))


def test_non_finite_features_raise():
    X = SHOP.assign(photo=PICTURES[0])
    images = ImageEmbedder(TINY_VIT, missing="nan")
    made = classifier(text="review", image="photo", image_embedder=images, how=HEAD_ALONE)
    fitted = made.fit(X, LABELS)
    X["photo"] = [*X["photo"][:7], None, *X["photo"][8:]]
    for method in (fitted.predict, lambda X: clone(made).fit(X, LABELS)):
        with pytest.raises(ValueError, match=r"row 7 of X .* has nan in 'image-photo__"):
            method(X)
    of_shop = classifier(how=HEAD_ALONE).fit(SHOP, LABELS)
    with pytest.raises(ValueError, match=r"row 3 of X .* has inf in 'numeric.*price'"):
        of_shop.predict(SHOP.assign(price=[*SHOP["price"][:3], 1e300, *SHOP["price"][4:]]))


def test_truncation_warning_counts_cells():
    with pytest.warns(TruncationWarning, match="24 of 24 texts exceed the limit of 6 tokens"):
        fitted = classifier(max_length=6).fit(TEXTS, LABELS)
    with pytest.warns(TruncationWarning, match="1 of 2 texts exceed the limit of 6 tokens"):
        fitted.predict(["?", TEXTS[0]])
    strict = classifier(long_text="error", max_length=30).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="row 1, column 0 of X has more than 30 tokens"):
        strict.predict(["?", "ferry " * 40])
