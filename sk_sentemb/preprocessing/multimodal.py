"""make_multimodal_transformer: a column transformer for tables with text."""

from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer

from .._inputs import named_columns
from .._warn import warn
from ..exceptions import ColumnRoleWarning
from .column_pipelines import (
    categories_step,
    dates_step,
    entry_name,
    image_step,
    numbers_step,
    text_step,
)
from .column_roles import Columns, column_roles
from .role_rules import FEATURES, RoleRules


def make_multimodal_transformer(
    X: Any = None,
    *,
    text: Columns | None = None,
    categorical: Columns | None = None,
    numeric: Columns | None = None,
    date: Columns | None = None,
    image: Columns | None = None,
    roles: Mapping[str, str] | None = None,
    embedder: BaseEstimator | None = None,
    text_components: int | float | None = None,
    categorical_encoder: str | BaseEstimator = "onehot",
    image_embedder: BaseEstimator | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
    **rules: Any,
) -> ColumnTransformer:
    """Make a column transformer for tables of text, categories, numbers, dates and pictures.

    What comes back is scikit-learn's, not fitted, and its entries are there to see, to search over and
    to replace. Columns with none of these roles are left out, ids above all.

    Parameters
    ----------
    X : data frame of shape (n_samples, n_columns), default=None
        A table to tell the columns' roles by, as :func:`~sk_sentemb.preprocessing.describe_columns`
        shows. Leave the target out. None where all columns are listed.

    text : str, list of str or callable, default=None
        All text columns, or a callable that returns them for ``X``, such as
        :class:`~sk_sentemb.text_column_selector`.
        None to go by the rules; without ``X``, for none.

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

    embedder : estimator, default=None
        What embeds a column of text; any transformer of a one-dimensional column, a pipeline with a
        :class:`TextCleaner` or a ``TfidfVectorizer`` among them. None for ``SentenceEmbedder()``.

    text_components : int or float, default=None
        Keep so many principal components of each column of text, or this share of the variance. None
        for the vectors as they are. With fewer rows than components, as in small folds, fewer components
        are kept, with a warning.

    categorical_encoder : {"onehot", "target"} or estimator, default="onehot"
        ``"onehot"`` for a column for each of up to 100 categories, the rarest of more in one, and
        unknown ones with them; ``"target"`` for the mean target of a category, cross-fitted; or what
        encodes an array of strings.

    image_embedder : estimator, default=None
        What embeds a column of pictures. None for ``sk_sentemb.image.ImageEmbedder()``.

    random_state : int, RandomState instance or None, default=None
        For the principal components and the folds of the target's means.

    n_jobs : int, default=None
        How many entries are fitted at the same time, as in ``ColumnTransformer``.

    **rules : dict
        Thresholds, as in :func:`~sk_sentemb.preprocessing.describe_columns`.

    Returns
    -------
    ColumnTransformer
        With the entries that there are columns for.

    Raises
    ------
    ValueError
        If there are neither ``X`` nor columns, or no column has a role; if a column has two roles,
        or is not in ``X``; if ``roles``, ``rules`` or a column of text named ``""`` come without ``X``.
    TypeError
        If ``embedder``, ``image_embedder`` or ``categorical_encoder`` is no estimator, or a rule does
        not exist.

    Warns
    -----
    ColumnRoleWarning
        If columns are left out as ids by their cells alone, such as names of persons, where neither
        ``roles`` nor the column's own name says so. It names them. Where columns are listed for each
        role, there is none.

    See Also
    --------
    sk_sentemb.text_column_selector : The columns of text alone.
    sklearn.compose.make_column_transformer : The same with transformers of your own.

    Notes
    -----
    ==================== ============================================================================
    Entry                Steps
    ==================== ============================================================================
    ``text-<column>``    the embedder; with ``text_components``, ``embedder`` and ``pca``
    ``categorical``      ``read`` as strings, where ``"missing"`` stands for missing cells; ``encode``
    ``numeric``          ``read``; ``impute`` the median, with an indicator; ``scale``
    ``date``             ``parts`` (:class:`~sk_sentemb.preprocessing.DateParts`), with an
                         indicator; ``impute`` the median; ``scale``
    ``image-<column>``   the image embedder
    ``left-out``         ``"drop"``: the ids and all else that has no role
    ==================== ============================================================================

    Parameters are searched by entry and step: ``text-Review Text__model``, with ``text_components``
    ``text-Review Text__embedder__model``, ``categorical__encode__min_frequency``.
    scikit-learn parts names at two underscores, so several in a column's name become one in that of
    its entry, and those at its end go.

    Frozen embedders share the cache of the process, so that each text is embedded once, however many
    columns, folds and candidates see it. Nothing is learnt from ``X`` here but the roles.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_sentemb import make_multimodal_transformer
    >>> X = pd.DataFrame(
    ...     {
    ...         "review": ["Fits me very well.", "Too large for me!", "My favourite dress", None],
    ...         "size": ["S", "M", "S", "L"],
    ...         "bought": ["2024-05-31", "2024-06-02", None, "2024-06-02"],
    ...         "price": [19.9, 25.0, 17.5, None],
    ...         "order_id": [1017, 1023, 1024, 1031],
    ...     }
    ... )
    >>> features = make_multimodal_transformer(X, text_components=2)
    >>> for name, transformer, columns in features.transformers:
    ...     print(name, columns)
    text-review review
    categorical ['size']
    numeric ['price']
    date ['bought']
    left-out ['order_id']
    >>> features.set_params(**{"text-review__embedder__missing": "empty"}).fit_transform(X).shape
    (4, 14)
    """
    given = {
        "text": text,
        "categorical": categorical,
        "numeric": numeric,
        "date": date,
        "image": image,
    }
    columns = _columns(X, given, roles, rules)
    # Without X, no column has been judged.
    if judged := [name for name in columns.get("id", []) if name not in (roles or {})]:
        _warn_of_ids(judged, given, RoleRules(**rules))
    if not any(columns[role] for role in FEATURES):
        raise ValueError(
            "no column has a role; pass X or list columns. describe_columns(X) shows why."
        )
    entries: list[tuple[str, Any, Any]] = []
    names: set[str] = set()
    for column in columns["text"]:
        entry = entry_name("text", column, names)
        step = text_step(embedder, text_components, random_state, entry=entry)
        entries.append((entry, step, _place(column, X) if column == "" else column))
    if columns["categorical"]:
        step = categories_step(categorical_encoder, random_state)
        entries.append(("categorical", step, columns["categorical"]))
    if columns["numeric"]:
        entries.append(("numeric", numbers_step(), columns["numeric"]))
    if columns["date"]:
        entries.append(("date", dates_step(), columns["date"]))
    entries += [
        (entry_name("image", column, names), image_step(image_embedder), [column])
        for column in columns["image"]
    ]
    if left_out := [c for role, of in columns.items() if role not in FEATURES for c in of]:
        entries.append(("left-out", "drop", left_out))
    return ColumnTransformer(entries, n_jobs=n_jobs)


