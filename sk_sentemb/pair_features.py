"""Features and similarities of pairs of texts, computed from their embeddings."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from ._atomic_fit import atomic_fit
from ._docstrings import substitute_docstring

# Rows whose scalars are computed together, so that temporary arrays stay small.
_BLOCK_ROWS = 512


def _copy_u(u: np.ndarray, v: np.ndarray, out: np.ndarray) -> None:
    out[...] = u


def _copy_v(u: np.ndarray, v: np.ndarray, out: np.ndarray) -> None:
    out[...] = v


def _abs_diff(u: np.ndarray, v: np.ndarray, out: np.ndarray) -> None:
    np.subtract(u, v, out=out)
    np.abs(out, out=out)


def _dot(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", u, v)


def _cosine(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    lengths = np.sqrt(_dot(u, u)) * np.sqrt(_dot(v, v))
    cosines = np.divide(_dot(u, v), lengths, out=np.zeros_like(lengths), where=lengths != 0)
    return cosines.clip(-1, 1)


def _euclidean(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    difference = u - v
    return np.sqrt(_dot(difference, difference))


def _manhattan(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.abs(u - v).sum(axis=1)


# Two embeddings and an output array -> one feature per dimension.
_VECTORS: dict[str, Callable[..., Any]] = {
    "u": _copy_u,
    "v": _copy_v,
    "abs_diff": _abs_diff,
    "product": np.multiply,
    "sum": np.add,
}

# Two embeddings, float64 -> one number per row.
_SCALARS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": _euclidean,
    "manhattan": _manhattan,
}

_COMBINATIONS = (*_VECTORS, *_SCALARS)

_DISTANCES = ("euclidean", "manhattan")


def _compute_scalars(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Compute one number per row, in float64."""
    numbers = np.empty(len(u))
    for start in range(0, len(u), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        parts = (half[rows].astype(np.float64, copy=False) for half in (u, v))
        numbers[rows] = _SCALARS[name](*parts)
    return numbers


def _validate_names(combine: str | Sequence[str]) -> tuple[str, ...]:
    names = (combine,) if isinstance(combine, str) else tuple(combine)
    if not names:
        raise ValueError(f"combine={combine!r} is empty; pass one or more of {_COMBINATIONS}.")
    if unknown := [name for name in names if name not in _COMBINATIONS]:
        raise ValueError(f"combine has {unknown}, which are not among {_COMBINATIONS}.")
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"combine has {repeated} more than once; pass each name once.")
    return names


