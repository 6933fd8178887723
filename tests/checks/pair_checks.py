"""What every estimator that reads pairs must do; each check takes one that is not fitted.

As text_checks says of what reads single texts. With a fine_tuner, they train as well.
"""

import copy
import io
import os
import pickle
import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sk_sentemb.exceptions import TruncationWarning
from tests.checks.text_checks import MISSING, STRANGE_TEXTS
from tests.helpers.tiny_models import (
    NLI,
    OTHER_NLI,
    OTHER_SCORER,
    TINY_NLI,
    TINY_SCORER,
    assert_other_rows,
    assert_same_rows,
)

PAIRS = [
    ("the ferry passed the pier", "the pier passed the ferry"),
    ("the pier passed the ferry", "the ferry passed the pier"),
    ("the ferry passed the pier", "Harbour"),
    ("Nobody remembers the storm?", "Nobody remembers the storm?"),
    ("?", "The two brothers mend nets, and the two brothers argue about the nets."),
    ("The two brothers mend nets, and the two brothers argue about the nets.", "?"),
    ("Harbour", "?"),
    ("?", "Harbour"),
]
SCORES = [0.9, 0.8, 0.3, 1.0, 0.0, 0.1, 0.2, 0.25]
CLASSES = [NLI[i % 3] for i in range(len(PAIRS))]

CONTAINERS = {
    "list of tuples": list,
    "tuple of tuples": tuple,
    "list of lists": lambda pairs: [list(pair) for pair in pairs],
    "numpy str": lambda pairs: np.array(pairs, dtype=str).reshape(-1, 2),
    "numpy object": lambda pairs: np.array(pairs, dtype=object).reshape(-1, 2),
    "pandas": lambda pairs: pd.DataFrame(pairs, columns=["a", "b"]),
    "pandas without names": lambda pairs: pd.DataFrame(pairs, columns=range(2)),
    "pandas categories": lambda pairs: pd.DataFrame(pairs, columns=["a", "b"]).astype("category"),
    "polars": lambda pairs: pl.DataFrame(pairs, ["a", "b"], orient="row"),
    "pyarrow": lambda pairs: pa.table(
        {name: pa.array([pair[i] for pair in pairs], pa.string()) for i, name in enumerate("ab")}
    ),
}


def target_of(estimator):
    return CLASSES if is_classifier(estimator) else SCORES


def fitted_to(estimator, X=PAIRS, y=None):
    return clone(estimator).fit(X, target_of(estimator) if y is None else y)


def rows_of(fitted, X):
    """Return the logits, one row for each pair."""
    rows = fitted.decision_function(X)
    return rows.reshape(len(rows), -1)


def methods_of(estimator):
    names = ("predict", "decision_function", "predict_proba", "transform")
    return [name for name in names if hasattr(estimator, name)]


def check_not_fitted_says_so(estimator):
    for name in methods_of(estimator):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            getattr(estimator, name)(PAIRS)
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        estimator.save_pretrained("nowhere")


def check_containers_are_equal(estimator):
    expected = fitted_to(estimator).decision_function(PAIRS)
    for kind, make in CONTAINERS.items():
        fitted = fitted_to(estimator, make(PAIRS))
        found = fitted.decision_function(make(PAIRS))
        np.testing.assert_array_equal(found, expected, err_msg=kind)
        names = getattr(fitted, "feature_names_in_", None)
        named = kind in ("pandas", "pandas categories", "polars", "pyarrow")
        assert (None if names is None else list(names)) == (["a", "b"] if named else None)
        assert fitted.n_features_in_ == 2


def check_targets_in_any_container_are_equal(estimator):
    expected = fitted_to(estimator).decision_function(PAIRS)
    y = target_of(estimator)
    for make in (tuple, np.array, pd.Series, pl.Series, pa.array):
        found = fitted_to(estimator, y=make(y)).decision_function(PAIRS)
        np.testing.assert_array_equal(found, expected, err_msg=str(make))


def check_fit_is_the_same_again(estimator):
    one, other = fitted_to(estimator), fitted_to(estimator)
    assert one.fingerprint_ == other.fingerprint_ == one.encoder_.fingerprint
    np.testing.assert_array_equal(rows_of(one, PAIRS), rows_of(other, PAIRS))
    again = one.fit(PAIRS, target_of(estimator))
    assert again is one
    np.testing.assert_array_equal(rows_of(one, PAIRS), rows_of(other, PAIRS))


