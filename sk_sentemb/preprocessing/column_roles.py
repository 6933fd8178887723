"""Which column of a table is text, which a category, a number, a date, a picture, an id."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from .._inputs import named_columns
from .column_stats import ColumnStats, measure
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
    r"""Tell free text from categories, numbers, dates, pictures and ids, and show why.

    Parameters
    ----------
    X : data frame of shape (n_samples, n_columns)
        Of pandas, polars, pyarrow or another library that narwhals reads, with a string as the name
        of each column.

    min_words : float, default=2.5
        Text has at least so many words a cell, on average. A word is what stands between spaces and
        has a letter; in Chinese, Japanese, Thai, Lao, Khmer and Burmese, two characters.

    min_unique : float, default=0.3
        Text has at least this share of distinct cells, or more than ``max_categories`` of them.

    max_categories : int, default=100
        A column with ``min_words`` and more distinct cells than this is text, even if their share is
        below ``min_unique``.

    max_unique : float, default=0.5
        Categories have at most this share of distinct cells. A column with a larger share is an id if
        it holds codes, or more than 20 distinct cells.

    min_share : float, default=0.95
        A column of strings holds numbers, dates, names of files with pictures, or codes, if at least
        this share of its cells do.

    id_names : str or None, default=r"(^|[\W_])(?i:ids?|uuid)$|[a-z]I[dD]$|^(?i:unnamed: ?\d+|index)$"
        Columns of whole numbers, codes or words with such a name are ids; a regular expression that
        is searched for. None for no such rule.

    sample : int, default=10_000
        Look at so many cells of a column of text at most, in equal steps.

    Returns
    -------
    DataFrame
        A row for each column of ``X``, by its name: its ``role``, the ``reason``, and what was
        measured among the cells that hold something. ``dtype``; ``missing``, the share of the other
        cells; ``distinct`` cells, and ``unique``, the same as a share; ``words`` a cell; the shares of
        cells that are read as ``number``, ``date``, ``image`` or ``code``. NaN where the dtype alone
        decides.

    Raises
    ------
    TypeError
        If ``X`` is no data frame, the names of its columns are not strings, or a threshold is no
        number.
    ValueError
        If a name stands twice, a threshold is out of range, or ``id_names`` is no regular expression.

    See Also
    --------
    column_roles : The columns of each role.
    sk_sentemb.text_column_selector : The columns of text, for a column transformer.

    Notes
    -----
    The first rule that fits decides.

    ============= ==================================================================================
    Role          Columns
    ============= ==================================================================================
    empty         no cell holds anything but spaces
    other         lists, structures, times of day, complex numbers, bytes that are no picture
    text          the dtypes of categories, where what they hold is text by the rule below
    categorical   the dtypes of categories and booleans
    date          the dtypes of dates; text of which ``min_share`` are dates
    image         pictures: bytes, arrays of two or three dimensions, PIL images; text of which
                  ``min_share`` are names of files or addresses with the suffix of a picture
    id            whole numbers with one of ``id_names``, as integers, floats or text; numbers that
                  are every whole number from 0 or 1 on, in any order, if these are more than 20
    numeric       other dtypes of numbers and durations; text of which ``min_share`` are numbers,
                  unless they are codes: digits with leading zeros, or nine or more of them
    text          ``min_words``, and ``min_unique`` or more than ``max_categories`` distinct cells,
                  unless ``min_share`` are codes: addresses of pages, mail and machines, paths,
                  telephone numbers, UUIDs, digests, such digits
    id            codes and words with one of ``id_names``
    numeric       text of more than 20 distinct cells, half of it numbers, and at most five distinct
                  cells that are none: ``"?"``, ``"unknown"``
    id            codes of which more than ``max_unique`` are distinct; words likewise, if more than 20
    categorical   all else
    ============= ==================================================================================

    In :func:`column_roles`, a column is ``other``, too, if its role by the rules is one that columns
    were listed for, without it.

    Most names of persons have two words and occur once: they are ids here. Addresses of houses are
    text. Post codes without leading zeros are numbers, and so are integers such as 20240531. Say
    otherwise where it matters: see :func:`column_roles`.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_sentemb.preprocessing import describe_columns
    >>> X = pd.DataFrame(
    ...     {
    ...         "review": ["Fits me very well.", "Too large for me!", "My favourite dress"],
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
        measures = measure(column, sample=rules.sample)
        role, reason = rules.role(name, measures)
        rows[name] = {"role": role, "reason": reason, **measures.shown()}
    columns = ["role", "reason", *ColumnStats("", "", 0).shown()]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


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
    """Sort the columns of a table by what they are to a model.

    Parameters
    ----------
    X : data frame of shape (n_samples, n_columns)
        Of pandas, polars, pyarrow or another library that narwhals reads, with a string as the name
        of each column.

    text : str, list of str or callable, default=None
        All text columns, or a callable that returns them for ``X``, such as
        :class:`~sk_sentemb.text_column_selector`.
        Columns that are text by the rules and not listed become ``"other"``. None to go by the rules.

    categorical : str, list of str or callable, default=None
        All the columns of categories, likewise.

    numeric : str, list of str or callable, default=None
        All the columns of numbers, likewise.

    date : str, list of str or callable, default=None
        All the columns of dates, likewise.

    image : str, list of str or callable, default=None
        All the columns of pictures, likewise.

    roles : mapping of str to str, default=None
        Roles of single columns, where a rule errs: ``{"zip": "categorical", "remarks": "other"}``.

    **rules : dict
        Thresholds, as in :func:`describe_columns`.

    Returns
    -------
    dict of str to list of str
        The columns of each role, in the order of ``X``: ``"text"``, ``"categorical"``,
        ``"numeric"``, ``"date"``, ``"image"``, and those that a model has no use for: ``"id"``,
        ``"empty"``, ``"other"``.

    Raises
    ------
    TypeError
        If ``X`` is no data frame, the names of its columns are not strings, or a threshold does not
        exist or is no number.
    ValueError
        If a column is not in ``X`` or has two roles, a role does not exist, or a threshold is out of
        range.

    See Also
    --------
    describe_columns : The rules, and what was measured.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_sentemb.preprocessing import column_roles
    >>> X = pd.DataFrame(
    ...     {
    ...         "review": ["Fits me very well.", "Too large for me!", "My favourite dress"],
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
    RoleRules.of("column_roles", rules)
    by_role = {
        "text": text,
        "categorical": categorical,
        "numeric": numeric,
        "date": date,
        "image": image,
    }
    listed = {role: _listed(columns, X) for role, columns in by_role.items() if columns is not None}
    given = _given(listed, roles or {})
    described = describe_columns(X, **rules)["role"]
    found = dict(zip(map(str, described.index), described, strict=True))
    if unknown := [name for name in given if name not in found]:
        raise ValueError(f"X has no column {unknown[0]!r}; its columns are {list(found)}.")
    sorted_columns: dict[str, list[str]] = {role: [] for role in ROLES}
    for name, role in found.items():
        role = given.get(name, "other" if role in listed else role)
        sorted_columns[role].append(name)
    return sorted_columns


def _listed(columns: Columns, X: Any) -> list[str]:
    if callable(columns):
        columns = columns(X)
    return [columns] if isinstance(columns, str) else list(columns)


def _given(listed: Mapping[str, Sequence[str]], roles: Mapping[str, str]) -> dict[str, str]:
    """Merge both ways in which users say roles."""
    if unknown := [role for role in roles.values() if role not in ROLES]:
        raise ValueError(f"roles has {unknown[0]!r}, which is none of {ROLES}.")
    given = dict(roles)
    for role, columns in listed.items():
        for name in columns:
            if given.setdefault(name, role) != role:
                raise ValueError(
                    f"the column {name!r} is both {given[name]!r} and {role!r}; pass one role."
                )
    return given