def _columns(
    X: Any,
    given: Mapping[str, Columns | None],
    roles: Mapping[str, str] | None,
    rules: Mapping[str, Any],
) -> dict[str, list[str]]:
    RoleRules.of("make_multimodal_transformer", rules)
    if X is not None:
        return column_roles(X, roles=roles, **given, **rules)
    if roles or rules:
        raise ValueError("roles and rules have no effect without X; pass X, or list the columns.")
    columns: dict[str, list[str]] = {}
    for role, listed in given.items():
        if callable(listed):
            raise ValueError(f"{role} is a callable, which needs a table; pass X, or list columns.")
        columns[role] = [listed] if isinstance(listed, str) else list(listed or [])
    every = [name for listed in columns.values() for name in listed]
    if repeated := [name for name in dict.fromkeys(every) if every.count(name) > 1]:
        raise ValueError(f"the column {repeated[0]!r} is listed twice; pass it once.")
    return columns


def _place(column: str, X: Any) -> int:
    """Return the index of a column named "", a name that scikit-learn takes for no column."""
    if X is None:
        raise ValueError(
            f"a column named {column!r} can only be found in a table; pass X, or rename the column."
        )
    return list(named_columns(X)).index(column)


def _warn_of_ids(names: list[str], given: Mapping[str, Columns | None], rules: RoleRules) -> None:
    """Warn of columns that are ids by their cells, unless users said which columns they want."""
    left_out = [name for name in names if not rules.is_named_id(name)]
    if not left_out or all(listed is not None for listed in given.values()):
        return
    listed = ", ".join(map(repr, left_out))
    warn(
        f"columns of X are left out, for their cells look like ids: {listed}. "
        "describe_columns(X) shows why. Pass roles={'<column>': 'text'}, or another role, to read a "
        "column, or the role 'id' to leave it out without this warning.",
        ColumnRoleWarning,
    )
