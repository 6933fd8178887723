"""make_multimodal_transformer: build a column transformer for tables with text."""

from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer

from .._docstrings import substitute_docstring
from .._inputs import named_columns
from .._warn import warn
from ..exceptions import ColumnRoleWarning
from .column_pipelines import (
    make_categories_step,
    make_dates_step,
    make_entry_name,
    make_image_step,
    make_numbers_step,
    make_text_step,
)
from .column_roles import Columns, column_roles
from .role_rules import FEATURE_ROLES, RoleRules


@substitute_docstring
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
    """Build a column transformer for tables of text, categories, numbers, dates and images.

    The result is an unfitted ``ColumnTransformer`` that can be inspected, tuned and changed like any
    other. Columns without one of these roles are dropped, ids in particular.

    Parameters
    ----------
    X : data frame of shape (n_samples, n_columns), default=None
        The table from which the roles of the columns are inferred, without the target. Only the roles
        depend on it. If None, pass the columns.

    text : str, list of str or callable, default=None
        The columns of text.

        - A name, a list of names, or a callable that returns them for ``X``, such as
          :class:`~sk_sentemb.text_column_selector`: all columns of text.
        - None: inferred from ``X`` by the rules of :func:`~sk_sentemb.preprocessing.describe_columns`;
          without ``X``, no columns.

    {columns_of_other_roles}

    embedder : estimator, default=None
        Transformer of a one-dimensional column of text, for example a pipeline that starts with a
        :class:`TextCleaner`, or a ``TfidfVectorizer``. Cloned for each column. If None,
        ``SentenceEmbedder()``.

    text_components : int or float, default=None
        Number of principal components to keep per column of text, or the share of the variance to
        explain. With fewer rows than components, fewer are kept, with a warning. If None, the
        embeddings are not reduced.

    categorical_encoder : {"onehot", "target"} or estimator, default="onehot"
        How to encode categories.

        - ``"onehot"``: one-hot encoding. Of more than 100 categories, the least frequent ones share a
          column with unknown categories.
        - ``"target"``: the cross-fitted mean of the target per category.
        - An estimator: encodes an array of strings.

    image_embedder : estimator, default=None
        Transformer of a column of images. Cloned for each column. If None,
        ``sk_sentemb.image.ImageEmbedder()``.

    random_state : int, RandomState instance or None, default=None
        Controls the principal components and the folds of the target encoding.

    n_jobs : int, default=None
        Number of entries that are fitted in parallel, as in ``ColumnTransformer``.

    **rules : dict
        Thresholds of the rules: the keyword arguments of
        :func:`~sk_sentemb.preprocessing.describe_columns`.

    Returns
    -------
    ColumnTransformer
        The unfitted transformer, with an entry for each role that has columns.

    Raises
    ------
    ValueError
        If neither ``X`` nor columns are given, no column has a role, a column has two roles or is not
        in ``X``; if ``roles``, ``rules`` or a column of text named ``""`` are given without ``X``.
    TypeError
        If ``embedder``, ``image_embedder`` or ``categorical_encoder`` is not an estimator, or a rule is
        unknown.

    Warns
    -----
    ColumnRoleWarning
        If columns are dropped because their cells look like ids, such as names of persons, although
        neither ``roles`` nor the column name says so. No warning if the columns of every role are
        given.

    See Also
    --------
    sk_sentemb.text_column_selector : Select the columns of text.
    sklearn.compose.make_column_transformer : Combine transformers by hand.

    Notes
    -----
    ==================== ============================================================================
    Entry                Steps
    ==================== ============================================================================
    ``text-<column>``    the embedder; with ``text_components``, ``embedder`` and ``pca``
    ``categorical``      ``parse`` as strings, with missing values as ``"missing"``; ``encode``
    ``numeric``          ``parse``; ``impute`` the median, with an indicator; ``scale``
    ``date``             ``encode`` (:class:`~sk_sentemb.preprocessing.DateEncoder`), with an
                         indicator; ``impute`` the median; ``scale``
    ``image-<column>``   the image embedder
    ``left-out``         ``"drop"``: ids and other columns without a role
    ==================== ============================================================================

    Parameters are addressed by entry and step: ``text-Review Text__model``, with ``text_components``
    ``text-Review Text__embedder__model``, ``categorical__encode__min_frequency``. Because two
    underscores separate these names, runs of underscores in the name of a column become one in the name
    of its entry, and trailing ones are removed.

    Frozen embedders share the in-memory cache: each text is embedded once, for all columns, folds and
    candidates.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_sentemb import make_multimodal_transformer
    >>> X = pd.DataFrame(
    ...     {
    ...         "review": ["Fits me very well.", "Too large for me!", "My favorite dress", None],
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
    columns = _resolve_columns(X, given, roles, rules)
    inferred_ids = [name for name in columns.get("id", []) if name not in (roles or {})]
    if inferred_ids and any(listed is None for listed in given.values()):
        _warn_dropped_ids(inferred_ids, RoleRules(**rules))
    if not any(columns[role] for role in FEATURE_ROLES):
        raise ValueError(
            "No column has a role. Pass X or list columns; describe_columns(X) shows the reasons."
        )
    entries: list[tuple[str, Any, Any]] = []
    names: set[str] = set()
    for column in columns["text"]:
        entry = make_entry_name("text", column, names)
        step = make_text_step(embedder, text_components, random_state, entry=entry)
        entries.append((entry, step, _find_index(column, X) if column == "" else column))
    if columns["categorical"]:
        step = make_categories_step(categorical_encoder, random_state)
        entries.append(("categorical", step, columns["categorical"]))
    if columns["numeric"]:
        entries.append(("numeric", make_numbers_step(), columns["numeric"]))
    if columns["date"]:
        entries.append(("date", make_dates_step(), columns["date"]))
    for column in columns["image"]:
        entry = make_entry_name("image", column, names)
        entries.append((entry, make_image_step(image_embedder), [column]))
    others = [name for role in columns if role not in FEATURE_ROLES for name in columns[role]]
    if others:
        entries.append(("left-out", "drop", others))
    return ColumnTransformer(entries, n_jobs=n_jobs)


def _resolve_columns(
    X: Any,
    given: Mapping[str, Columns | None],
    roles: Mapping[str, str] | None,
    rules: Mapping[str, Any],
) -> dict[str, list[str]]:
    """Return the columns of each role, from X or from the lists."""
    RoleRules.from_kwargs("make_multimodal_transformer", rules)
    if X is not None:
        return column_roles(X, roles=roles, **given, **rules)
    if roles or rules:
        raise ValueError("roles and rules have no effect without X. Pass X, or list the columns.")
    columns: dict[str, list[str]] = {}
    for role, listed in given.items():
        if callable(listed):
            raise ValueError(f"{role} is a callable and requires X. Pass X, or list the columns.")
        columns[role] = [listed] if isinstance(listed, str) else list(listed or [])
    names = [name for listed in columns.values() for name in listed]
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"Column {repeated[0]!r} is listed twice. Pass it once.")
    return columns


def _find_index(column: str, X: Any) -> int:
    """Return the index of a column named "", which scikit-learn treats as no column."""
    if X is None:
        raise ValueError(f"A column named {column!r} requires X. Pass X, or rename the column.")
    return list(named_columns(X)).index(column)


def _warn_dropped_ids(names: list[str], rules: RoleRules) -> None:
    """Warn about columns that are ids by their cells and not by their names."""
    if dropped := ", ".join(repr(name) for name in names if not rules.is_id_name(name)):
        warn(
            f"Columns of X are dropped because their cells look like ids: {dropped}. "
            "describe_columns(X) shows the reasons. To keep a column, pass "
            "roles={'<column>': 'text'} or another role; to drop it without this warning, pass the "
            "role 'id'.",
            ColumnRoleWarning,
        )
