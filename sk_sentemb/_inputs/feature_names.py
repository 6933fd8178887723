"""The columns that an estimator was fitted on, and those that it meets."""

from typing import Any

from sklearn.utils.validation import _check_feature_names


def check_features(
    estimator: Any, X: Any, n_columns: int, *, reset: bool, one_dimensional: bool
) -> None:
    """Keep, in ``fit``, how many columns there are and their names; later, compare these.

    Parameters
    ----------
    estimator : estimator
        Gets `n_features_in_` and `feature_names_in_`.
    X : array-like or data frame
        As it was passed.
    n_columns : int
        How many columns it has.
    reset : bool
        Whether this is ``fit``.
    one_dimensional : bool
        Whether it has one column and no place for its name.

    Raises
    ------
    ValueError
        If their number or names are others than in ``fit``.
    """
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