def check_rows_keep_their_order(estimator):
    fitted = fitted_to(estimator)
    expected = rows_of(fitted, PAIRS)
    order = np.random.default_rng(0).permutation(len(PAIRS))
    assert_same_rows(rows_of(fitted, [PAIRS[i] for i in order]), expected[order])
    assert_other_rows(expected[:4], expected[4:])


def check_rows_do_not_depend_on_neighbours(estimator):
    fitted = clone(estimator).set_params(cache=None).fit(PAIRS, target_of(estimator))
    alone = np.vstack([rows_of(fitted, [pair]) for pair in PAIRS])
    assert_same_rows(alone, rows_of(fitted, PAIRS))
    for batch_tokens in (1, 40, 100_000):
        assert_same_rows(
            rows_of(fitted.set_params(batch_tokens=batch_tokens), PAIRS * 5)[:8], alone
        )


def check_duplicates_are_equal(estimator):
    which = np.random.default_rng(0).permutation(np.repeat(np.arange(len(PAIRS)), 3))
    rows = rows_of(fitted_to(estimator), [PAIRS[i] for i in which])
    for i in range(len(PAIRS)):
        same = rows[which == i]
        np.testing.assert_array_equal(same, same[[0, 0, 0]])


def check_the_order_of_the_two_texts_counts_unless_it_shall_not(estimator):
    fitted = fitted_to(estimator)
    pairs = [pair for pair in PAIRS if pair[0] != pair[1]]
    swapped = [pair[::-1] for pair in pairs]
    one_way = {
        symmetric: [rows_of(fitted.set_params(symmetric=symmetric), X) for X in (pairs, swapped)]
        for symmetric in (False, True)
    }
    assert_other_rows(*one_way[False])
    np.testing.assert_array_equal(*one_way[True])
    assert_same_rows(one_way[True][0], np.mean(one_way[False], axis=0))


def check_strange_texts_become_finite_rows(estimator):
    fitted = fitted_to(estimator)
    texts = list(STRANGE_TEXTS.values())
    pairs = [*((text, "Harbour") for text in texts), *(("Harbour", text) for text in texts)]
    with warnings.catch_warnings():
        # An empty text is a text: nothing is missing.
        warnings.simplefilter("error")
        fitted_to(estimator, pairs, (target_of(estimator) * 9)[: len(pairs)])
        rows = rows_of(fitted, [*pairs, ("", "")])
    assert np.isfinite(rows).all()
    for row, pair in zip(rows, pairs, strict=False):
        assert_same_rows(row, rows_of(fitted, [pair])[0])


def check_missing_texts_follow_the_policy(estimator):
    fitted = fitted_to(estimator)
    present = rows_of(fitted, PAIRS)
    for side in (0, 1):
        gone = [("?", cell)[:: 1 if side else -1] for cell in MISSING]
        X = np.array([*PAIRS, *gone], dtype=object)
        n_cells = len(MISSING)
        message = (
            rf"row 8, column {side} of X has no text \({n_cells} cells have none\)\. Fill them, or "
        )
        for name in methods_of(estimator):
            with pytest.raises(ValueError, match=message + "pass missing="):
                getattr(fitted_to(estimator).set_params(missing="error"), name)(X)
        if "nan" in estimator._missing_policies:
            rows = rows_of(clone(fitted).set_params(missing="nan").fit(PAIRS, SCORES), X)
            assert_same_rows(rows[:8], present)
            assert np.isnan(rows[8:]).all()
        kept = clone(fitted).set_params(missing="empty").fit(PAIRS, target_of(estimator))
        rows = rows_of(kept, X)
        assert_same_rows(rows[:8], present)
        empty = rows_of(kept, [("?", "")[:: 1 if side else -1]])
        assert_same_rows(rows[8:], np.repeat(empty, n_cells, axis=0))


def check_missing_texts_in_fit_follow_the_policy(estimator):
    X = [*PAIRS[:6], ("?", None), (np.nan, "?")]
    y = target_of(estimator)
    with pytest.raises(ValueError, match=r"row 6, column 1 of X has no text \(2 cells have none\)"):
        clone(estimator).set_params(missing="error").fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", TruncationWarning)
        empty = clone(estimator).set_params(missing="empty").fit(X, y)
    filled = fitted_to(estimator, [*PAIRS[:6], ("?", ""), ("", "?")])
    np.testing.assert_array_equal(rows_of(empty, PAIRS), rows_of(filled, PAIRS))


