"""What every estimator that reads text must do; each check takes one that is not fitted.

scikit-learn's own checks pass numbers, which become text. These pass text.
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
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_sentemb.exceptions import MissingTextWarning
from tests.helpers.tiny_models import OTHER, TINY, assert_other_rows, assert_same_rows

TEXTS = [
    "the ferry passed the pier",
    "the pier passed the ferry",
    "Harbour",
    "Nobody remembers the storm?",
    "The two brothers mend nets, and the two brothers argue about the nets.",
    "?",
]

STRANGE_TEXTS = {
    "empty": "",
    "spaces": "   ",
    "white space": "\t\n\u00a0\u2003\u200b",
    "NUL": "a\x00b",
    "half a surrogate pair": "half \ud83d pair",
    "other half": "\udc00",
    "emoji": "👩‍👩‍👧 🏳️‍🌈 🙂",
    "right to left": "שלום עולם \u202e\u0645\u0631\u062d\u0628\u0627",
    "combining": "e\u0301\u0323" * 9,
    "beyond the plane": "\U0001d517\U0001d522\U0001d535\U0001d531 𐍈",
    "no character": "\ufffe\uffff\ufffd",
    "long word": "ferry" * 40,
}

MISSING = [None, np.nan, float("nan"), pd.NA, pd.NaT, np.ma.masked]

CONTAINERS = {
    "tuple": tuple,
    "list of rows": lambda texts: [[text] for text in texts],
    "numpy str": lambda texts: np.array(texts, dtype=str),
    "numpy object": lambda texts: np.array(texts, dtype=object),
    "numpy of one column": lambda texts: np.array(texts, dtype=object).reshape(-1, 1),
    "pandas Series": lambda texts: pd.Series(texts),
    "pandas categories": lambda texts: pd.Series(texts, dtype="category"),
    "pandas frame": lambda texts: pd.DataFrame({"text": texts}),
    "polars Series": lambda texts: pl.Series("text", texts),
    "polars frame": lambda texts: pl.DataFrame({"text": texts}),
    "pyarrow array": pa.array,
    "pyarrow chunks": lambda texts: pa.chunked_array([texts[:2], texts[2:]]),
    "pyarrow table": lambda texts: pa.table({"text": texts}),
}

FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame}


def rows_of(estimator, X):
    return np.asarray(clone(estimator).fit(X).transform(X))


def check_not_fitted_says_so(estimator):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        estimator.transform(TEXTS)


def check_containers_are_equal(estimator):
    expected = rows_of(estimator, TEXTS)
    for kind, make in CONTAINERS.items():
        np.testing.assert_array_equal(rows_of(estimator, make(TEXTS)), expected, err_msg=kind)


def check_fit_transform_is_fit_and_transform(estimator):
    assert_same_rows(clone(estimator).fit_transform(TEXTS), rows_of(estimator, TEXTS))


def check_rows_keep_their_order(estimator):
    fitted = clone(estimator).fit(TEXTS)
    expected = fitted.transform(TEXTS)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    assert_same_rows(fitted.transform([TEXTS[i] for i in order]), expected[order])
    assert_other_rows(expected, np.roll(expected, 1, axis=0))


def check_rows_do_not_depend_on_neighbours(estimator):
    fitted = clone(estimator).fit(TEXTS)
    alone = np.vstack([fitted.transform([text]) for text in TEXTS])
    assert_same_rows(alone, fitted.transform(TEXTS))


def check_duplicates_are_equal(estimator):
    which = np.random.default_rng(0).permutation(np.repeat(np.arange(len(TEXTS)), 3))
    rows = rows_of(estimator, [TEXTS[i] for i in which])
    for i in range(len(TEXTS)):
        same = rows[which == i]
        np.testing.assert_array_equal(same, same[[0, 0, 0]])


def check_strange_texts_become_finite_rows(estimator):
    fitted = clone(estimator).fit(TEXTS)
    with warnings.catch_warnings():
        # An empty text is a text: nothing is missing.
        warnings.simplefilter("error")
        rows = fitted.transform(list(STRANGE_TEXTS.values()))
    assert np.isfinite(rows).all()
    for row, (kind, text) in zip(rows, STRANGE_TEXTS.items(), strict=True):
        assert np.abs(row).max() > 0, kind
        assert_same_rows(row, fitted.transform([text])[0])


def check_missing_texts_follow_the_policy(estimator):
    present = rows_of(estimator, TEXTS)
    cells = [*TEXTS, *MISSING]
    empty = clone(estimator).fit(TEXTS).transform([""])
    filled = {"zero": 0 * empty, "nan": np.nan * empty, "empty": empty}
    for policy, row in filled.items():
        fitted = clone(estimator).set_params(missing=policy).fit(TEXTS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MissingTextWarning)
            rows = fitted.transform(cells)
        assert_same_rows(rows[: len(TEXTS)], present)
        assert_same_rows(rows[len(TEXTS) :], np.repeat(row, len(MISSING), axis=0))
    with pytest.raises(ValueError, match=f"row {len(TEXTS)}, column 0 of X has no text"):
        clone(estimator).set_params(missing="error").fit_transform(cells)


def check_no_rows_give_no_rows(estimator):
    n_columns = rows_of(estimator, TEXTS).shape[1]
    for kind, make in CONTAINERS.items():
        rows = clone(estimator).fit(make(TEXTS)).transform(make([]))
        assert rows.shape == (0, n_columns), kind
        assert rows.dtype == np.float32, kind
    with pytest.raises(ValueError, match="0 sample"):
        clone(estimator).fit([])


def check_columns_stand_side_by_side(estimator):
    left, right = TEXTS, TEXTS[::-1]
    rows = rows_of(estimator, pd.DataFrame({"left": left, "right": right}))
    one_by_one = [rows_of(estimator, left), rows_of(estimator, right)]
    assert_same_rows(rows, np.hstack(one_by_one))


def check_number_of_columns(estimator):
    fitted = clone(estimator).fit(TEXTS)
    assert fitted.n_features_in_ == 1
    with pytest.raises(ValueError, match=r"X has 2 features, but .* is expecting 1 features"):
        fitted.transform([["a", "b"]])


def check_one_string_is_no_column(estimator):
    with pytest.raises(ValueError, match="string object received"):
        clone(estimator).fit(TEXTS[0])


def check_X_stays_as_it_is(estimator):
    cells = [*TEXTS, None]
    for make in (list, np.array, pd.Series, lambda x: pd.DataFrame({"t": x}), pl.Series):
        X = make(cells)
        before = copy.deepcopy(X)
        clone(estimator).set_params(missing="empty").fit_transform(X)
        assert type(X) is type(before)
        assert list(np.ravel(X)) == list(np.ravel(before))


def check_clone(estimator):
    fitted = clone(estimator).fit(TEXTS)
    copied = clone(fitted)
    with pytest.raises(NotFittedError):
        copied.transform(TEXTS)
    assert copied.get_params() == estimator.get_params()
    np.testing.assert_array_equal(rows_of(copied, TEXTS), fitted.transform(TEXTS))


def check_params_come_back_as_they_went_in(estimator):
    params = estimator.get_params()
    made = type(estimator)(**params)
    assert all(value is params[name] for name, value in made.get_params().items())
    changed = type(estimator)().set_params(**params)
    assert changed.get_params() == params


def check_copies_give_the_same_rows(estimator):
    fitted = clone(estimator).fit(TEXTS)
    stream = io.BytesIO()
    joblib.dump(fitted, stream)
    stream.seek(0)
    copies = [
        pickle.loads(pickle.dumps(fitted)),
        joblib.load(stream),
        copy.deepcopy(fitted),
        copy.copy(fitted),
    ]
    for copied in copies:
        assert copied.get_params() == fitted.get_params()
        np.testing.assert_array_equal(copied.transform(TEXTS), fitted.transform(TEXTS))


def check_threads_share_one_estimator(estimator):
    fitted = clone(estimator).fit(TEXTS)
    jobs = [TEXTS[i % len(TEXTS) :] for i in range(32)]
    expected = [fitted.transform(X) for X in jobs]
    with ThreadPoolExecutor(16) as pool:
        for rows, right in zip(pool.map(fitted.transform, jobs), expected, strict=True):
            np.testing.assert_array_equal(rows, right)


def check_output_frames(estimator):
    expected = rows_of(estimator, TEXTS)
    X = pd.DataFrame({"text": TEXTS}, index=range(10, 10 + len(TEXTS)))
    for kind, frame in FRAMES.items():
        fitted = clone(estimator).set_output(transform=kind).fit(X)
        rows = fitted.transform(X)
        assert type(rows) is frame
        assert list(rows.columns) == list(fitted.get_feature_names_out())
        np.testing.assert_array_equal(rows.to_numpy(), expected)
        if kind == "pandas":
            assert list(rows.index) == list(X.index)


def check_feature_names(estimator):
    dim = rows_of(estimator, TEXTS).shape[1]
    cases = [
        (TEXTS, ["x0"]),
        (pd.Series(TEXTS), ["x0"]),
        (pd.Series(TEXTS, name="t"), ["t"]),
        (pd.DataFrame({"t": TEXTS}), ["t"]),
        (pl.DataFrame({"t": TEXTS}), ["t"]),
        ([[text, text] for text in TEXTS], ["x0", "x1"]),
        (pd.DataFrame({"a": TEXTS, "b": TEXTS}), ["a", "b"]),
    ]
    for X, columns in cases:
        names = clone(estimator).fit(X).get_feature_names_out()
        assert list(names) == [f"{column}_{i}" for column in columns for i in range(dim)]
    named = clone(estimator).fit(TEXTS).get_feature_names_out(["given"])
    assert list(named) == [f"given_{i}" for i in range(dim)]


def check_column_transformer(estimator):
    expected = rows_of(estimator, TEXTS)
    for make in FRAMES.values():
        X = make({"n": range(len(TEXTS)), "t": TEXTS})
        for columns in ("t", ["t"]):
            table = ColumnTransformer([("e", clone(estimator), columns)])
            np.testing.assert_array_equal(table.fit_transform(X), expected)
            np.testing.assert_array_equal(table.transform(X), expected)
            assert table.get_feature_names_out()[0] == "e__t_0"


def check_a_new_model_is_used_by_the_next_fit(estimator):
    fitted = clone(estimator).fit(TEXTS)
    before = fitted.transform(TEXTS)
    after = fitted.set_params(model=OTHER).fit(TEXTS).transform(TEXTS)
    assert_other_rows(after, before)
    np.testing.assert_array_equal(after, rows_of(clone(estimator).set_params(model=OTHER), TEXTS))


def check_grid_search_uses_every_model(estimator):
    def mean_of_rows(fitted, X, y=None):
        return float(np.mean(fitted.transform(X)))

    def search(models):
        pipeline = Pipeline([("embedder", clone(estimator))])
        grid = {"embedder__model": models}
        first_half = [(np.arange(3, 6), np.arange(3))]
        searched = GridSearchCV(
            pipeline, grid, scoring=mean_of_rows, cv=first_half, error_score="raise"
        )
        return searched.fit(TEXTS).cv_results_["mean_test_score"]

    alone = [rows_of(clone(estimator).set_params(model=m), TEXTS[:3]).mean() for m in (TINY, OTHER)]
    np.testing.assert_allclose(search([TINY, OTHER]), alone, rtol=0, atol=1e-6)
    assert abs(alone[0] - alone[1]) > 1e-4
    with pytest.raises(OSError, match="there is no folder"):
        search([TINY, TINY / "nowhere"])


def check_nothing_is_printed(estimator):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        clone(estimator).set_params(verbose=0).fit(TEXTS).transform(TEXTS)
        clone(estimator).set_params(verbose=0).fit_transform(TEXTS)
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
    clone(estimator).fit_transform(TEXTS)
    assert state() == before


TEXT_CHECKS = [check for name, check in globals().items() if name.startswith("check_")]
