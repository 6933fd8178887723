"""What every cross-encoder must do, in addition to the shared checks."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone, is_classifier

from sk_sentemb.exceptions import TruncationWarning
from tests.checks.data import (
    MISSING,
    PAIR_CONTAINERS,
    PAIRS,
    SCORES,
    STRANGE_TEXTS,
    data_for,
    methods_of,
)
from tests.helpers.tiny_models import assert_other_rows, assert_same_rows


def target_of(estimator):
    return data_for(estimator).y


def fit(estimator, X=PAIRS, y=None):
    return data_for(estimator).fit(estimator, X, y)


def compute_rows(fitted, X):
    """Compute the logits, one row for each pair."""
    return data_for(fitted).compute_rows(fitted, X)


def check_column_names_are_those_of_the_container(estimator):
    for kind, make in PAIR_CONTAINERS.items():
        names = getattr(fit(estimator, make(PAIRS)), "feature_names_in_", None)
        named = kind in ("pandas", "pandas categories", "polars", "pyarrow")
        assert (None if names is None else list(names)) == (["a", "b"] if named else None), kind


def check_columns_in_another_order_are_rejected(estimator):
    frame = pd.DataFrame(PAIRS, columns=["a", "b"])
    with pytest.raises(ValueError, match="feature names should match those that were passed"):
        fit(estimator, frame).predict(frame[["b", "a"]])


def check_y_containers_give_equal_rows(estimator):
    expected = fit(estimator).decision_function(PAIRS)
    y = target_of(estimator)
    for make in (tuple, np.array, pd.Series, pl.Series, pa.array):
        found = fit(estimator, y=make(y)).decision_function(PAIRS)
        np.testing.assert_array_equal(found, expected, err_msg=str(make))


def check_symmetric_averages_both_orders(estimator):
    fitted = fit(estimator)
    pairs = [pair for pair in PAIRS if pair[0] != pair[1]]
    swapped = [pair[::-1] for pair in pairs]
    one_way = {
        symmetric: [
            compute_rows(fitted.set_params(symmetric=symmetric), X) for X in (pairs, swapped)
        ]
        for symmetric in (False, True)
    }
    assert_other_rows(*one_way[False])
    np.testing.assert_array_equal(*one_way[True])
    assert_same_rows(one_way[True][0], np.mean(one_way[False], axis=0))


def check_strange_texts_give_finite_rows(estimator):
    fitted = fit(estimator)
    texts = list(STRANGE_TEXTS.values())
    pairs = [*((text, "Harbour") for text in texts), *(("Harbour", text) for text in texts)]
    with warnings.catch_warnings():
        # An empty text is a text: nothing is missing.
        warnings.simplefilter("error")
        fit(estimator, pairs, (target_of(estimator) * 9)[: len(pairs)])
        rows = compute_rows(fitted, [*pairs, ("", "")])
    assert np.isfinite(rows).all()
    for row, pair in zip(rows, pairs, strict=False):
        assert_same_rows(row, compute_rows(fitted, [pair])[0])


def check_missing_texts_follow_policy(estimator):
    fitted = fit(estimator)
    present = compute_rows(fitted, PAIRS)
    for side in (0, 1):
        gone = [("?", cell)[:: 1 if side else -1] for cell in MISSING]
        X = np.array([*PAIRS, *gone], dtype=object)
        n_cells = len(MISSING)
        message = rf"row 8, column {side} of X has no text \({n_cells} in all\)\. Fill them, or "
        for name in methods_of(estimator):
            with pytest.raises(ValueError, match=message + "pass missing="):
                getattr(fit(estimator).set_params(missing="error"), name)(X)
        if "nan" in estimator._missing_policies:
            rows = compute_rows(clone(fitted).set_params(missing="nan").fit(PAIRS, SCORES), X)
            assert_same_rows(rows[:8], present)
            assert np.isnan(rows[8:]).all()
        kept = clone(fitted).set_params(missing="empty").fit(PAIRS, target_of(estimator))
        rows = compute_rows(kept, X)
        assert_same_rows(rows[:8], present)
        empty = compute_rows(kept, [("?", "")[:: 1 if side else -1]])
        assert_same_rows(rows[8:], np.repeat(empty, n_cells, axis=0))


def check_missing_texts_in_fit_follow_policy(estimator):
    X = [*PAIRS[:6], ("?", None), (np.nan, "?")]
    y = target_of(estimator)
    with pytest.raises(ValueError, match=r"row 6, column 1 of X has no text \(2 in all\)"):
        clone(estimator).set_params(missing="error").fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", TruncationWarning)
        empty = clone(estimator).set_params(missing="empty").fit(X, y)
    filled = fit(estimator, [*PAIRS[:6], ("?", ""), ("", "?")])
    np.testing.assert_array_equal(compute_rows(empty, PAIRS), compute_rows(filled, PAIRS))


def check_number_of_texts_is_validated(estimator):
    fitted = fit(estimator)
    y = target_of(estimator)
    frame = pd.DataFrame(PAIRS, columns=["a", "b"])
    for X, n in ((frame[["a"]], 1), (frame.assign(c="c", d="d"), 4)):
        message = rf"X has {n} text columns?, but a pair has two\. Pass a data frame of two"
        with pytest.raises(ValueError, match=message):
            clone(estimator).fit(X, y)
    three = [(a, b, "c") for a, b in PAIRS]
    texts = [first for first, _ in PAIRS]
    for name in methods_of(estimator):
        for X, n in ((three, 3), (texts, 1), (np.array(texts), 1), (pd.Series(texts), 1)):
            message = rf"X has {n} features, but \w+ is expecting 2 features"
            with pytest.raises(ValueError, match=message):
                getattr(fitted, name)(X)
    with pytest.raises(ValueError, match="rows of different lengths: row 0 has 2 cells, row 8"):
        fitted.predict([*PAIRS, ("a", "b", "c")])


def check_single_texts_are_rejected(estimator):
    for X in ("the ferry", ("the ferry", "the pier"), ["the ferry", "the pier"]):
        with pytest.raises(ValueError, match=r"X (is the single string|has 1 text column,)"):
            clone(estimator).fit(X, target_of(estimator)[: len(X)])
    with pytest.raises(TypeError, match="bytes in row 0"):
        clone(estimator).fit([(b"a", "b"), *PAIRS[1:]], target_of(estimator))
    fitted = fit(estimator)
    with pytest.raises(ValueError, match="X is the single string 'the ferry'"):
        fitted.predict("the ferry")
    with pytest.raises(ValueError, match="X has 1 features"):
        fitted.predict(PAIRS[0])


def check_y_and_sample_weight_are_validated(estimator):
    y = target_of(estimator)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[8, 7\]"):
        clone(estimator).fit(PAIRS, y[:-1])
    for gone in (None, np.nan, pd.NA):
        with pytest.raises(ValueError, match=r"y\[3\] is missing \(NaN, None or masked\)"):
            clone(estimator).fit(PAIRS, [*y[:3], gone, *y[4:]])
    for weight, message in (
        (np.zeros(8), "weight.* (zero|non-zero)"),
        (np.full(8, -1.0), "Negative values in data passed to `sample_weight`"),
        (np.ones(7), "sample_weight.shape"),
    ):
        with pytest.raises(ValueError, match=message):
            clone(estimator).fit(PAIRS, y, sample_weight=weight)


def check_saved_model_is_loaded(estimator, folder):
    fitted = fit(estimator)
    fitted.save_pretrained(folder)
    settings = {"symmetric": fitted.symmetric, "long_text": fitted.long_text}
    again = type(estimator)(folder, **settings).fit(PAIRS, target_of(estimator))
    assert_same_rows(compute_rows(again, PAIRS), compute_rows(fitted, PAIRS))
    if is_classifier(estimator):
        np.testing.assert_array_equal(again.predict(PAIRS), fitted.predict(PAIRS))
    else:
        assert_same_rows(again.predict(PAIRS), fitted.predict(PAIRS))


PAIR_CHECKS = [check for name, check in globals().items() if name.startswith("check_")]
