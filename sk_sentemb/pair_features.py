"""What the vectors of two texts say about the pair."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from ._atomic_fit import atomic_fit

# Rows whose scalars are computed together: what is needed on the way stays small.
_ROWS_AT_ONCE = 512


def _copy_of_u(u: np.ndarray, v: np.ndarray, out: np.ndarray) -> None:
    out[...] = u


def _copy_of_v(u: np.ndarray, v: np.ndarray, out: np.ndarray) -> None:
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


# Both vectors and where to write -> a column for each dimension.
_VECTORS: dict[str, Callable[..., Any]] = {
    "u": _copy_of_u,
    "v": _copy_of_v,
    "abs_diff": _abs_diff,
    "product": np.multiply,
    "sum": np.add,
}

# Both vectors, float64 -> one number for each row.
_SCALARS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": _euclidean,
    "manhattan": _manhattan,
}

_COMBINATIONS = (*_VECTORS, *_SCALARS)

_DISTANCES = ("euclidean", "manhattan")


def _scalars(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Compute one number for each row, in float64 whatever the vectors are."""
    numbers = np.empty(len(u))
    for start in range(0, len(u), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        parts = (half[rows].astype(np.float64, copy=False) for half in (u, v))
        numbers[rows] = _SCALARS[name](*parts)
    return numbers


def _check_names(combine: str | Sequence[str]) -> tuple[str, ...]:
    names = (combine,) if isinstance(combine, str) else tuple(combine)
    if not names:
        raise ValueError(f"combine={combine!r} is empty; pass one or more of {_COMBINATIONS}.")
    if unknown := [name for name in names if name not in _COMBINATIONS]:
        raise ValueError(f"combine has {unknown}, which are not among {_COMBINATIONS}.")
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"combine has {repeated} more than once; pass each name once.")
    return names


