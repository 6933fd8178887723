"""CrossEncoderScorer: a number for each pair of texts."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import Tags, assert_all_finite, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._atomic_fit import atomic_fit
from .._inputs import TextColumns, check_query_id
from .._pretrained import with_callbacks
from .._progress import N_TASKS
from .._training import PAIR_REGRESSION, FineTuner, RawTrainingData, Task
from .._warn import warn
from ..cache import DiskCache, MemoryCache
from ..encoder import Encoder
from ..exceptions import IgnoredParameterWarning
from ..losses import DataFormat, Loss
from ._base import BaseCrossEncoder
from .reranking import Place, check_lists, rank_candidates, read_column


class CrossEncoderScorer(
    RegressorMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseCrossEncoder
):
    """A number for each pair of texts, from a transformer that reads both together.

    Relevance of a document to a query, or similarity. As it is, or fine-tuned.

    Parameters
    ----------
    model : str, path-like or Encoder, default="cross-encoder/ms-marco-MiniLM-L6-v2"
        A folder in the format of sentence-transformers' cross-encoders or of transformers' sequence
        classifiers, the name of one on the Hugging Face hub, or a loaded
        :class:`~sk_sentemb.Encoder`. With a ``fine_tuner``, any transformer: if it has no head that
        scores pairs, it gets one, with a warning.

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

    missing : {"error", "empty", "nan"}, default="error"
        What to do with None, NaN and the like on a side of a pair: raise; read the empty text; or give
        the pair NaN for a score, and learn nothing from it.

    dtype : {"float32", "bfloat16", "float16", "auto"}, default="float32"
        Number format of the transformer; ``"auto"`` for the fastest that the device runs natively.

    device : str, default=None
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, …; None for the fastest that is there.

    batch_tokens : int or "auto", default="auto"
        How many tokens run together. Halved, with a warning, when memory runs out.

    cache : "memory", bool, str, path-like, MemoryCache, DiskCache or None, default="memory"
        Where logits are kept, so that each distinct pair is read once. See :mod:`sk_sentemb.cache`.

    n_jobs : int, default=None
        How many workers score, as in joblib.

    fine_tuner : FineTuner, default=None
        How to fine-tune a copy of the model in ``fit``; None to take it as it is.

    warm_start : bool, default=False
        Whether a further ``fit`` goes on from the weights of the last one, with a ``fine_tuner``.
        Its scores keep the units of the first fit on scores; a ``y`` beyond their range is refused.

    store_weights_in_pickle : bool, default=False
        Whether a pickle holds the model's name and fingerprint, checked on load, or its weights. Those
        of a fine-tuned model are always in it.

    verbose : int, default=0
        Above 0, a progress bar on standard error.

    Attributes
    ----------
    encoder_ : Encoder
        The model.

    fingerprint_ : str
        Digest of the model's weights, tokenizer and configuration.

    score_range_ : (float, float)
        What `predict` gives where the model says 0 and 1: the similarities of ``y`` that were scaled
        to that, or 0 and 1.

    history_ : DataFrame
        With a ``fine_tuner``, a row for each step.

    n_features_in_ : int
        2.

    feature_names_in_ : ndarray of shape (2,)
        The columns' names, if ``X`` had string names for both.

    See Also
    --------
    CrossEncoderClassifier : A class for each pair.
    SentenceEmbedder : Vectors of single texts, which are compared at no cost.

    Notes
    -----
    Pairs run laid end to end, without padding, each attending to itself alone.

    References
    ----------
    .. [1] R. Nogueira and K. Cho, "Passage Re-ranking with BERT", 2019,
       https://arxiv.org/abs/1901.04085; the cross-encoders of sentence-transformers, https://sbert.net.

    Examples
    --------
    >>> import warnings
    >>> from sk_sentemb import CrossEncoderScorer, FineTuner
    >>> from sk_sentemb.exceptions import NewHeadWarning
    >>> X = [("The cat sleeps.", "A kitten naps."), ("The cat sleeps.", "Stocks fell.")] * 8
    >>> y = [5, 0] * 8
    >>> tuner = FineTuner(score_range=(0, 5), epochs=2, batch_size=8, random_state=0)
    >>> scorer = CrossEncoderScorer("all-MiniLM-L6-v2", fine_tuner=tuner)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", NewHeadWarning)  # the model gets a new head
    ...     scorer = scorer.fit(X, y)
    >>> scorer.predict(X).shape
    (16,)
    >>> ranking = scorer.rank("The cat sleeps.", ["Stocks fell.", "A kitten naps."])
    >>> list(ranking.columns)
    ['index', 'score']
    """

    _missing_policies = ("error", "empty", "nan")

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **BaseCrossEncoder._parameter_constraints,
        "missing": [StrOptions(set(_missing_policies))],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] | Encoder = "cross-encoder/ms-marco-MiniLM-L6-v2",
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
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, query_id: Any = None) -> Self:
        """Load the model; with a ``fine_tuner``, fine-tune it.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2)
            Pairs of texts; with a ``fine_tuner``, also triplets (query, positive, negative).
        y : array-like of shape (n_samples,), default=None
            What the ``fine_tuner`` learns: scores, 0 and 1, or grades; of triplets, by how much the
            positive is better. None for pairs or triplets that say it themselves.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts to the ``fine_tuner``.
        query_id : array-like of shape (n_samples,), default=None
            The query whose list each row is in, for losses of lists. None for rows with the same first
            text.

        Returns
        -------
        CrossEncoderScorer
            The fitted scorer itself.

        Raises
        ------
        ValueError
            If ``X`` has no two columns, the model no head and there is no ``fine_tuner``, or ``y`` is
            not as it should be.
        """
        with self._progress_task("fit", X, y, max_subtasks=self._n_epochs) as context:
            self._fit(X, y, sample_weight, query_id, context)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @with_callbacks
    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: Any = None, query_id: Any = None
    ) -> np.ndarray:
        """Do what `fit` does, and score ``X``.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2)
            Pairs of texts.
        y : array-like of shape (n_samples,), default=None
            What the ``fine_tuner`` learns.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts to the ``fine_tuner``.
        query_id : array-like of shape (n_samples,), default=None
            The query whose list each row is in.

        Returns
        -------
        ndarray of shape (n_samples, 1), float32
            The scores.
        """
        n_tasks = self._n_epochs + N_TASKS
        with self._progress_task("fit-transform", X, y, max_subtasks=n_tasks) as context:
            columns = self._fit(X, y, sample_weight, query_id, context, triplets=False)
            return self._scores(self._logits(columns, context))[:, None]

    def predict(self, X: Any) -> np.ndarray:
        """Score pairs.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2)
            Pairs of texts. No rows are fine.

        Returns
        -------
        ndarray of shape (n_samples,), float32
            In the units of ``y``, or of the checkpoint's activation; NaN for pairs without a text, with
            ``missing="nan"``.
        """
        check_is_fitted(self)
        return self._scores(self._logits(self._validate_input(X, reset=False)))

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits of pairs.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2)
            Pairs of texts.

        Returns
        -------
        ndarray of shape (n_samples,), float32
            What the activation has not been applied to.
        """
        check_is_fitted(self)
        return self._logits(self._validate_input(X, reset=False))[:, 0]

    def transform(self, X: Any) -> np.ndarray:
        """Score pairs, as a column of features.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2)
            Pairs of texts.

        Returns
        -------
        ndarray of shape (n_samples, 1), float32
            What `predict` gives.
        """
        return self.predict(X)[:, None]

    def rank(
        self,
        query: str,
        documents: Any,
        *,
        top_k: int | None = None,
        return_documents: bool = False,
    ) -> pd.DataFrame:
        """Put documents in the order of their relevance to a query.

        Parameters
        ----------
        query : str
            The first text of each pair.
        documents : array-like of shape (n_documents,)
            The second texts.
        top_k : int, default=None
            How many to return; None for all.
        return_documents : bool, default=False
            Whether to return the texts as well.

        Returns
        -------
        DataFrame
            The best one first: ``index``, its place in ``documents``, and ``score``; with
            ``return_documents`` also ``document``. Of equal scores, the earlier document comes first.
        """
        if not isinstance(query, str):
            raise TypeError(
                f"query is of type {type(query).__name__}; pass one str, or use rerank."
            )
        check_is_fitted(self)
        ranking = self._ranked(
            self._column([query], "query"),
            [self._column(documents, "documents")],
            top_k=top_k,
            return_documents=return_documents,
        )
        return ranking.drop(columns="query")

    def rerank(
        self,
        X: Any,
        candidates: Sequence[Any],
        *,
        top_k: int | None = None,
        return_documents: bool = False,
    ) -> pd.DataFrame:
        """Put the candidates of each query in the order of their relevance.

        Parameters
        ----------
        X : array-like of shape (n_queries,)
            The queries.
        candidates : sequence of array-like of shape (n_candidates,)
            The documents of each query; not all need to have as many.
        top_k : int, default=None
            How many to return for each query; None for all.
        return_documents : bool, default=False
            Whether to return the texts as well.

        Returns
        -------
        DataFrame
            Query after query, the best candidate first: ``query``, the row of ``X``, ``index``, the
            place among its candidates, and ``score``; with ``return_documents`` also ``document``.

        Raises
        ------
        ValueError
            If there are not as many lists of candidates as queries, or ``top_k`` is below 1.
        """
        check_is_fitted(self)
        check_lists(candidates)
        lists = [self._column(given, f"candidates[{i}]") for i, given in enumerate(candidates)]
        return self._ranked(
            self._column(X, "X"), lists, top_k=top_k, return_documents=return_documents
        )

    def _column(self, X: Any, name: str) -> TextColumns:
        return read_column(X, name, may_be_missing=self.missing != "error")

    def _ranked(
        self, queries: TextColumns, candidates: list[TextColumns], **how: Any
    ) -> pd.DataFrame:
        def score(pairs: TextColumns, place: Place) -> tuple[np.ndarray, np.ndarray]:
            logits = self._logits(pairs, place=place)
            return self._scores(logits), logits[:, 0]

        return rank_candidates(score, queries, candidates, **how)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        query_id: Any,
        context: Any,
        *,
        triplets: bool = True,
    ) -> TextColumns:
        go_on = self._is_warm_start()
        columns = self._validate_input(
            X, reset=True, triplets=triplets and self.fine_tuner is not None
        )
        y = self._numbers(y, columns)
        sample_weight = self._validate_sample_weight(sample_weight, columns)
        query_id = self._check_query_id(query_id, columns)
        self.__dict__.pop("history_", None)
        if not go_on:
            self._y_range = None
        score_range = (0.0, 1.0)
        if self.fine_tuner is None:
            self._check_missing(columns)
            encoder = self._pretrained()
            assert encoder.head is not None
            if (n_logits := encoder.head.out_dim) != 1:
                raise ValueError(
                    f"the model gives {n_logits} numbers for each pair, and a score is one. Use it in a "
                    "CrossEncoderClassifier, or pass a FineTuner, which trains a new head."
                )
        else:
            if go_on:
                encoder = self._warm_encoder()
            else:
                encoder = self._to_be_tuned(1, lambda head: head.out_dim == 1)
            data = RawTrainingData(columns, y, sample_weight, query_id)
            kind = PAIR_REGRESSION
            if self._y_range is not None:
                kind = self._kind_with_units(encoder, self._y_range)
            tuned = self._fine_tune(encoder, data, kind, self._training_callback(context, X, y))
            encoder, score_range = self._keep_units(tuned.encoder, tuned.score_range)
            if tuned.shape in (DataFormat.SCORES, DataFormat.BINARY):
                self._y_range = score_range
        self._set_encoder(encoder)
        self.score_range_ = score_range
        return columns

    def _as_fitted(
        self, encoder: Encoder, head: nn.Module | None, score_range: tuple[float, float]
    ) -> dict[str, Any]:
        encoder, score_range = self._keep_units(encoder, score_range)
        attributes = super()._as_fitted(encoder, head, score_range)
        return attributes | {"score_range_": score_range}

    def _kind_with_units(self, encoder: Encoder, y_range: tuple[float, float]) -> Task:
        """Return the kind of a warm start, in which predictions keep the units of the first fit."""
        assert self.fine_tuner is not None
        assert encoder.head is not None
        activation = type(encoder.head.activation)
        given = self.fine_tuner.score_range
        if given is not None and tuple(given) != y_range:
            raise ValueError(
                f"score_range={given!r}, and with warm_start predictions keep the scale of the last "
                f"fit, {y_range}. Pass that, None, or warm_start=False."
            )

        def resolve_loss(asked: str | Loss, shape: str | None = None, *_: Any) -> Loss:
            loss = PAIR_REGRESSION.resolve_loss(asked, shape)
            if (
                shape in (DataFormat.SCORES, DataFormat.BINARY)
                and loss.activation is not activation
            ):
                raise ValueError(
                    f"loss={loss} makes scores of logits by {loss.activation.__name__}, and with "
                    f"warm_start predictions stay those of the last fit, by {activation.__name__}. "
                    "Pass the loss of the last fit, or warm_start=False."
                )
            return loss

        return replace(PAIR_REGRESSION, resolve_loss=resolve_loss)

    def _keep_units(
        self, encoder: Encoder, score_range: tuple[float, float]
    ) -> tuple[Encoder, tuple[float, float]]:
        """Return a trained encoder and its range, with the units of earlier fits if these had any.

        Losses that only rank leave a model without units; a warm start would lose them.
        """
        if self._y_range is None:
            return encoder, score_range
        assert encoder.head is not None
        assert self.encoder_.head is not None
        head = encoder.head.with_activation(self.encoder_.head.activation)
        return encoder.with_head(head), self._y_range

    def _numbers(self, y: Any, columns: TextColumns) -> np.ndarray | None:
        """Check ``y`` as that of any regressor."""
        if y is None:
            return None
        self._check_y(y, columns)
        if columns.n_columns == 2:
            y = column_or_1d(y, warn=True)
        numbers = np.asarray(y)
        if numbers.dtype == object:  # a column of a frame with mixed types
            numbers = np.asarray(numbers.tolist())
        if numbers.dtype.kind not in "fiub":
            raise ValueError(
                f"y has values such as {str(numbers.flat[0])!r}, and a score is a number. Pass "
                "numbers, or fit a CrossEncoderClassifier on classes."
            )
        assert_all_finite(numbers, input_name="y")
        return numbers

    def _check_query_id(self, query_id: Any, columns: TextColumns) -> np.ndarray | None:
        if query_id is None:
            return None
        names = check_query_id(query_id, columns.n_rows)
        if self.fine_tuner is None:
            warn(
                "query_id has no effect without a fine_tuner: nothing is learnt from the lists.",
                IgnoredParameterWarning,
            )
        return names

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        assert self.encoder_.head is not None
        activated = self.encoder_.head.activated(logits)[:, 0]
        low, high = self.score_range_
        scores = (low + (high - low) * activated).astype(np.float32)
        # Rounding shall not lead out of the range.
        inside = (activated >= 0) & (activated <= 1)
        return np.where(inside, scores.clip(np.float32(low), np.float32(high)), scores)

    @property
    def _n_features_out(self) -> int:
        return 1

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = []
        tags.regressor_tags.poor_score = True
        return tags
