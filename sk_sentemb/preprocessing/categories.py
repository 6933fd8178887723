"""CategoryReader: columns of categories as strings, the same ones in fit and later."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._atomic_fit import atomic_fit
from .._inputs import validate_table
from .parsing import read_categories

# Equal values that different readers of files give different names.
_EQUAL = {"True": "1", "False": "0", "1": "True", "0": "False"}


class CategoryReader(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Read categories as strings, where True and 1, and False and 0, are equal as in NumPy.

    The values in ``fit`` give the categories their names: a column of True and False may come as 1 and 0
    later, and the other way round.
    """

    def __init__(self, fill: str = "missing") -> None:
        self.fill = fill

    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn how each column names true and false."""
        categories = read_categories(validate_table(self, X, reset=True), fill=self.fill)
        self.seen_ = [_EQUAL.keys() & set(column) for column in categories.T]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Read categories."""
        check_is_fitted(self)
        categories = read_categories(validate_table(self, X, reset=False), fill=self.fill)
        for column, seen in zip(categories.T, self.seen_, strict=True):
            for other, name in _EQUAL.items():
                if name in seen and other not in seen:
                    column[column == other] = name
        return categories

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags
