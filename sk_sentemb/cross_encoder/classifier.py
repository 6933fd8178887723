"""CrossEncoderClassifier: a class for each pair of texts."""

import os
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import Tags, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from .._atomic_fit import atomic_fit
from .._pretrained import with_callbacks
from .._training import PAIR_CLASSIFICATION, FineTuner, RawTrainingData
from ..cache import DiskCache, MemoryCache
from ..encoder import Encoder
from ._base import BaseCrossEncoder
from .class_labels import (
    classes_of_checkpoint,
    classes_to_learn,
    fits,
    for_classes,
    in_order_of_logits,
    n_logits_for,
)


class CrossEncoderClassifier(ClassifierMixin, BaseCrossEncoder):
    """A class for each pair of texts, from a transformer that reads both together.

    Entailment or contradiction, duplicate or not, answered or not. As it is, or fine-tuned.

    Parameters
    ----------
    model : str, path-like or Encoder, default="cross-encoder/nli-MiniLM2-L6-H768"
        A folder in the format of sentence-transformers' cross-encoders or of transformers' sequence
        classifiers, the name of one on the Hugging Face hub, or a loaded
        :class:`~sk_sentemb.Encoder`. With a ``fine_tuner``, any transformer: if it has no head for
        these classes, it gets one, with a warning.

    revision : str, default=None
        Branch, tag or commit of the model on the hub.

    symmetric : bool, default=False
        Whether each pair is read in both orders and the logits averaged. Twice the work.

    prompt : str, default=None
        Text to put before the first text of each pair, exactly as it is, such as ``"query: "``;
        ``""`` for no prompt.

    prompt_name : str, default=None
        Name of one of the checkpoint's prompts to use, such as ``"query"``; only one of ``prompt`` and
        ``prompt_name`` can be set. With neither, the checkpoint's default prompt is used, if it has one.

    max_length : int, default=None
        Read at most so many tokens of a pair, special tokens included. None for the checkpoint's limit.

    long_text : {"truncate", "error"}, default="truncate"
        What to do with longer pairs: cut the longer text, with a warning that counts the pairs; or
        raise.

    missing : {"error", "empty"}, default="error"
        What to do with None, NaN and the like on a side of a pair: raise, or read the empty text.

    dtype : {"float32", "bfloat16", "float16", "auto"}, default="float32"
        Number format of the transformer; ``"auto"`` for the fastest that the device runs natively.

    device : str, default=None
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, …; None for the fastest that is there.

    batch_tokens : int or "auto", default="auto"
        How many tokens run together. Halved, with a warning, when memory runs out.

    cache : "memory", bool, str, path-like, MemoryCache, DiskCache or None, default="memory"
        Where logits are kept, so that each distinct pair is read once. See :mod:`sk_sentemb.cache`.

    n_jobs : int, default=None
        How many workers read pairs, as in joblib.

    fine_tuner : FineTuner, default=None
        How to fine-tune a copy of the model in ``fit``, its ``class_weight`` included; None to take
        the model as it is.

    warm_start : bool, default=False
        Whether a further ``fit`` goes on from the weights of the last one, with a ``fine_tuner``.

    store_weights_in_pickle : bool, default=False
        Whether a pickle holds the model's name and fingerprint, checked on load, or its weights. Those
        of a fine-tuned model are always in it.

    verbose : int, default=0
        Above 0, a progress bar on standard error.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted: those of ``y``; of a model as it is, the names that the checkpoint has for
        them, or 0, 1 and so on.

    encoder_ : Encoder
        The model.

    fingerprint_ : str
        Digest of the model's weights, tokenizer and configuration.

    history_ : DataFrame
        With a ``fine_tuner``, a row for each step.

    n_features_in_ : int
        2.

    feature_names_in_ : ndarray of shape (2,)
        The columns' names, if ``X`` had string names for both.

    See Also
    --------
    CrossEncoderScorer : A number for each pair.
    PairFeatures : Features of pairs for other classifiers, from vectors of single texts.

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

    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @with_callbacks
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Load the model; with a ``fine_tuner``, fine-tune it.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2)
            Pairs of texts.
        y : array-like of shape (n_samples,), default=None
            Their classes. May be None without a ``fine_tuner``: then they are the checkpoint's. Of a
            checkpoint that names them, numbers from 0 on stand for the names in alphabetical order, and
            are refused where the model has them in another one.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts to the ``fine_tuner``.

        Returns
        -------
        CrossEncoderClassifier
            The fitted classifier itself.

        Raises
        ------
        ValueError
            If ``X`` has no two columns, or ``y`` not a class for each; without a ``fine_tuner``, if the
            model has no head or does not know a class; with one, if there is one class only.
        """
        with self._progress_task("fit", X, y, max_subtasks=self._n_epochs) as context:
            self._fit(X, y, sample_weight, context)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest class of each pair.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2)
            Pairs of texts. No rows are fine.

        Returns
        -------
        ndarray of shape (n_samples,)
            Of `classes_`.
        """
        scores = self.decision_function(X)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class of each pair, as the model sees it.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2)
            Pairs of texts.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            In the order of `classes_`.
        """
        scores = self.decision_function(X).astype(np.float64)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        return softmax(scores, axis=1)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits of each pair.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2)
            Pairs of texts.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes), float32
            In the order of `classes_`; of two classes, by how much the second one is likelier.
        """
        check_is_fitted(self)
        logits = self._logits(self._validate_input(X, reset=False))
        if logits.shape[1] == 1:
            return logits[:, 0]
        logits = logits[:, self._logit_of_class]
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def _fit(self, X: Any, y: Any, sample_weight: Any, context: Any) -> None:
        go_on = self._is_warm_start()
        columns = self._validate_input(X, reset=True)
        if y is not None:
            self._check_y(y, columns)
            check_classification_targets(y)
            y = column_or_1d(y, warn=True)
        sample_weight = self._validate_sample_weight(sample_weight, columns)
        self.__dict__.pop("history_", None)
        if self.fine_tuner is None:
            self._check_missing(columns)
            encoder = self._pretrained()
            assert encoder.head is not None
            by_logit = classes_of_checkpoint(encoder.head, y)
        else:
            encoder, by_logit = self._begun(classes_to_learn(y), go_on=go_on)
            data = RawTrainingData(columns, y, sample_weight, classes=by_logit)
            self._set_classes(by_logit)  # now, for callbacks that predict
            listener = self._training_callback(context, X, y)
            encoder = self._fine_tune(encoder, data, PAIR_CLASSIFICATION, listener).encoder
            assert encoder.head is not None
            encoder = encoder.with_head(for_classes(encoder.head, by_logit))
        self._set_encoder(encoder)
        self._set_classes(by_logit)

    def _set_classes(self, by_logit: np.ndarray) -> None:
        self._logit_of_class = np.argsort(by_logit)
        self.classes_ = by_logit[self._logit_of_class]

    def _begun(self, classes: np.ndarray, *, go_on: bool) -> tuple[Encoder, np.ndarray]:
        """Return what is fine-tuned, and the classes in the order of its logits."""
        if not go_on:
            encoder = self._to_be_tuned(n_logits_for(classes), lambda head: fits(head, classes))
            assert encoder.head is not None
            return encoder, in_order_of_logits(encoder.head, classes)
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"y has the classes {classes.tolist()}, and with warm_start they must be those of the "
                f"last fit: {self.classes_.tolist()}."
            )
        # Not by the names of the head: other dtypes, such as 1.0 for 1, have other names.
        return self._warm_encoder(), self.classes_[np.argsort(self._logit_of_class)]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.fine_tuner is not None
        tags.classifier_tags.poor_score = True
        return tags
