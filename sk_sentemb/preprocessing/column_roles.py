"""Infer which columns of a table are text, categories, numbers, dates, images or ids."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from .._docstrings import substitute_docstring
from .._inputs import named_columns
from .column_stats import ColumnStats, compute_stats
from .role_rules import ROLES, RoleRules

Columns = str | Sequence[str] | Callable[[Any], Sequence[str]]


def describe_columns(
    X: Any,
    *,
    min_words: float = RoleRules.min_words,
    min_unique: float = RoleRules.min_unique,
    max_categories: int = RoleRules.max_categories,
    max_unique: float = RoleRules.max_unique,
    min_share: float = RoleRules.min_share,
    id_names: str | None = RoleRules.id_names,
    sample: int = RoleRules.sample,
) -> pd.DataFrame:
    r"""Infer the role of each column from its cells, and return the statistics behind it.

    Parameters
    ----------
    X : data frame of shape (n_samples, n_columns)
        A data frame of pandas, polars, pyarrow or another library that narwhals supports. Column names
        must be strings.

    min_words : float, default=2.5
        Minimum average number of words per cell of text. A word is separated by white space and contains
        a letter; in Chinese, Japanese, Thai, Lao, Khmer and Burmese, two characters count as a word.

    min_unique : float, default=0.3
        Minimum share of distinct cells of text, unless there are more than `max_categories` of them.

    max_categories : int, default=100
        Maximum number of distinct cells of categories: a column with `min_words` and more distinct
        cells is text, even if their share is below `min_unique`.

    max_unique : float, default=0.5
        Maximum share of distinct cells of categories. A column with a larger share is an id if it
        contains codes or more than 20 distinct cells.

    min_share : float, default=0.95
        Minimum share of the cells of a column of strings that must be numbers, dates, file names of
        images, or codes for the column to be treated as such.

    id_names : str or None, default=r"(^|[\W_])(?i:ids?|uuid)$|[a-z]I[dD]$|^(?i:unnamed: ?\d+|index)$"
        Regular expression (``re.search``) for the names of ids. It applies to columns of integers,
        codes or words. If None, names are ignored.

    sample : int, default=10_000
        Maximum number of cells of a column of text that are examined, at equal distances.

    Returns
    -------
    DataFrame
        One row per column of ``X``, with the name of the column as index. NaN where the dtype decides
        alone.

        - ``role``, ``reason``: the role and the rule that determined it.
        - ``dtype``: the dtype, as narwhals names it.
        - ``missing``: share of missing and blank cells. All further values refer to the other cells.
        - ``distinct``, ``unique``: number and share of distinct cells.
        - ``words``: average number of words per cell.
        - ``number``, ``date``, ``image``, ``code``: shares of cells that can be parsed as such.

    Raises
    ------
    TypeError
        If ``X`` is not a data frame, a column name is not a string, or a threshold is not a number.
    ValueError
        If a column name is repeated, a threshold is out of range, or ``id_names`` is not a valid
        regular expression.

    See Also
    --------
    column_roles : Group the columns of a data frame by role.
    sk_sentemb.text_column_selector : Select the columns of text in a column transformer.

    Notes
    -----
    The first matching rule determines the role.

    ============= ==================================================================================
    Role          Columns
    ============= ==================================================================================
    empty         only missing or blank cells
    other         lists, structures, times of day, complex numbers, bytes that are not images
    text          categorical dtypes, if their categories are text by the rule below
    categorical   categorical dtypes and booleans
    date          date dtypes; text with ``min_share`` dates
    image         images: bytes, arrays of two or three dimensions, PIL images; text with
                  ``min_share`` file names or URLs of images
    id            integers in a column with one of ``id_names``, as integers, floats or text; row
                  numbers (every integer from 0 or 1 on, in any order), if there are more than 20
    numeric       other numeric dtypes and durations; text with ``min_share`` numbers, unless they are
                  codes: digits with leading zeros, or nine digits or more
    text          ``min_words``, and ``min_unique`` or more than ``max_categories`` distinct cells,
                  unless ``min_share`` are codes: URLs, e-mail and IP addresses, paths, phone numbers,
                  UUIDs, checksums, or digits as above
    id            codes and words in a column with one of ``id_names``
    numeric       text with more than 20 distinct cells of which half are numbers and at most five are
                  placeholders such as ``"?"`` and ``"unknown"``
    id            codes with a share of distinct cells above ``max_unique``; words likewise, if there
                  are more than 20
    categorical   everything else
    ============= ==================================================================================

    Names of persons are usually ids by these rules, because they have two words and occur once. Street
    addresses are text. Postal codes without leading zeros are numbers, and so are integers such as
    20240531. Pass the roles of such columns to :func:`column_roles`.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_sentemb.preprocessing import describe_columns
    >>> X = pd.DataFrame(
    ...     {
    ...         "review": ["Fits me very well.", "Too large for me!", "My favorite dress"],
    ...         "size": ["S", "M", "S"],
    ...         "bought": ["2024-05-31", "2024-06-02", None],
    ...         "price": ["19.90", "25.00", "17.50"],
    ...     }
    ... )
    >>> describe_columns(X)[["role", "words", "unique", "date", "number"]].round(1)
                   role  words  unique  date  number
    review         text    3.7     1.0   0.0     0.0
    size    categorical    1.0     0.7   0.0     0.0
    bought         date    0.0     1.0   1.0     0.0
    price       numeric    0.0     1.0   0.0     1.0
    """
    rules = RoleRules(
        min_words, min_unique, max_categories, max_unique, min_share, id_names, sample
    )
    rows = {}
    for name, column in named_columns(X).items():
        stats = compute_stats(column, sample=rules.sample)
        role, reason = rules.infer_role(name, stats)
        rows[name] = {"role": role, "reason": reason, **stats.to_dict()}
    columns = ["role", "reason", *ColumnStats("", "", 0).to_dict()]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


@substitute_docstring
def column_roles(
    X: Any,
    *,
    text: Columns | None = None,
    categorical: Columns | None = None,
    numeric: Columns | None = None,
    date: Columns | None = None,
    image: Columns | None = None,
    roles: Mapping[str, str] | None = None,
    **rules: Any,
) -> dict[str, list[str]]:
    """Group the columns of a data frame by role.

    Parameters
    ----------
    X : data frame of shape (n_samples, n_columns)
        A data frame of pandas, polars, pyarrow or another library that narwhals supports. Column names
        must be strings.

    text : str, list of str or callable, default=None
        The columns of text.

        - A name, a list of names, or a callable that returns them for ``X``, such as
          :class:`~sk_sentemb.text_column_selector`: all columns of text. Other columns that are text by
          the rules become ``"other"``.
        - None: the rules of :func:`describe_columns` decide.

    {columns_of_other_roles}

    **rules : dict
        Thresholds of the rules: the keyword arguments of :func:`describe_columns`.

    Returns
    -------
    dict of str to list of str
        The columns of each role, in the order of ``X``: ``"text"``, ``"categorical"``,
        ``"numeric"``, ``"date"``, ``"image"``, and the roles of columns that are not features:
        ``"id"``, ``"empty"``, ``"other"``.

    Raises
    ------
    TypeError
        If ``X`` is not a data frame, a column name is not a string, or a threshold is unknown or not a
        number.
    ValueError
        If a column is not in ``X`` or has two roles, a role is unknown, or a threshold is out of
        range.

    See Also
    --------
    describe_columns : The rules and the statistics behind the roles.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_sentemb.preprocessing import column_roles
    >>> X = pd.DataFrame(
    ...     {
    ...         "review": ["Fits me very well.", "Too large for me!", "My favorite dress"],
    ...         "size": ["S", "M", "S"],
    ...         "stars": [5, 2, 5],
    ...     }
    ... )
    >>> found = column_roles(X)
    >>> found["text"], found["categorical"], found["numeric"]
    (['review'], ['size'], ['stars'])
    >>> column_roles(X, roles={"stars": "categorical"})["categorical"]
    ['size', 'stars']
    """
    RoleRules.from_kwargs("column_roles", rules)
    by_role = {
        "text": text,
        "categorical": categorical,
        "numeric": numeric,
        "date": date,
        "image": image,
    }
    listed = {
        role: _list_names(columns, X) for role, columns in by_role.items() if columns is not None
    }
    given = _merge_roles(listed, roles or {})
    described = describe_columns(X, **rules)["role"]
    inferred = dict(zip(map(str, described.index), described, strict=True))
    if unknown := [name for name in given if name not in inferred]:
        raise ValueError(f"X has no column {unknown[0]!r}; its columns are {list(inferred)}.")
    grouped: dict[str, list[str]] = {role: [] for role in ROLES}
    for name, role in inferred.items():
        grouped[given.get(name, "other" if role in listed else role)].append(name)
    return grouped


def _list_names(columns: Columns, X: Any) -> list[str]:
    if callable(columns):
        columns = columns(X)
    return [columns] if isinstance(columns, str) else list(columns)


def _merge_roles(listed: Mapping[str, Sequence[str]], roles: Mapping[str, str]) -> dict[str, str]:
    """Return the role of each column that is listed or has one in `roles`."""
    if unknown := [role for role in roles.values() if role not in ROLES]:
        raise ValueError(f"roles contains {unknown[0]!r}; valid roles are {ROLES}.")
    merged = dict(roles)
    for role, columns in listed.items():
        for name in columns:
            if merged.setdefault(name, role) != role:
                raise ValueError(
                    f"Column {name!r} is both {merged[name]!r} and {role!r}. Pass one role."
                )
    return merged
