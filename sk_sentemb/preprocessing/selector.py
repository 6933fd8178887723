"""text_column_selector: the columns of text, for a column transformer."""

import re
from typing import Any

from sklearn.base import BaseEstimator

from .column_roles import column_roles
from .role_rules import RoleRules, check_pattern


# Named as scikit-learn's make_column_selector, which is a class as well.
class text_column_selector(BaseEstimator):
    r"""Select the columns of free text, in a column transformer.

    A callable, as scikit-learn's ``make_column_selector``, for ``make_column_transformer`` and
    ``ColumnTransformer``: it goes by what the cells hold instead of by dtypes, which are the same for
    reviews, names of cities and telephone numbers. :func:`~sk_sentemb.preprocessing.describe_columns`
    says by which rules, and shows what they find.

    Parameters
    ----------
    pattern : str, default=None
        Select only columns whose names have this regular expression in them. None for all names.

    min_words : float, default=2.5
        Text has at least so many words a cell, on average.

    min_unique : float, default=0.3
        Text has at least this share of distinct cells, or more than ``max_categories`` of them.

    max_categories : int, default=100
        A column with ``min_words`` and more distinct cells than this is text, even if their share is
        below ``min_unique``.

    min_share : float, default=0.95
        A column of strings is not text if at least this share of its cells are numbers, dates, names
        of files with pictures, or codes.

    sample : int, default=10_000
        Look at so many cells of a column of text at most, in equal steps.

    See Also
    --------
    sklearn.compose.make_column_selector : Select columns by dtype and name.
    sk_sentemb.make_multimodal_transformer : A column transformer for all the columns of a table.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_transformer
    >>> from sk_sentemb import SentenceEmbedder, text_column_selector
    >>> X = pd.DataFrame(
    ...     {
    ...         "review": ["Fits me very well.", "Too large for me!", "My favourite dress"],
    ...         "size": ["S", "M", "S"],
    ...         "stars": [5, 2, 5],
    ...     }
    ... )
    >>> text_column_selector()(X)
    ['review']
    >>> features = make_column_transformer((SentenceEmbedder(), text_column_selector()))
    >>> features.fit_transform(X).shape
    (3, 384)
    """

    def __init__(
        self,
        *,
        pattern: str | None = None,
        min_words: float = RoleRules.min_words,
        min_unique: float = RoleRules.min_unique,
        max_categories: int = RoleRules.max_categories,
        min_share: float = RoleRules.min_share,
        sample: int = RoleRules.sample,
    ) -> None:
        self.pattern = pattern
        self.min_words = min_words
        self.min_unique = min_unique
        self.max_categories = max_categories
        self.min_share = min_share
        self.sample = sample

    def __call__(self, X: Any) -> list[str]:
        """Select the columns of text."""
        rules = self.get_params()
        pattern = rules.pop("pattern")
        check_pattern("pattern", pattern)
        names = column_roles(X, **rules)["text"]
        return [name for name in names if pattern is None or re.search(pattern, name)]
