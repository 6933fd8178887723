"""`CrossEncoderClassifier`: a class for each text pair."""

import os
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import Tags, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets

from .._atomic_fit import atomic_fit
from .._docstrings import substitute_docstring
from .._inputs import make_pairs
from .._logits_classifier import LogitsClassifierMixin
from .._progress import fit_task, with_callbacks
from .._training import PAIR_CLASSIFICATION, FineTuner, RawTrainingData
from ..cache import DiskCache, MemoryCache
from ..encoder import Encoder, PairEncoder
from ._base import BaseCrossEncoder, average_orders, check_n_columns
from .class_labels import (
    count_logits,
    infer_classes,
    is_compatible,
    label_head,
    sort_by_logit,
    validate_classes,
)


@substitute_docstring
class CrossEncoderClassifier(LogitsClassifierMixin, BaseCrossEncoder):
    """Cross-encoder that classifies text pairs.

    Classes are, for example, entailment and contradiction, or duplicate and not. The model reads both
    texts of a pair jointly. It is used as it is, or fine-tuned in ``fit``.

    Parameters
    ----------
    model : str, path-like or Encoder, default="cross-encoder/nli-MiniLM2-L6-H768"
        {model_of_pairs}
    {revision}
    {symmetric}
    {prompt_of_pairs}
    {prompt_name}
    {max_length_of_pairs}
    {long_text_of_pairs}

    missing : {"error", "empty"}, default="error"
        How to handle missing texts (None, NaN, ``pandas.NA``, null).

        - ``"error"``: raise a ``ValueError``;
        - ``"empty"``: read them as the empty string.

    {dtype}
    {device}
    {batch_tokens}
    {cache}
    {n_jobs}

    fine_tuner : FineTuner, default=None
        How to fine-tune a copy of the model in ``fit``, including ``class_weight``. If None, the
        pretrained model is used unchanged.

    {warm_start}
    {store_weights_in_pickle}
    {verbose}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted classes: those of ``y`` or, without a ``fine_tuner``, those of the checkpoint: its labels,
        or 0, 1 and so on.

    {encoder_}
    {fingerprint_}
    {history_}
    {feature_names_in_of_pairs}

    See Also
    --------
    CrossEncoderScorer : Score text pairs.
    PairFeatures : Features of pairs, from embeddings of single texts, for other classifiers.

    Examples
    --------
    >>> import warnings
    >>> from sk_sentemb import CrossEncoderClassifier, FineTuner
    >>> from sk_sentemb.exceptions import NewHeadWarning
    >>> X = [("The cat sleeps.", "A kitten naps."), ("The cat sleeps.", "The cat runs.")] * 8
    >>> y = ["entailment", "contradiction"] * 8
    >>> tuner = FineTuner(epochs=2, batch_size=8, random_state=0)
    >>> classifier = CrossEncoderClassifier("all-MiniLM-L6-v2", fine_tuner=tuner)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", NewHeadWarning)  # the model gets a new head
    ...     classifier = classifier.fit(X, y)
    >>> classifier.classes_.tolist()
    ['contradiction', 'entailment']
    >>> classifier.predict_proba(X).shape
    (16, 2)
    """

    _missing_policies = ("error", "empty")

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **BaseCrossEncoder._parameter_constraints,
        "missing": [StrOptions(set(_missing_policies))],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] | Encoder = "cross-encoder/nli-MiniLM2-L6-H768",
        *,
        revision: str | None = None,
        symmetric: bool = False,
        prompt: str | None = None,
        prompt_name: str | None = None,
        max_length: int | None = None,
        long_text: str = "truncate",
        missing: str = "error",
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
        self.symmetric = symmetric
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

    @substitute_docstring
    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @with_callbacks
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Load the model and, with a ``fine_tuner``, fine-tune it.

        Parameters
        ----------
        {X_of_pairs}
        y : array-like of shape (n_samples,), default=None
            Class of each pair. Without a ``fine_tuner``, it may be None; otherwise it must consist of
            classes of the checkpoint. If the checkpoint has labels, the numbers 0, 1 and so on stand
            for them in alphabetical order; a checkpoint with labels in another order raises a
            ``ValueError``.
        {sample_weight}

        Returns
        -------
        CrossEncoderClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If ``X`` does not have two text columns or ``y`` does not consist of classes. Without a
            ``fine_tuner``, if the model has no classification head or does not know a class; with one,
            if ``y`` contains a single class.
        """
        with fit_task(self, "fit", X, y, max_subtasks=self._n_epochs) as context:
            self._fit(X, y, sample_weight, context)
        return self

    def _compute_logits(self, X: Any) -> np.ndarray:
        columns = self._validate_input(X, reset=False)
        self._check_missing(columns)
        pairs = make_pairs(columns, symmetric=self.symmetric)
        logits = average_orders(self._encode_pairs(pairs))
        return logits if logits.shape[1] == 1 else logits[:, self._logit_of_class]

    def _fit(self, X: Any, y: Any, sample_weight: Any, context: Any) -> None:
        is_warm_start = self._is_warm_start()
        columns = self._validate_input(X, reset=True)
        check_n_columns(columns)
        if y is not None:
            self._check_y(y, columns)
            check_classification_targets(y)
            y = column_or_1d(y, warn=True)
        sample_weight = self._validate_sample_weight(sample_weight, columns)
        self.__dict__.pop("history_", None)
        if self.fine_tuner is None:
            self._check_missing(columns)
            encoder = self._load_with_head()
            by_logit = infer_classes(encoder.head, y)
        else:
            encoder, by_logit = self._prepare_training(validate_classes(y), is_warm_start)
            data = RawTrainingData(columns, y, sample_weight, classes=by_logit)
            self._set_classes(by_logit)  # now, for callbacks that predict
            callback = self._training_callback(context, X, y)
            encoder = self._fine_tune(encoder, data, PAIR_CLASSIFICATION, callback).encoder
            encoder = encoder.with_head(label_head(encoder.head, by_logit))
        self._set_encoder(encoder)
        self._set_classes(by_logit)

    def _set_classes(self, by_logit: np.ndarray) -> None:
        self._logit_of_class = np.argsort(by_logit)
        self.classes_ = by_logit[self._logit_of_class]

    def _prepare_training(
        self, classes: np.ndarray, is_warm_start: bool
    ) -> tuple[PairEncoder, np.ndarray]:
        """Return the model to fine-tune, and the classes in the order of its logits."""
        if not is_warm_start:
            encoder = self._load_for_training(
                count_logits(classes), lambda head: is_compatible(head, classes)
            )
            return encoder, sort_by_logit(encoder.head, classes)
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"y has the classes {classes.tolist()}, but with warm_start they must be those of the "
                f"last fit: {self.classes_.tolist()}."
            )
        # Not by the labels of the head: other dtypes, such as 1.0 for 1, have other labels.
        return self._warm_encoder(), self.classes_[np.argsort(self._logit_of_class)]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.fine_tuner is not None
        tags.classifier_tags.poor_score = True
        return tags
