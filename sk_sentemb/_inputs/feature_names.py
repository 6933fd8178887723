"""The columns that an estimator was fitted on, and those that it meets."""

from typing import Any

from sklearn.utils.validation import _check_feature_names


def validate_feature_names(
    estimator: Any, X: Any, n_columns: int, *, reset: bool, one_dimensional: bool
) -> None:
    """Keep, in ``fit``, how many columns there are and their names; later, compare these."""
    # One column is often fitted as a column of a frame and then met as a list.
    if reset or not one_dimensional:
        _check_feature_names(estimator, X, reset=reset)
    if reset:
        estimator.n_features_in_ = n_columns
    elif n_columns != estimator.n_features_in_:
        raise ValueError(
            f"X has {n_columns} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
            + (" Reshape your data: one column per feature." if one_dimensional else "")
        )
