"""SentenceClassifier: classes of texts, and of rows with texts, tables and images."""

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import Tags, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from .._atomic_fit import atomic_fit
from .._inputs import check_no_missing
from .._pretrained import with_callbacks
from .._training import FineTuner
from ..cache import DiskCache, MemoryCache
from ..encoder import Encoder
from ..losses import DataFormat
from ._base import BaseEndToEndModel
from .fusion import HeadFactory
from .table_reader import Columns


class SentenceClassifier(ClassifierMixin, BaseEndToEndModel):
    """Classes of texts, or of rows with texts, numbers, categories and images.

    A transformer that embeds the texts and a head over its vectors and the rest of a row are trained
    together. Two classes, several, or several labels at once.

    Parameters
    ----------
    model : str, path-like or Encoder, default="sentence-transformers/all-MiniLM-L6-v2"
        The encoder of texts, as in :class:`~sk_sentemb.SentenceEmbedder`.

    revision : str, default=None
        Branch, tag or commit of the model on the hub.

    hidden_layer_sizes : sequence of int, default=()
        Widths of the layers between the fused parts and the outputs; none for a linear head.

    activation : {"relu", "gelu", "tanh", "identity"}, default="relu"
        After each of these layers.

    dropout : float, default=0.1
        Before each layer of the head, in training.

    head : callable, default=None
        Makes what follows the fusion instead: takes the numbers of inputs and of outputs, and returns
        a ``torch.nn.Module``, which takes (n_rows, n_inputs) and returns (n_rows, n_outputs).

    fusion : {"concat", "gated", "attention"}, default="concat"
        How the parts of a row become one vector: the vectors of its texts, its table, its images. Side
        by side; a weighted sum with weights that depend on all parts [1]_; or what a learned query
        finds in them.

    text : str, list of str or "auto", default="auto"
        The columns of text, where ``X`` is a data frame; ``"auto"`` for those that
        :func:`~sk_sentemb.preprocessing.column_roles` finds, or the one column that there is. Of
        anything else all columns are texts.

    categorical : str, list of str or "auto", default="auto"
        Likewise, the columns of categories.

    numeric : str, list of str or "auto", default="auto"
        Likewise, the columns of numbers.

    date : str, list of str or "auto", default="auto"
        Likewise, the columns of dates.

    image : str, list of str or "auto", default="auto"
        Likewise, the columns of images.

    image_embedder : ImageEmbedder, default=None
        What makes vectors of images, which is not trained. None for one with default settings.

    prompt : str, default=None
        Text to put before each text, exactly as it is, such as ``"query: "``; ``""`` for no prompt.

    prompt_name : str, default=None
        Name of one of the checkpoint's prompts to use, such as ``"query"``; only one of ``prompt`` and
        ``prompt_name`` can be set. With neither, the checkpoint's default prompt is used, if it has one.

    max_length : int, default=None
        Read at most so many tokens of a text. None for the checkpoint's limit.

    long_text : {"truncate", "chunk", "error"}, default="truncate"
        What to do with longer texts, as in :class:`~sk_sentemb.SentenceEmbedder`; of texts in windows,
        the first one is learnt from.

    missing : {"empty", "error"}, default="empty"
        Read a missing text as the empty one, and tell the head that it is missing, if some in that
        column were in ``fit``; or raise.

    dtype : {"float32", "bfloat16", "float16", "auto"}, default="float32"
        Number format of the transformer in predictions; in training, that of the ``fine_tuner``.

    device : str, default=None
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, …; None for the fastest that is there.

    batch_tokens : int or "auto", default="auto"
        How many tokens run together in predictions.

    cache : "memory", bool, str, path-like, MemoryCache, DiskCache or None, default="memory"
        Where vectors of texts are kept. See :mod:`sk_sentemb.cache`.

    n_jobs : int, default=None
        How many workers embed for predictions, as in joblib.

    fine_tuner : FineTuner, default=None
        How encoder and head are trained; None for ``FineTuner()``. ``FineTuner(trainable="head")``
        leaves the encoder as it is, embeds each text once, and solves for the weights of a linear head,
        for which ``dropout`` has no effect; ``lora_rank``, ``freeze_epochs``, ``layer_decay`` and the
        learning rates of encoder and head are there, too.

    warm_start : bool, default=False
        Whether a further ``fit`` goes on from the weights of the last one.

    store_weights_in_pickle : bool, default=False
        Whether a pickle holds the name and fingerprint of an encoder that was not trained, or its
        weights. Those of a trained one, and of the head, are always in it.

    verbose : int, default=0
        Above 0, a progress bar on standard error.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted; with several labels at once, their places.

    encoder_ : Encoder
        The trained encoder.

    embedder_ : SentenceEmbedder
        The same as an embedder of texts, for other pipelines.

    head_ : torch.nn.Module
        The trained head.

    history_ : DataFrame
        A row for each step.

    n_features_in_ : int
        Number of columns of ``X``.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if ``X`` had string names for all of them.

    See Also
    --------
    SentenceRegressor : Numbers instead of classes.
    SentenceEmbedder : Vectors for any classifier; with a ``fine_tuner``, trained before that.

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

    def __init__(
        self,
        model: str | os.PathLike[str] | Encoder = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        revision: str | None = None,
        hidden_layer_sizes: Sequence[int] = (),
        activation: str = "relu",
        dropout: float = 0.1,
        head: HeadFactory | None = None,
        fusion: str = "concat",
        text: Columns = "auto",
        categorical: Columns = "auto",
        numeric: Columns = "auto",
        date: Columns = "auto",
        image: Columns = "auto",
        image_embedder: Any = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        max_length: int | None = None,
        long_text: str = "truncate",
        missing: str = "empty",
        dtype: str = "float32",
        device: str | None = None,
        batch_tokens: int | str = "auto",
        cache: str | bool | os.PathLike[str] | MemoryCache | DiskCache | None = "memory",
        n_jobs: int | None = None,
        fine_tuner: FineTuner | None = None,
        warm_start: bool = False,
        store_weights_in_pickle: bool = False,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.revision = revision
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.head = head
        self.fusion = fusion
        self.text = text
        self.categorical = categorical
        self.numeric = numeric
        self.date = date
        self.image = image
        self.image_embedder = image_embedder
        self.prompt = prompt
        self.prompt_name = prompt_name
        self.max_length = max_length
        self.long_text = long_text
        self.missing = missing
        self.dtype = dtype
        self.device = device
        self.batch_tokens = batch_tokens
        self.cache = cache
        self.n_jobs = n_jobs
        self.fine_tuner = fine_tuner
        self.warm_start = warm_start
        self.store_weights_in_pickle = store_weights_in_pickle
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train encoder and head.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Texts, or rows with texts.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Classes, or 0 and 1 for each of several labels.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.

        Returns
        -------
        SentenceClassifier
            The fitted classifier itself.

        Raises
        ------
        ValueError
            If no column is text, or ``y`` has one class only or is not of classes.
        """
        target = self._learn_classes(y)
        with self._progress_task("fit", X, y, max_subtasks=self._n_epochs) as context:
            if self._n_labels:
                how: dict[str, Any] = {
                    "shape": DataFormat.ROW_VALUES,
                    "error": "binary_cross_entropy",
                }
            else:
                how = {"shape": DataFormat.ROW_LABELS, "error": "cross_entropy"}
                how["classes"] = self.classes_
            self._fit(X, target, sample_weight, context, **how)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest class of each row.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Rows as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Of `classes_`; with several labels at once, 0 and 1.
        """
        scores = self.decision_function(X)
        if self._n_labels:
            return (scores > 0).astype(int)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, as the model sees it.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Rows as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            In the order of `classes_`; with several labels at once, of each label.
        """
        scores = self.decision_function(X).astype(np.float64)
        if self._n_labels:
            return expit(scores)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        return softmax(scores, axis=1)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the outputs of the head.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Rows as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes), float32
            In the order of `classes_`; of two classes, by how much the second one is likelier.
        """
        outputs = self._outputs(X)
        if self._n_labels or len(self.classes_) > 2:
            return outputs
        return outputs[:, 1] - outputs[:, 0]

    def _learn_classes(self, y: Any) -> np.ndarray:
        """Find out what the classes are, and return the targets."""
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
            target = _as_labels(y)
            self._set_classes(np.arange(target.shape[1]), n_labels=target.shape[1])
            return target
        target = column_or_1d(y, warn=True)
        classes = np.unique(target)
        if len(classes) == 1:
            raise ValueError(
                f"y has one class, {classes.tolist()[0]!r}: there is nothing to tell apart. Pass rows "
                "of two classes or more."
            )
        self._set_classes(classes, n_labels=0)
        return target

    def _set_classes(self, classes: np.ndarray, *, n_labels: int) -> None:
        if self._is_warm_start():
            same = n_labels == self._n_labels and np.array_equal(classes, self.classes_)
            if not same:
                of = "labels" if n_labels else "classes"
                raise ValueError(
                    f"y has the {of} {classes.tolist()}, and with warm_start they must be those of the "
                    f"last fit: {self.classes_.tolist()}{' as labels' * (self._n_labels > 0)}."
                )
            return
        self.classes_, self._n_labels = classes, n_labels

    def _encoded_target(self, y: Any) -> np.ndarray:
        if not self._n_labels:
            return column_or_1d(y)
        target = _as_labels(y)
        if target.shape[1] != self._n_labels:
            raise ValueError(
                f"the y of validation_data has {target.shape[1]} labels, and y has {self._n_labels}."
            )
        return target

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _as_labels(y: Any) -> np.ndarray:
    """Return 0 and 1 for each of several labels, (n_samples, n_labels)."""
    target = check_array(y, accept_sparse=True, input_name="y")
    target = target.toarray() if issparse(target) else target
    if not np.isin(target, (0, 1)).all():
        raise ValueError(
            f"y has several columns with {np.unique(target).tolist()}: pass 0 and 1, for each label."
        )
    return target
