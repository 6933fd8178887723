"""The entries of a column transformer for tables with text, one for each role."""

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

from .categories import CategoryReader
from .date_features import DateParts
from .parsing import read_numbers
from .role_rules import RoleRules
from .text_pca import TextPCA


def entry_name(kind: str, column: str, taken: set[str]) -> str:
    """Name the entry of one column, so that parameters of it can be set."""
    # A name that ends in an underscore would take one from the two behind it.
    name = first = f"{kind}-{re.sub('_{2,}', '_', column).rstrip('_')}"
    n = 1
    while name in taken:
        n += 1
        name = f"{first}-{n}"
    taken.add(name)
    return name


def text_step(
    embedder: Any, components: int | float | None, random_state: Any, *, entry: str
) -> Any:
    """Make what embeds a column of text, for an entry of this name."""
    if embedder is None:
        # Here, not above: it brings torch and transformers.
        from ..embedder import SentenceEmbedder

        embedder = SentenceEmbedder()
    embedder = _copied("embedder", embedder, "SentenceEmbedder({!r})")
    if components is None:
        return embedder
    pca = TextPCA(components, entry=entry, random_state=random_state)
    return Pipeline([("embedder", embedder), ("pca", pca)])


def image_step(embedder: Any) -> Any:
    """Make what embeds a column of pictures."""
    if embedder is None:
        embedder = import_module("sk_sentemb.image").ImageEmbedder()
    return _copied("image_embedder", embedder, "ImageEmbedder({!r})")


def _copied(name: str, estimator: Any, example: str) -> Any:
    if isinstance(estimator, str):
        raise TypeError(
            f"{name}={estimator!r} is a string; pass an estimator, such as {example.format(estimator)}."
        )
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise TypeError(
            f"{name}={estimator!r} is no estimator; pass an object with fit, transform and get_params."
        )
    return clone(estimator)


def categories_step(encoder: str | BaseEstimator, random_state: Any) -> Pipeline:
    """Make what encodes columns of categories."""
    # A cell that says "missing" is one of them.
    read = CategoryReader(fill="missing")
    return Pipeline([("read", read), ("encode", _encoder(encoder, random_state))])


def numbers_step() -> Pipeline:
    """Make what imputes and scales columns of numbers."""
    read = FunctionTransformer(read_numbers, feature_names_out="one-to-one")
    impute = _impute(add_indicator=True)
    return Pipeline([("read", read), ("impute", impute), ("scale", StandardScaler())])


def dates_step() -> Pipeline:
    """Make what takes dates apart, imputes and scales."""
    # One indicator for all parts.
    parts = DateParts(parts=(*DateParts().parts, "missing"))
    impute = _impute(add_indicator=False)
    return Pipeline([("parts", parts), ("impute", impute), ("scale", StandardScaler())])


def _impute(*, add_indicator: bool) -> SimpleImputer:
    # Of a column that has nothing in a fold, zeros stay, so that all folds have as many features.
    return SimpleImputer(strategy="median", add_indicator=add_indicator, keep_empty_features=True)


def _encoder(encoder: str | BaseEstimator, random_state: Any) -> Any:
    if not isinstance(encoder, str):
        return _copied("categorical_encoder", encoder, "")
    if encoder == "onehot":
        return OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            max_categories=RoleRules.max_categories,
            sparse_output=False,
        )
    if encoder == "target":
        return _target_encoder(random_state)
    raise ValueError(
        f"categorical_encoder={encoder!r}; pass 'onehot', 'target' or an estimator that encodes "
        "categories."
    )


def _target_encoder(random_state: Any) -> TargetEncoder:
    if random_state is None:
        return TargetEncoder()
    if signature(TargetEncoder).parameters["random_state"].default is None:
        return TargetEncoder(random_state=random_state)
    # scikit-learn 1.9 and later.
    return TargetEncoder(cv=KFold(5, shuffle=True, random_state=random_state))
