"""`SentenceClassifier`: encoder and head of a classifier, trained together."""

from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import _fit_context
from sklearn.utils import Tags, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from .._atomic_fit import atomic_fit
from .._docstrings import substitute_docstring
from .._inputs import check_no_missing
from .._logits_classifier import LogitsClassifierMixin
from .._progress import fit_task, with_callbacks
from ..losses import DataFormat
from ._base import BaseEndToEndModel


@substitute_docstring
class SentenceClassifier(LogitsClassifierMixin, BaseEndToEndModel):
    """Classifier for text and mixed-type tables, trained end to end.

    An encoder embeds the texts of a row. A head over the embeddings, the numbers, categories and dates
    and the images of the row outputs logits. Encoder and head are trained together. The task is binary,
    multiclass or multilabel.

    Parameters
    ----------
    model : str, path-like or Encoder, default="sentence-transformers/all-MiniLM-L6-v2"
        {model_of_texts}
    {revision}
    {head_and_fusion}
    {columns}
    {prompt}
    {prompt_name}
    {max_length}
    {long_text_of_rows}
    {missing_of_rows}
    {dtype}
    {device}
    {batch_tokens}
    {cache}
    {n_jobs}
    {fine_tuner_of_rows}
    {warm_start_of_rows}
    {store_weights_in_pickle}
    {verbose}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted classes; with several labels at once, their indices.

    {attributes_of_rows}
    {feature_names_in_}

    See Also
    --------
    SentenceRegressor : Regressor for text and mixed-type tables.
    SentenceEmbedder : Embeddings for any classifier.

    References
    ----------
    .. [1] J. Arevalo et al., "Gated Multimodal Units for Information Fusion", 2017,
       https://arxiv.org/abs/1702.01992

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_sentemb import FineTuner, SentenceClassifier
    >>> X = pd.DataFrame(
    ...     {
    ...         "review": ["Fits well.", "Too tight!", "I love it.", "It fell apart."] * 4,
    ...         "age": [30, 41, 25, 38] * 4,
    ...     }
    ... )
    >>> y = ["good", "bad", "good", "bad"] * 4
    >>> tuner = FineTuner(epochs=10, batch_size=8, random_state=0)
    >>> classifier = SentenceClassifier(text="review", fine_tuner=tuner).fit(X, y)
    >>> classifier.predict(X[:2]).tolist()
    ['good', 'bad']
    """

    classes_: np.ndarray
    _n_labels: int

    @substitute_docstring
    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train encoder and head.

        Parameters
        ----------
        {X_of_rows}
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class of each row, or 0 or 1 for each of several labels.
        {sample_weight}

        Returns
        -------
        SentenceClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If ``X`` has no text column, or ``y`` does not consist of at least two classes.
        """
        target = self._validate_y(y)
        with fit_task(self, "fit", X, y, max_subtasks=self._n_epochs) as context:
            if self._n_labels:
                how: dict[str, Any] = {
                    "data_format": DataFormat.ROW_VALUES,
                    "error": "binary_cross_entropy",
                }
            else:
                how = {"data_format": DataFormat.ROW_LABELS, "error": "cross_entropy"}
                how["classes"] = self.classes_
            self._fit(X, target, sample_weight, context, **how)
        return self

    @property
    def _is_multilabel(self) -> bool:
        return self._n_labels > 0

    def _compute_logits(self, X: Any) -> np.ndarray:
        return self._compute_outputs(X, self.head_)

    def _validate_y(self, y: Any) -> np.ndarray:
        """Set the classes or labels, and return the target."""
        if y is None:
            raise ValueError(
                "SentenceClassifier requires y to be passed, but the target y is None."
            )
        if not issparse(y):
            check_no_missing(y)
        check_classification_targets(y)
        if type_of_target(y).startswith("multiclass-multioutput"):
            raise ValueError(
                "y has several columns of more than two classes. Pass one column, 0 and 1 for each of "
                "several labels, or use sklearn.multioutput.MultiOutputClassifier."
            )
        if type_of_target(y) == "multilabel-indicator":
            target = _validate_labels(y)
            self._set_classes(np.arange(target.shape[1]), n_labels=target.shape[1])
            return target
        target = column_or_1d(y, warn=True)
        classes = np.unique(target)
        if len(classes) == 1:
            raise ValueError(
                f"y contains one class ({classes.tolist()[0]!r}); at least two are required."
            )
        self._set_classes(classes, n_labels=0)
        return target

    def _set_classes(self, classes: np.ndarray, *, n_labels: int) -> None:
        if self._is_warm_start():
            same = n_labels == self._n_labels and np.array_equal(classes, self.classes_)
            if not same:
                of = "labels" if n_labels else "classes"
                raise ValueError(
                    f"y has the {of} {classes.tolist()}, but with warm_start they must be those of the "
                    f"last fit: {self.classes_.tolist()}{' as labels' * (self._n_labels > 0)}."
                )
            return
        self.classes_, self._n_labels = classes, n_labels

    def _encode_target(self, y: Any) -> np.ndarray:
        if not self._n_labels:
            return column_or_1d(y)
        target = _validate_labels(y)
        if target.shape[1] != self._n_labels:
            raise ValueError(
                f"validation_data[1] has {target.shape[1]} labels, but y has {self._n_labels}."
            )
        return target

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _validate_labels(y: Any) -> np.ndarray:
    """Return an array of 0 and 1, (n_samples, n_labels)."""
    target = check_array(y, accept_sparse=True, input_name="y")
    target = target.toarray() if issparse(target) else target
    if not np.isin(target, (0, 1)).all():
        raise ValueError(
            f"y has several columns with the values {np.unique(target).tolist()}. Pass 0 or 1 for "
            "each label."
        )
    return target