def check_no_rows_give_no_rows(estimator):
    fitted = fitted_to(estimator)
    shapes = {name: getattr(fitted, name)(PAIRS).shape[1:] for name in methods_of(fitted)}
    for kind, make in CONTAINERS.items():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X has feature names")
            for name, shape in shapes.items():
                assert getattr(fitted, name)(make([])).shape == (0, *shape), kind
    for X in ([], np.empty((0, 2), dtype=object), pd.DataFrame({"a": [], "b": []})):
        with pytest.raises(ValueError, match="0 sample"):
            clone(estimator).fit(X, [])


def check_number_of_columns(estimator):
    fitted = fitted_to(estimator)
    y = target_of(estimator)
    frame = pd.DataFrame(PAIRS, columns=["a", "b"])
    for X, n in ((frame[["a"]], 1), (frame.assign(c="c", d="d"), 4)):
        message = rf"X has {n} columns? of text, and a pair has two\. Pass a data frame of two"
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


def check_what_is_no_pairs_is_named(estimator):
    for X in ("the ferry", ("the ferry", "the pier"), ["the ferry", "the pier"]):
        with pytest.raises(ValueError, match=r"X (is the single string|has 1 column of text)"):
            clone(estimator).fit(X, target_of(estimator)[: len(X)])
    with pytest.raises(TypeError, match="bytes in row 0"):
        clone(estimator).fit([(b"a", "b"), *PAIRS[1:]], target_of(estimator))
    fitted = fitted_to(estimator)
    with pytest.raises(ValueError, match="X is the single string 'the ferry'"):
        fitted.predict("the ferry")
    with pytest.raises(ValueError, match="X has 1 features"):
        fitted.predict(PAIRS[0])


def check_y_that_does_not_fit_is_named(estimator):
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


def check_column_names_must_be_those_of_fit(estimator):
    frame = pd.DataFrame(PAIRS, columns=["a", "b"])
    fitted = fitted_to(estimator, frame)
    with pytest.raises(ValueError, match="feature names should match those that were passed"):
        fitted.predict(frame[["b", "a"]])
    unnamed = fitted_to(estimator)
    assert not hasattr(unnamed, "feature_names_in_")


def check_X_stays_as_it_is(estimator):
    cells = [*PAIRS[:7], ("?", None)]
    for make in (list, np.array, pd.DataFrame, CONTAINERS["polars"]):
        X = make(cells)
        before = copy.deepcopy(X)
        y = np.array(target_of(estimator))
        clone(estimator).set_params(missing="empty").fit(X, y).predict(X)
        assert type(X) is type(before)
        assert list(np.ravel(X)) == list(np.ravel(before))
        np.testing.assert_array_equal(y, target_of(estimator))


def check_clone(estimator):
    fitted = fitted_to(estimator)
    copied = clone(fitted)
    with pytest.raises(NotFittedError):
        copied.predict(PAIRS)
    assert repr(copied.get_params()) == repr(estimator.get_params())
    assert not [name for name in vars(copied) if name.endswith("_")]
    np.testing.assert_array_equal(rows_of(fitted_to(copied), PAIRS), rows_of(fitted, PAIRS))


def check_params_come_back_as_they_went_in(estimator):
    params = estimator.get_params(deep=False)
    made = type(estimator)(**params)
    assert all(value is params[name] for name, value in made.get_params(deep=False).items())
    assert type(estimator)().set_params(**params).get_params(deep=False) == params


def check_copies_give_the_same_rows(estimator):
    fitted = fitted_to(estimator)
    stream = io.BytesIO()
    joblib.dump(fitted, stream)
    stream.seek(0)
    expected = {name: getattr(fitted, name)(PAIRS) for name in methods_of(fitted)}
    shared = [copy.deepcopy(fitted), copy.copy(fitted)]
    read = [pickle.loads(pickle.dumps(fitted)), joblib.load(stream)]
    assert all(copied.encoder_ is fitted.encoder_ for copied in shared)
    for copied in (*shared, *read):
        assert repr(copied) == repr(fitted)
        assert copied.fingerprint_ == fitted.fingerprint_ == copied.encoder_.fingerprint
        copied.set_params(cache=None)
        for name, rows in expected.items():
            if rows.dtype.kind == "f":
                assert_same_rows(getattr(copied, name)(PAIRS), rows)
            else:
                np.testing.assert_array_equal(getattr(copied, name)(PAIRS), rows)


