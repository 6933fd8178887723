"""The steps of a column transformer for the columns of each role."""

import re
from importlib import import_module
from inspect import signature
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    StandardScaler,
    TargetEncoder,
)

from .date_features import DateEncoder
from .parsing import CategoryParser, parse_numbers
from .role_rules import RoleRules
from .text_pca import TextPCA


def make_entry_name(role: str, column: str, taken: set[str]) -> str:
    """Return a new entry name for a column, and add it to the names taken."""
    # Underscores at the end would merge with the two that separate entry and parameter.
    name = first = f"{role}-{re.sub('_{2,}', '_', column).rstrip('_')}"
    n = 1
    while name in taken:
        n += 1
        name = f"{first}-{n}"
    taken.add(name)
    return name


def make_text_step(
    embedder: Any, components: int | float | None, random_state: Any, *, entry: str
) -> Any:
    """Return the step that embeds a column of text."""
    if embedder is None:
        # Not at the top, since it loads torch and transformers.
        from ..embedder import SentenceEmbedder

        embedder = SentenceEmbedder()
    embedder = _clone_estimator("embedder", embedder, "SentenceEmbedder({!r})")
    if components is None:
        return embedder
    pca = TextPCA(components, entry=entry, random_state=random_state)
    return Pipeline([("embedder", embedder), ("pca", pca)])


def make_image_step(embedder: Any) -> Any:
    """Return the step that embeds a column of images."""
    if embedder is None:
        embedder = import_module("sk_sentemb.image").ImageEmbedder()
    return _clone_estimator("image_embedder", embedder, "ImageEmbedder({!r})")


def make_categories_step(encoder: str | BaseEstimator, random_state: Any) -> Pipeline:
    """Return the step that encodes columns of categories."""
    encode = _resolve_encoder(encoder, random_state)
    return Pipeline([("parse", CategoryParser(fill="missing")), ("encode", encode)])


def make_numbers_step() -> Pipeline:
    """Return the step that imputes and scales columns of numbers."""
    parse = FunctionTransformer(parse_numbers, feature_names_out="one-to-one")
    impute = _make_imputer(add_indicator=True)
    return Pipeline([("parse", parse), ("impute", impute), ("scale", StandardScaler())])


def make_dates_step() -> Pipeline:
    """Return the step that encodes, imputes and scales columns of dates."""
    # One indicator for all parts of a date.
    encode = DateEncoder(parts=(*DateEncoder().parts, "missing"))
    impute = _make_imputer(add_indicator=False)
    return Pipeline([("encode", encode), ("impute", impute), ("scale", StandardScaler())])


def _make_imputer(*, add_indicator: bool) -> SimpleImputer:
    # A column that is empty in a fold becomes zeros, so that all folds have the same features.
    return SimpleImputer(strategy="median", add_indicator=add_indicator, keep_empty_features=True)


def _clone_estimator(parameter: str, estimator: Any, example: str) -> Any:
    if isinstance(estimator, str):
        raise TypeError(
            f"{parameter}={estimator!r} is a string; pass an estimator, such as "
            f"{example.format(estimator)}."
        )
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise TypeError(
            f"{parameter}={estimator!r} is not an estimator; pass an object with fit, transform and "
            "get_params."
        )
    return clone(estimator)


def _resolve_encoder(encoder: str | BaseEstimator, random_state: Any) -> Any:
    if not isinstance(encoder, str):
        return _clone_estimator("categorical_encoder", encoder, "")
    if encoder == "onehot":
        return OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            max_categories=RoleRules.max_categories,
            sparse_output=False,
        )
    if encoder == "target":
        return _make_target_encoder(random_state)
    raise ValueError(
        f"categorical_encoder={encoder!r} is unknown; pass 'onehot', 'target' or an estimator that "
        "encodes categories."
    )


def _make_target_encoder(random_state: Any) -> TargetEncoder:
    if random_state is None:
        return TargetEncoder()
    if signature(TargetEncoder).parameters["random_state"].default is None:
        return TargetEncoder(random_state=random_state)
    # scikit-learn 1.9 and later.
    return TargetEncoder(cv=KFold(5, shuffle=True, random_state=random_state))
