"""Training data as an estimator passes them, followed by the validation data."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .._inputs import TextColumns, check_no_missing, read_text_columns
from .._types import Text
from .fine_tuner import FineTuner
from .task import to_array


@dataclass(frozen=True)
class EncodingOptions:
    """The options by which an estimator encodes texts."""

    prompt: str
    max_length: int | None
    long_text: str
    missing_is_empty: bool
    embed: Callable[[list[Text]], np.ndarray]  # by the model before training


@dataclass(frozen=True)
class RawTrainingData:
    """Validated text columns of X, and everything else that belongs to its rows."""

    columns: TextColumns
    y: Any = None
    sample_weight: Any = None
    query_id: Any = None
    classes: np.ndarray | None = None  # in the order of the model's outputs, if these are given
    features: np.ndarray | None = None  # (n_rows, n_features), what is not text
    validation: "RawTrainingData | None" = None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self.columns.n_rows

    def with_validation_data(self, fine_tuner: FineTuner) -> "RawTrainingData":
        """Append the validation rows, so that both are encoded in the same way."""
        validation = self.validation
        if validation is None and fine_tuner.validation_data is not None:
            validation = _read_validation_data(fine_tuner.validation_data)
        if validation is None:
            return self
        _check_compatible(self, validation)
        columns = TextColumns(
            [
                own + more
                for own, more in zip(self.columns.texts, validation.columns.texts, strict=True)
            ],
            np.concatenate([self.columns.missing, validation.columns.missing]),
            self.columns.names,
        )
        queries = self.query_id
        if queries is not None:
            # The lists of validation rows are those of their first column.
            names = np.asarray(validation.columns.texts[0], dtype=object)
            own, other = (pd.factorize(np.asarray(ids))[0] for ids in (queries, names))
            queries = np.concatenate([own, own.max() + 1 + other])
        weight = self.sample_weight
        if weight is not None:
            weight = np.concatenate([weight, np.ones(validation.n_rows)])
        features = self.features
        if features is not None and validation.features is not None:
            features = np.concatenate([features, validation.features])
        return replace(
            self,
            columns=columns,
            y=None if self.y is None else np.concatenate([self.y, validation.y]),
            sample_weight=weight,
            query_id=queries,
            features=features,
        )


def _read_validation_data(given: Any) -> RawTrainingData:
    if len(given) != 2:
        raise ValueError(f"validation_data has {len(given)} items; pass (X, y), or (X, None).")
    X, y = given
    columns = read_text_columns(X, "the X of validation_data")
    if y is not None:
        check_no_missing(y, "validation_data[1]")
        if (n_targets := len(y)) != columns.n_rows:
            raise ValueError(
                f"validation_data has {columns.n_rows} rows of X and {n_targets} of y; pass a "
                "target for each row."
            )
    return RawTrainingData(columns, y)


def _check_compatible(data: RawTrainingData, validation: RawTrainingData) -> None:
    """Raise if validation rows have other columns, or another type of targets."""
    n_columns, n_more = data.columns.n_columns, validation.columns.n_columns
    if n_more != n_columns:
        raise ValueError(f"validation_data has {n_more} text columns, but X has {n_columns}.")
    if (data.y is None) != (validation.y is None):
        raise ValueError("Either both y and validation_data[1] must be given, or neither.")
    if data.y is None:
        return
    if np.ndim(data.y) != np.ndim(validation.y):
        raise ValueError(
            f"y has the shape {np.shape(data.y)} and that of validation_data "
            f"{np.shape(validation.y)}; pass arrays with the same number of dimensions."
        )
    # numpy would convert numbers to strings.
    types = [
        "strings" if to_array(y).dtype.kind in "US" else "numbers" for y in (data.y, validation.y)
    ]
    if types[0] != types[1]:
        raise ValueError(
            f"y has {types[0]} and the y of validation_data has {types[1]}; pass the same classes in "
            "both."
        )
