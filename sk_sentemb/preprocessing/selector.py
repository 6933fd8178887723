"""text_column_selector: select the columns of text in a column transformer."""

import re
from typing import Any

from sklearn.base import BaseEstimator

from .column_roles import column_roles
from .role_rules import RoleRules, validate_pattern


# The name follows scikit-learn's make_column_selector, which is a class, too.
class text_column_selector(BaseEstimator):
    r"""Select the columns of free text, in a column transformer.

    A callable for ``make_column_transformer`` and ``ColumnTransformer``, like scikit-learn's
    ``make_column_selector``. It selects by the cells instead of the dtype, which is the same for
    reviews, names of cities and phone numbers. :func:`~sk_sentemb.preprocessing.describe_columns` lists
    the rules and shows their results.

    Parameters
    ----------
    pattern : str, default=None
        Select only columns whose names match this regular expression (``re.search``). If None, names
        are ignored.

    min_words : float, default=2.5
        Minimum average number of words per cell.

    min_unique : float, default=0.3
        Minimum share of distinct cells, unless there are more than `max_categories` of them.

    max_categories : int, default=100
        Maximum number of distinct cells of categories: a column with `min_words` and more distinct
        cells is text, even if their share is below `min_unique`.

    min_share : float, default=0.95
        Columns are not text if at least this share of their cells are numbers, dates, file names of
        images, or codes.

    sample : int, default=10_000
        Maximum number of cells of a column of text that are examined, at equal distances.

    See Also
    --------
    sklearn.compose.make_column_selector : Select columns by dtype and name.
    sk_sentemb.make_multimodal_transformer : Build a transformer for all columns of a table.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_transformer
    >>> from sk_sentemb import SentenceEmbedder, text_column_selector
    >>> X = pd.DataFrame(
    ...     {
    ...         "review": ["Fits me very well.", "Too large for me!", "My favorite dress"],
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
        """Return the names of the columns of text, in the order of X."""
        rules = self.get_params()
        pattern = rules.pop("pattern")
        validate_pattern("pattern", pattern)
        names = column_roles(X, **rules)["text"]
        return [name for name in names if pattern is None or re.search(pattern, name)]
