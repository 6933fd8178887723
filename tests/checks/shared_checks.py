"""What every estimator around a pretrained model must do; each check takes one that is not fitted.

scikit-learn's own checks pass numbers. These pass texts, pairs or images; with a fine_tuner, they train.
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
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from tests.checks.data import data_for, methods_of
from tests.helpers.tiny_models import assert_other_rows, assert_same_rows


def check_methods_raise_before_fit(estimator):
    data = data_for(estimator)
    for name in [*methods_of(estimator), "save_pretrained"]:
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            getattr(estimator, name)(data.X)


def check_containers_give_equal_rows(estimator):
    data = data_for(estimator)
    expected = data.fit_and_compute(estimator)
    for kind, make in data.containers.items():
        found = data.fit_and_compute(estimator, make(data.X))
        np.testing.assert_array_equal(found, expected, err_msg=kind)


def check_refit_gives_equal_rows(estimator):
    data = data_for(estimator)
    one, other = data.fit(estimator), data.fit(estimator)
    expected = data.compute_rows(other)
    assert one.fingerprint_ == other.fingerprint_ == one.encoder_.fingerprint
    np.testing.assert_array_equal(data.compute_rows(one), expected)
    assert one.fit(data.X, data.y) is one
    np.testing.assert_array_equal(data.compute_rows(one), expected)


def check_rows_keep_their_order(estimator):
    data = data_for(estimator)
    fitted = data.fit(estimator)
    expected = data.compute_rows(fitted)
    order = np.random.default_rng(0).permutation(len(data.X))
    assert_same_rows(data.compute_rows(fitted, [data.X[i] for i in order]), expected[order])
    assert_other_rows(expected, np.roll(expected, len(expected) // 2, axis=0))


def check_rows_do_not_depend_on_neighbors(estimator):
    data = data_for(estimator)
    fitted = data.fit(clone(estimator).set_params(cache=None))
    alone = np.vstack([data.compute_rows(fitted, [row]) for row in data.X])
    assert_same_rows(alone, data.compute_rows(fitted))
    name = "batch_tokens" if hasattr(fitted, "batch_tokens") else "batch_size"
    for size in (1, 40, 100_000):
        rows = data.compute_rows(fitted.set_params(**{name: size}), data.X * 5)
        assert_same_rows(rows[: len(alone)], alone)


def check_duplicates_give_equal_rows(estimator):
    data = data_for(estimator)
    which = np.random.default_rng(0).permutation(np.repeat(np.arange(len(data.X)), 3))
    rows = data.compute_rows(data.fit(estimator), [data.X[i] for i in which])
    for i in range(len(data.X)):
        same = rows[which == i]
        np.testing.assert_array_equal(same, same[[0, 0, 0]])


def check_no_rows_give_no_rows(estimator):
    data = data_for(estimator)
    fitted = data.fit(estimator)
    expected = {name: getattr(fitted, name)(data.X) for name in methods_of(fitted)}
    for kind, make in data.containers.items():
        fitted = data.fit(estimator, make(data.X))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X (has|does not have valid) feature names")
            for name, rows in expected.items():
                found = np.asarray(getattr(fitted, name)(make([])))
                assert found.shape == (0, *rows.shape[1:]), kind
                assert found.dtype == rows.dtype, kind
    for X in ([], make([]), np.empty((0, data.n_columns), dtype=object)):
        with pytest.raises(ValueError, match="0 sample"):
            clone(estimator).fit(X, [])


def check_number_of_columns_is_validated(estimator):
    data = data_for(estimator)
    fitted = data.fit(estimator)
    assert fitted.n_features_in_ == data.n_columns
    more = [["?"] * (data.n_columns + 1)] * 2
    for name in methods_of(fitted):
        message = (
            rf"X has {data.n_columns + 1} features, but \w+ is expecting {data.n_columns} feat"
        )
        with pytest.raises(ValueError, match=message):
            getattr(fitted, name)(more)


def check_column_names_are_validated(estimator):
    data = data_for(estimator)
    frame = pd.DataFrame(np.reshape(data.X, (len(data.X), -1)))
    fitted = data.fit(estimator, frame.add_prefix("column "))
    assert list(fitted.feature_names_in_) == [f"column {i}" for i in range(data.n_columns)]
    for name in methods_of(fitted):
        with pytest.raises(ValueError, match="feature names should match those that were passed"):
            getattr(fitted, name)(frame.add_prefix("other "))
    assert not hasattr(fitted.fit(data.X, data.y), "feature_names_in_")


def check_X_is_not_modified(estimator):
    data = data_for(estimator)
    gone = None if data.n_columns == 1 else ("?", None)
    cells = [*data.X[:-1], gone]
    estimator = clone(estimator).set_params(missing=data.missing[-1])
    for make in (list, np.array, pd.DataFrame, pl.DataFrame):
        X = make(cells) if make is not pl.DataFrame else make(cells, orient="row")
        y = None if data.y is None else np.array(data.y)
        before = copy.deepcopy(X)
        data.compute_rows(clone(estimator).fit(X, y), X)
        assert type(X) is type(before)
        assert list(map(repr, np.ravel(X))) == list(map(repr, np.ravel(before)))
        if y is not None:
            np.testing.assert_array_equal(y, data.y)


def check_clone_is_not_fitted(estimator):
    data = data_for(estimator)
    fitted = data.fit(estimator)
    copied = clone(fitted)
    with pytest.raises(NotFittedError):
        data.compute_rows(copied)
    assert repr(copied.get_params()) == repr(estimator.get_params())
    assert not [name for name in vars(copied) if name.endswith("_")]
    np.testing.assert_array_equal(data.fit_and_compute(copied), data.compute_rows(fitted))


def check_params_are_kept_as_given(estimator):
    params = estimator.get_params(deep=False)
    made = type(estimator)(**params)
    assert all(value is params[name] for name, value in made.get_params(deep=False).items())
    assert type(estimator)().set_params(**params).get_params(deep=False) == params


def check_copies_give_equal_rows(estimator):
    data = data_for(estimator)
    fitted = data.fit(estimator)
    stream = io.BytesIO()
    joblib.dump(fitted, stream)
    stream.seek(0)
    expected = {name: getattr(fitted, name)(data.X) for name in methods_of(fitted)}
    shared = [copy.deepcopy(fitted), copy.copy(fitted)]
    loaded = [pickle.loads(pickle.dumps(fitted)), joblib.load(stream)]
    assert all(copied.encoder_ is fitted.encoder_ for copied in shared)
    for copied in (*shared, *loaded):
        assert repr(copied) == repr(fitted)
        assert copied.fingerprint_ == fitted.fingerprint_ == copied.encoder_.fingerprint
        copied.set_params(cache=None)
        for name, rows in expected.items():
            if rows.dtype.kind == "f":
                assert_same_rows(getattr(copied, name)(data.X), rows)
            else:
                np.testing.assert_array_equal(getattr(copied, name)(data.X), rows)


def check_pickle_has_weights_only_if_needed(estimator):
    fitted = data_for(estimator).fit(estimator)
    is_tuned = getattr(fitted, "fine_tuner", None) is not None
    by_name = not is_tuned and not fitted.store_weights_in_pickle
    assert (len(pickle.dumps(fitted)) < 5_000) == by_name
    assert (pickle.loads(pickle.dumps(fitted)).encoder_ is fitted.encoder_) == by_name


def check_threads_share_one_estimator(estimator):
    data = data_for(estimator)
    fitted = data.fit(estimator)
    jobs = [data.X[i % len(data.X) :] for i in range(32)]
    expected = [data.compute_rows(fitted, X) for X in jobs]
    fitted.set_params(cache=None)
    with ThreadPoolExecutor(16) as pool:
        found = pool.map(lambda X: data.compute_rows(fitted, X), jobs)
        for rows, right in zip(found, expected, strict=True):
            assert_same_rows(rows, right)


def check_threads_fit_at_the_same_time(estimator):
    data = data_for(estimator)
    expected = data.fit_and_compute(estimator)
    with ThreadPoolExecutor(4) as pool:
        for fitted in pool.map(data.fit, [estimator] * 6):
            np.testing.assert_array_equal(data.compute_rows(fitted), expected)


def check_new_model_is_used_by_next_fit(estimator):
    data = data_for(estimator)
    model, other = data.models
    fitted = data.fit(clone(estimator).set_params(model=model))
    before = data.compute_rows(fitted)
    after = data.compute_rows(fitted.set_params(model=other).fit(data.X, data.y))
    assert_other_rows(after, before)
    expected = data.fit_and_compute(clone(estimator).set_params(model=other))
    np.testing.assert_array_equal(after, expected)


def check_grid_search_uses_every_model(estimator):
    data = data_for(estimator)
    half = len(data.X) // 2
    train, test = np.arange(half), np.arange(half, len(data.X))
    y = None if data.y is None else data.y[:half]

    def compute_mean(fitted, X, y=None):
        return float(np.mean(getattr(fitted, data.output)(X)))

    def search(models):
        searched = GridSearchCV(
            Pipeline([("estimator", clone(estimator))]),
            {"estimator__model": models},
            scoring=compute_mean,
            cv=[(train, test)],
            error_score="raise",
        )
        return searched.fit(data.X, data.y).cv_results_["mean_test_score"]

    alone = []
    for model in data.models:
        fitted = clone(estimator).set_params(model=model).fit(data.X[:half], y)
        alone.append(compute_mean(fitted, data.X[half:]))
    np.testing.assert_allclose(search(list(data.models)), alone, rtol=0, atol=1e-6)
    assert abs(alone[0] - alone[1]) > 1e-4
    with pytest.raises(OSError, match="looks like a path"):
        search([data.models[0], data.models[0] / "nowhere"])


def check_nothing_is_printed(estimator):
    data = data_for(estimator)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        fitted = data.fit(clone(estimator).set_params(verbose=0))
        for name in methods_of(fitted):
            getattr(fitted, name)(data.X)
        if hasattr(fitted, "fit_transform"):
            fitted.fit_transform(data.X, data.y)
    assert out.getvalue() + err.getvalue() == ""


def check_global_state_is_unchanged(estimator):
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

    data = data_for(estimator)
    before = state()
    data.compute_rows(data.fit(estimator))
    if hasattr(estimator, "fit_transform"):
        clone(estimator).fit_transform(data.X, data.y)
    assert state() == before


SHARED_CHECKS = [check for name, check in globals().items() if name.startswith("check_")]