def check_weights_are_pickled_where_they_must_be(estimator):
    fitted = fitted_to(estimator)
    by_name = fitted.fine_tuner is None and not fitted.store_weights_in_pickle
    assert (len(pickle.dumps(fitted)) < 5_000) == by_name
    assert (pickle.loads(pickle.dumps(fitted)).encoder_ is fitted.encoder_) == by_name


def check_threads_share_one_estimator(estimator):
    fitted = fitted_to(estimator)
    jobs = [PAIRS[i % len(PAIRS) :] for i in range(32)]
    expected = [fitted.predict(X) for X in jobs]
    fitted.set_params(cache=None)
    with ThreadPoolExecutor(16) as pool:
        for rows, right in zip(pool.map(fitted.predict, jobs), expected, strict=True):
            if is_classifier(estimator):
                np.testing.assert_array_equal(rows, right)
            else:
                assert_same_rows(rows, right)


def check_threads_fit_side_by_side(estimator):
    expected = rows_of(fitted_to(estimator), PAIRS)
    with ThreadPoolExecutor(4) as pool:
        for fitted in pool.map(fitted_to, [estimator] * 6):
            np.testing.assert_array_equal(rows_of(fitted, PAIRS), expected)


def others_of(estimator):
    return (TINY_NLI, OTHER_NLI) if is_classifier(estimator) else (TINY_SCORER, OTHER_SCORER)


def check_a_new_model_is_used_by_the_next_fit(estimator):
    tiny, other = others_of(estimator)
    fitted = fitted_to(clone(estimator).set_params(model=tiny))
    before, y = rows_of(fitted, PAIRS), target_of(estimator)
    after = rows_of(fitted.set_params(model=other).fit(PAIRS, y), PAIRS)
    assert_other_rows(after, before)
    expected = rows_of(fitted_to(clone(estimator).set_params(model=other)), PAIRS)
    np.testing.assert_array_equal(after, expected)


def check_grid_search_uses_every_model(estimator):
    def mean_of_rows(fitted, X, y=None):
        return float(np.mean(fitted.decision_function(X)))

    def search(models):
        halves = [(np.arange(4), np.arange(4, 8))]
        searched = GridSearchCV(
            clone(estimator),
            {"model": models},
            scoring=mean_of_rows,
            cv=halves,
            error_score="raise",
        )
        return searched.fit(PAIRS, y).cv_results_["mean_test_score"]

    y = target_of(estimator)
    alone = []
    for model in others_of(estimator):
        fitted = clone(estimator).set_params(model=model).fit(PAIRS[:4], y[:4])
        alone.append(mean_of_rows(fitted, PAIRS[4:]))
    np.testing.assert_allclose(search(list(others_of(estimator))), alone, rtol=0, atol=1e-6)
    assert abs(alone[0] - alone[1]) > 1e-4
    with pytest.raises(OSError, match="there is no folder"):
        search([others_of(estimator)[0], TINY_NLI / "nowhere"])


def check_nothing_is_printed(estimator):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        fitted_to(clone(estimator).set_params(verbose=0)).predict(PAIRS)
    assert out.getvalue() + err.getvalue() == ""


def check_global_state_stays_as_it_is(estimator):
    def state():
        return {
            "environment": dict(os.environ),
            "warnings": list(warnings.filters),
            "python": random.getstate(),
            "numpy": str(np.random.get_state(legacy=False)),  # noqa: NPY002
            "torch": torch.get_rng_state().tolist(),
            "threads": torch.get_num_threads(),
            "dtype": torch.get_default_dtype(),
            "grad": torch.is_grad_enabled(),
        }

    before = state()
    fitted_to(estimator).predict(PAIRS)
    assert state() == before


def check_what_is_saved_is_loaded(estimator, folder):
    fitted = fitted_to(estimator)
    fitted.save_pretrained(folder)
    settings = {"symmetric": fitted.symmetric, "long_text": fitted.long_text}
    again = type(estimator)(folder, **settings).fit(PAIRS, target_of(estimator))
    assert_same_rows(rows_of(again, PAIRS), rows_of(fitted, PAIRS))
    if is_classifier(estimator):
        np.testing.assert_array_equal(again.predict(PAIRS), fitted.predict(PAIRS))
    else:
        assert_same_rows(again.predict(PAIRS), fitted.predict(PAIRS))


PAIR_CHECKS = [check for name, check in globals().items() if name.startswith("check_")]
