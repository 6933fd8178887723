"""What every estimator that turns cells into embeddings must do, in addition to the shared checks."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError

from sk_sentemb.exceptions import MissingImageWarning, MissingTextWarning
from tests.checks.data import FRAMES, MISSING, data_for
from tests.helpers.tiny_models import assert_same_rows


def check_fit_transform_equals_fit_and_transform(estimator):
    data = data_for(estimator)
    assert_same_rows(clone(estimator).fit_transform(data.X), data.fit_and_compute(estimator))


def check_missing_cells_follow_policy(estimator):
    data = data_for(estimator)
    n = len(data.X)
    present = data.fit_and_compute(estimator)
    filled = {"zero": 0 * present[:1], "nan": np.nan * present[:1]}
    if "empty" in data.missing:
        filled["empty"] = data.fit(estimator).transform([""])
    for policy, row in filled.items():
        fitted = data.fit(clone(estimator).set_params(missing=policy))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MissingTextWarning)
            warnings.simplefilter("ignore", MissingImageWarning)
            rows = fitted.transform([*data.X, *MISSING])
        assert_same_rows(rows[:n], present)
        assert_same_rows(rows[n:], np.repeat(row, len(MISSING), axis=0))
    with pytest.raises(ValueError, match=f"row {n}, column 0 of X has no (text|image)"):
        clone(estimator).set_params(missing="error").fit_transform([*data.X, *MISSING])


def check_columns_are_concatenated(estimator):
    data = data_for(estimator)
    left, right = data.X, data.X[::-1]
    rows = data.fit_and_compute(estimator, pd.DataFrame({"left": left, "right": right}))
    one_by_one = [data.fit_and_compute(estimator, X) for X in (left, right)]
    assert_same_rows(rows, np.hstack(one_by_one))


def check_set_output_gives_frames(estimator):
    data = data_for(estimator)
    expected = data.fit_and_compute(estimator)
    X = pd.DataFrame({"text": data.X}, index=range(10, 10 + len(data.X)))
    for kind, frame in FRAMES.items():
        fitted = clone(estimator).set_output(transform=kind).fit(X)
        rows = fitted.transform(X)
        assert type(rows) is frame
        assert list(rows.columns) == list(fitted.get_feature_names_out())
        np.testing.assert_array_equal(rows.to_numpy(), expected)
        if kind == "pandas":
            assert list(rows.index) == list(X.index)


def check_feature_names_out(estimator):
    data = data_for(estimator)
    with pytest.raises(NotFittedError):
        estimator.get_feature_names_out()
    cells, dim = data.X, data.fit_and_compute(estimator).shape[1]
    cases = [
        (cells, ["x0"]),
        (pd.Series(cells), ["x0"]),
        (pd.Series(cells, name="t"), ["t"]),
        (pd.DataFrame({"t": cells}), ["t"]),
        (pl.DataFrame({"t": cells}), ["t"]),
        ([[cell, cell] for cell in cells], ["x0", "x1"]),
        (pd.DataFrame({"a": cells, "b": cells}), ["a", "b"]),
    ]
    for X, columns in cases:
        names = clone(estimator).fit(X).get_feature_names_out()
        assert list(names) == [f"{column}_{i}" for column in columns for i in range(dim)]
    named = clone(estimator).fit(cells).get_feature_names_out(["given"])
    assert list(named) == [f"given_{i}" for i in range(dim)]


def check_column_transformer_takes_it(estimator):
    data = data_for(estimator)
    expected = data.fit_and_compute(estimator)
    for make in FRAMES.values():
        X = make({"n": range(len(data.X)), "t": data.X})
        for columns in ("t", ["t"]):
            table = ColumnTransformer([("e", clone(estimator), columns)])
            np.testing.assert_array_equal(table.fit_transform(X), expected)
            np.testing.assert_array_equal(table.transform(X), expected)
            assert table.get_feature_names_out()[0] == "e__t_0"


EMBEDDING_CHECKS = [check for name, check in globals().items() if name.startswith("check_")]