class _BasePairEstimator(BaseEstimator):
    """An estimator of the concatenated embeddings of two texts."""

    def _validate_pairs(
        self, X: Any, y: Any = None, *, reset: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Validate X, and y if there is one, and return the embeddings of both texts."""
        checked = validate_data(
            self,
            X,
            "no_validation" if y is None else y,
            reset=reset,
            ensure_all_finite="allow-nan",
            # Zero rows of an embedder must not fail here.
            ensure_min_samples=int(reset),
        )
        X = checked if y is None else checked[0]
        # A list of dtypes for validate_data would convert float32 polars frames to float64.
        if X.dtype not in (np.float64, np.float32):
            X = X.astype(np.float64)
        return self._split(X)

    def _split(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dim, odd = divmod(X.shape[1], 2)
        if odd:
            raise ValueError(
                f"X has an odd number of columns (n_features={X.shape[1]}), but "
                f"{type(self).__name__} requires the concatenated embeddings of two texts. Pass the "
                "output of SentenceEmbedder for two columns of text."
            )
        return X[:, :dim], X[:, dim:]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


@substitute_docstring
class PairFeatures(TransformerMixin, _BasePairEstimator):
    """Features of pairs of texts, computed from the embeddings of both.

    The input is what :class:`~sk_sentemb.SentenceEmbedder` returns for two columns of text: the
    embeddings u of the first and v of the second, concatenated. A classifier or regressor of the
    features then predicts properties of pairs: entailment, duplicates, similarity.

    Parameters
    ----------
    combine : str, list of str or tuple of str, default=("u", "v", "abs_diff")
        Features to compute, in this order.

        - ``"u"``, ``"v"``: the embeddings;
        - ``"abs_diff"``, ``"product"``, ``"sum"``: their absolute difference, product and sum, one
          feature per dimension;
        - ``"cosine"``, ``"dot"``: cosine similarity and dot product, one feature each;
        - ``"euclidean"``, ``"manhattan"``: distances, one feature each.

    Attributes
    ----------
    combine_ : tuple of str
        The features, as a tuple.

    n_features_in_ : int
        Number of columns seen in ``fit``: twice the embedding dimension.

    {feature_names_in_}

    See Also
    --------
    PairSimilarity : The similarity of the two embeddings as a prediction.

    Notes
    -----
    The default is the input of the natural language inference classifier of Sentence-BERT [1]_.
    ``"abs_diff"``, ``"product"``, ``"sum"`` and the scalars do not depend on the order of the texts.

    float32 and float64 are preserved, other dtypes are converted to float64. Scalars are computed in
    float64. The cosine with a vector of zeros, the embedding of a missing text, is 0. NaN is passed
    through: a scalar is NaN if either embedding contains NaN.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019, https://arxiv.org/abs/1908.10084

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_sentemb import PairFeatures, SentenceEmbedder
    >>> pairs = [
    ...     ("How do I learn to swim?", "What is the best way to learn swimming?"),
    ...     ("Is tea healthy?", "Is drinking tea good for you?"),
    ...     ("How do I learn to swim?", "How do I learn to cook?"),
    ...     ("Is tea healthy?", "Where does tea grow?"),
    ... ]
    >>> duplicates = [1, 1, 0, 0]
    >>> classifier = make_pipeline(
    ...     SentenceEmbedder(), PairFeatures(combine=("abs_diff", "cosine")), LogisticRegression()
    ... )
    >>> classifier.fit(pairs, duplicates).predict(pairs)
    array([1, 1, 0, 0])
    >>> classifier[:-1].get_feature_names_out()[[0, 383, 384]]
    array(['abs_diff_0', 'abs_diff_383', 'cosine'], dtype=object)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"combine": [str, list, tuple]}

    def __init__(self, *, combine: str | Sequence[str] = ("u", "v", "abs_diff")) -> None:
        self.combine = combine

    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Validate the parameters and store the number of columns.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2 * embedding_dim)
            The concatenated embeddings of both texts.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        PairFeatures
            The fitted transformer itself.

        Raises
        ------
        ValueError
            If ``combine`` is empty or has an unknown or repeated name, or the number of columns is odd.
        """
        names = _validate_names(self.combine)
        self._validate_pairs(X, reset=True)
        self.combine_ = names
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Compute the features of each pair.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2 * embedding_dim)
            The concatenated embeddings of both texts. Zero rows are allowed.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out), float32 or float64
            The features, concatenated.

        Raises
        ------
        ValueError
            If the number of columns differs from that seen in ``fit``.
        """
        check_is_fitted(self)
        u, v = self._validate_pairs(X, reset=False)
        widths = [u.shape[1] if name in _VECTORS else 1 for name in self.combine_]
        features = np.empty((len(u), sum(widths)), dtype=u.dtype)
        start = 0
        for name, width in zip(self.combine_, widths, strict=True):
            out = features[:, start : start + width]
            if name in _VECTORS:
                _VECTORS[name](u, v, out)
            else:
                out[:, 0] = _compute_scalars(name, u, v)
            start += width
        return features

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features: ``abs_diff_0``, ``abs_diff_1``, …, ``cosine``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input columns. They are validated, but not part of the output names.

        Returns
        -------
        ndarray of shape (n_features_out,), object
            One name per output column.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features)
        dims = range(self.n_features_in_ // 2)
        names: list[str] = []
        for name in self.combine_:
            names += [f"{name}_{i}" for i in dims] if name in _VECTORS else [name]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@substitute_docstring
class PairSimilarity(RegressorMixin, _BasePairEstimator):
    """Similarity of the embeddings of two texts as a prediction, without training.

    The input is what :class:`~sk_sentemb.SentenceEmbedder` returns for two columns of text, so that a
    pretrained or fine-tuned model can be evaluated on similarities in ``cross_val_score`` and searches.

    Parameters
    ----------
    metric : {"cosine", "dot", "euclidean", "manhattan"}, default="cosine"
        The similarity to predict. Distances are negated, so that higher values mean more similar.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen in ``fit``: twice the embedding dimension.

    {feature_names_in_}

    See Also
    --------
    PairFeatures : Features of the two embeddings, for a classifier or regressor.

    Notes
    -----
    Predictions have the range of the metric, not that of ``y``. Evaluate them by rank correlation, as is
    usual for sentence embeddings [1]_; ``score`` is R², as for all regressors, and means little here.

    The cosine with a vector of zeros, the embedding of a missing text, is 0. NaN is passed through.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019, https://arxiv.org/abs/1908.10084

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_sentemb import PairSimilarity, SentenceEmbedder
    >>> from sk_sentemb.metrics import spearman_scorer
    >>> pairs = [
    ...     ("The cat sleeps.", "A kitten naps."),
    ...     ("The cat sleeps.", "The dog sleeps."),
    ...     ("The cat sleeps.", "Stocks fell sharply."),
    ...     ("It rains.", "Rain is falling."),
    ...     ("It rains.", "It is windy."),
    ...     ("It rains.", "He reads a book."),
    ... ]
    >>> similarities = [4.5, 2.5, 0.0, 5.0, 2.0, 0.0]
    >>> model = make_pipeline(SentenceEmbedder(), PairSimilarity())
    >>> cross_val_score(model, pairs, similarities, scoring=spearman_scorer, cv=2).round(2)
    array([1., 1.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"metric": [StrOptions(set(_SCALARS))]}

    def __init__(self, *, metric: str = "cosine") -> None:
        self.metric = metric

    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Validate the parameters and store the number of columns.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2 * embedding_dim)
            The concatenated embeddings of both texts.
        y : array-like of shape (n_samples,), default=None
            Validated as in other regressors, but not used.

        Returns
        -------
        PairSimilarity
            The fitted regressor itself.

        Raises
        ------
        ValueError
            If the number of columns is odd.
        """
        self._validate_pairs(X, y, reset=True)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Compute the similarity of each pair.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2 * embedding_dim)
            The concatenated embeddings of both texts. Zero rows are allowed.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Higher values mean more similar.

        Raises
        ------
        ValueError
            If the number of columns differs from that seen in ``fit``.
        """
        check_is_fitted(self)
        similarities = _compute_scalars(self.metric, *self._validate_pairs(X, reset=False))
        return -similarities if self.metric in _DISTANCES else similarities

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.regressor_tags.poor_score = True
        return tags