class _EstimatorOfPairs(BaseEstimator):
    """Reads the vectors of two texts, side by side."""

    def _halves(self, X: Any, y: Any = None, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Check ``X``, and ``y`` where there is one; return the vectors of the two texts."""
        checked = validate_data(
            self,
            X,
            "no_validation" if y is None else y,
            reset=reset,
            ensure_all_finite="allow-nan",
            # What embeds no rows to no rows shall not fail one step later.
            ensure_min_samples=int(reset),
        )
        vectors = checked if y is None else checked[0]
        # A list of dtypes for validate_data would make float64 of a polars frame of float32.
        if vectors.dtype not in (np.float64, np.float32):
            vectors = vectors.astype(np.float64)
        return self._split(vectors)

    def _split(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dim, odd = divmod(X.shape[1], 2)
        if odd:
            raise ValueError(
                f"X has an odd number of columns (n_features={X.shape[1]}), but "
                f"{type(self).__name__} takes the vectors of two texts side by side; pass the "
                "output of SentenceEmbedder on two columns of text."
            )
        return X[:, :dim], X[:, dim:]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class PairFeatures(TransformerMixin, _EstimatorOfPairs):
    """Features of pairs of texts, from the vectors of both.

    Takes what :class:`~sk_sentemb.SentenceEmbedder` returns for two columns of text: the vectors u
    of the first and v of the second, side by side. A classifier or regressor of the features is
    then one of pairs: which follows from which, which are duplicates, how similar they are.

    Parameters
    ----------
    combine : str, list of str or tuple of str, default=("u", "v", "abs_diff")
        What to return, in that order. A column for each dimension: ``"u"``, ``"v"``, ``"abs_diff"``
        for the absolute difference, ``"product"``, ``"sum"``. One column: ``"cosine"``, ``"dot"``,
        ``"euclidean"``, ``"manhattan"``; the last two are distances.

    Attributes
    ----------
    combine_ : tuple of str
        The combinations.

    n_features_in_ : int
        Number of columns seen in ``fit``: twice the dimensions of one vector.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if ``X`` had string names for all of them.

    See Also
    --------
    PairSimilarity : The similarity of the two vectors as a prediction.

    Notes
    -----
    The default is what Sentence-BERT [1]_ trains its classifier of natural language inference on.
    ``"abs_diff"``, ``"product"``, ``"sum"`` and the scalars are the same when the two texts change
    places.

    float32 and float64 stay what they are, other numbers become float64. Scalars are computed in
    float64. The cosine of a vector of zeros, which an embedder gives for a missing text, is 0. NaN is
    let through: a scalar is NaN where either vector has one.

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
        """Check the parameters and learn the columns.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2 * embedding_dim)
            The vectors of both texts side by side.
        y : Ignored
            Not used.

        Returns
        -------
        PairFeatures
            The fitted transformer itself.

        Raises
        ------
        ValueError
            If ``combine`` is empty or has a name that is unknown or repeated, or the number of
            columns is odd.
        """
        names = _check_names(self.combine)
        self._halves(X, reset=True)
        self.combine_ = names
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Combine the two vectors of each row.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2 * embedding_dim)
            The vectors of both texts side by side. No rows are fine.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out), float32 or float64
            The combinations side by side.

        Raises
        ------
        ValueError
            If the number of columns is another than in ``fit``.
        """
        check_is_fitted(self)
        u, v = self._halves(X, reset=False)
        widths = [u.shape[1] if name in _VECTORS else 1 for name in self.combine_]
        features = np.empty((len(u), sum(widths)), dtype=u.dtype)
        start = 0
        for name, width in zip(self.combine_, widths, strict=True):
            out = features[:, start : start + width]
            if name in _VECTORS:
                _VECTORS[name](u, v, out)
            else:
                out[:, 0] = _scalars(name, u, v)
            start += width
        return features

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the output's columns ``abs_diff_0``, ``abs_diff_1`` and so on; ``cosine``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input's columns. They are checked, not used: a feature is one of the pair.

        Returns
        -------
        ndarray of shape (n_features_out,), object
            One name for each output column.
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


class PairSimilarity(RegressorMixin, _EstimatorOfPairs):
    """The similarity of the vectors of two texts as a prediction, without a learned head.

    Takes what :class:`~sk_sentemb.SentenceEmbedder` returns for two columns of text, so that a model
    can be scored on similarities as it is, or fine-tuned, in ``cross_val_score`` and searches.

    Parameters
    ----------
    metric : {"cosine", "dot", "euclidean", "manhattan"}, default="cosine"
        What is predicted. The last two are distances with their sign changed, so that more is more
        similar.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen in ``fit``: twice the dimensions of one vector.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if ``X`` had string names for all of them.

    See Also
    --------
    PairFeatures : Features of the two vectors, for a classifier or regressor that learns.

    Notes
    -----
    Nothing is learned, and the predictions have the metric's range, not that of ``y``. Score them by
    rank correlation, as is usual for sentence embeddings [1]_; ``score`` is R², as of all regressors,
    and means little here.

    The cosine of a vector of zeros, which an embedder gives for a missing text, is 0. NaN is let
    through.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019, https://arxiv.org/abs/1908.10084

    Examples
    --------
    >>> from scipy.stats import spearmanr
    >>> from sklearn.metrics import make_scorer
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_sentemb import PairSimilarity, SentenceEmbedder
    >>> pairs = [
    ...     ("The cat sleeps.", "A kitten naps."),
    ...     ("The cat sleeps.", "The dog sleeps."),
    ...     ("The cat sleeps.", "Stocks fell sharply."),
    ...     ("It rains.", "Rain is falling."),
    ...     ("It rains.", "It is windy."),
    ...     ("It rains.", "He reads a book."),
    ... ]
    >>> similarities = [4.5, 2.5, 0.0, 5.0, 2.0, 0.0]
    >>> spearman = make_scorer(lambda y, predicted: spearmanr(y, predicted).statistic)
    >>> model = make_pipeline(SentenceEmbedder(), PairSimilarity())
    >>> cross_val_score(model, pairs, similarities, scoring=spearman, cv=2).round(2)
    array([1., 1.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"metric": [StrOptions(set(_SCALARS))]}

    def __init__(self, *, metric: str = "cosine") -> None:
        self.metric = metric

    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and learn the columns.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2 * embedding_dim)
            The vectors of both texts side by side.
        y : array-like of shape (n_samples,), default=None
            Checked as that of any regressor, not used.

        Returns
        -------
        PairSimilarity
            The fitted regressor itself.

        Raises
        ------
        ValueError
            If the number of columns is odd.
        """
        self._halves(X, y, reset=True)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Compute how similar the two vectors of each row are.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2 * embedding_dim)
            The vectors of both texts side by side. No rows are fine.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            The more, the more similar.

        Raises
        ------
        ValueError
            If the number of columns is another than in ``fit``.
        """
        check_is_fitted(self)
        similarities = _scalars(self.metric, *self._halves(X, reset=False))
        return -similarities if self.metric in _DISTANCES else similarities

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.regressor_tags.poor_score = True
        return tags
