"""`CrossEncoderScorer`: a score for each text pair."""

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
from .._docstrings import substitute_docstring
from .._inputs import TextColumns, check_query_id, make_pairs
from .._progress import N_TASKS, fit_task, with_callbacks
from .._training import PAIR_REGRESSION, FineTuner, RawTrainingData, Task
from .._warn import warn
from ..cache import DiskCache, MemoryCache
from ..encoder import Encoder, PairEncoder
from ..exceptions import IgnoredParameterWarning
from ..losses import DataFormat, Loss
from ._base import BaseCrossEncoder, average_orders, check_n_columns
from .reranking import DescribeRow, rank_candidates, read_column, validate_candidates


@substitute_docstring
class CrossEncoderScorer(
    RegressorMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseCrossEncoder
):
    """Cross-encoder that scores text pairs.

    A score is the relevance of a document to a query, or the similarity of two texts. The model reads
    both texts of a pair jointly. It is used as it is, or fine-tuned in ``fit``.

    Parameters
    ----------
    model : str, path-like or Encoder, default="cross-encoder/ms-marco-MiniLM-L6-v2"
        {model_of_pairs}
    {revision}
    {symmetric}
    {prompt_of_pairs}
    {prompt_name}
    {max_length_of_pairs}
    {long_text_of_pairs}

    missing : {"error", "empty", "nan"}, default="error"
        How to handle missing texts (None, NaN, ``pandas.NA``, null).

        - ``"error"``: raise a ``ValueError``;
        - ``"empty"``: read them as the empty string;
        - ``"nan"``: the score of the pair is NaN, and the pair is left out of training.

    {dtype}
    {device}
    {batch_tokens}
    {cache}
    {n_jobs}

    fine_tuner : FineTuner, default=None
        How to fine-tune a copy of the model in ``fit``. If None, the pretrained model is used unchanged.

    warm_start : bool, default=False
        When True, reuse the weights of the previous call to ``fit`` as initialization; otherwise, start
        from those of ``model``. Only used with a ``fine_tuner``. Scores keep the units of the first fit
        on scores; values of ``y`` outside their range raise a ``ValueError``.

    {store_weights_in_pickle}
    {verbose}

    Attributes
    ----------
    {encoder_}
    {fingerprint_}

    score_range_ : tuple of (float, float)
        Scores that correspond to 0 and 1 after the activation function. It is the range of the scores in
        ``y`` that were scaled for training, or else (0.0, 1.0).

    {history_}
    {feature_names_in_of_pairs}

    See Also
    --------
    CrossEncoderClassifier : Classify text pairs.
    SentenceEmbedder : Bi-encoder: embeds texts independently.

    Notes
    -----
    Pairs are packed into one sequence with block-diagonal attention, which avoids computation on
    padding.

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

    @substitute_docstring
    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @with_callbacks
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, query_id: Any = None) -> Self:
        """Load the model and, with a ``fine_tuner``, fine-tune it.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, 2) or (n_samples, 3)
            Text pairs or, with a ``fine_tuner``, triplets (query, positive, negative).
        y : array-like of shape (n_samples,), default=None
            Targets for fine-tuning. Ignored if ``fine_tuner`` is None.

            - numbers: scores or grades of pairs, or 0 and 1;
            - floats for triplets: the margins between the scores of the positive and the negative;
            - None: each pair has a query and its positive, or each triplet also a negative.
        {sample_weight}
        query_id : array-like of shape (n_samples,), default=None
            Query of each row, for listwise losses. If None, rows with the same first text form a list.

        Returns
        -------
        CrossEncoderScorer
            The fitted scorer.

        Raises
        ------
        ValueError
            If ``X`` does not have two text columns, ``y`` does not consist of finite numbers, or,
            without a ``fine_tuner``, the model does not have a head with one logit.
        """
        with fit_task(self, "fit", X, y, max_subtasks=self._n_epochs) as context:
            triplets = self.fine_tuner is not None
            self._fit(X, y, sample_weight, query_id, context, allow_triplets=triplets)
        return self

    @substitute_docstring
    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @with_callbacks
    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: Any = None, query_id: Any = None
    ) -> np.ndarray:
        """Fit to pairs, and return their scores.

        Parameters
        ----------
        {X_of_pairs}
        y : array-like of shape (n_samples,), default=None
            Targets for fine-tuning, as in ``fit``.
        {sample_weight}
        query_id : array-like of shape (n_samples,), default=None
            Query of each row, for listwise losses. If None, rows with the same first text form a list.

        Returns
        -------
        ndarray of shape (n_samples, 1), float32
            The scores.
        """
        n_tasks = self._n_epochs + N_TASKS
        with fit_task(self, "fit-transform", X, y, max_subtasks=n_tasks) as context:
            columns = self._fit(X, y, sample_weight, query_id, context, allow_triplets=False)
            return self._score_pairs(columns, context=context)[0][:, None]

    @substitute_docstring
    def predict(self, X: Any) -> np.ndarray:
        """Compute the scores of pairs.

        Parameters
        ----------
        {X_of_pairs}
            It may have no rows.

        Returns
        -------
        ndarray of shape (n_samples,), float32
            The scores, in the units of ``y`` or of the checkpoint's activation function. With
            ``missing="nan"``, pairs with a missing text have NaN.
        """
        check_is_fitted(self)
        columns = self._validate_input(X, reset=False)
        self._check_missing(columns)
        pairs = make_pairs(columns, symmetric=self.symmetric)
        logits = average_orders(self._encode_pairs(pairs))
        return self._logits_to_scores(logits)

    @substitute_docstring
    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the logits of pairs.

        Parameters
        ----------
        {X_of_pairs}

        Returns
        -------
        ndarray of shape (n_samples,), float32
            Logits, before the activation function.
        """
        check_is_fitted(self)
        columns = self._validate_input(X, reset=False)
        self._check_missing(columns)
        pairs = make_pairs(columns, symmetric=self.symmetric)
        return average_orders(self._encode_pairs(pairs))[:, 0]

    @substitute_docstring
    def transform(self, X: Any) -> np.ndarray:
        """Compute the scores of pairs, as a column of features.

        Parameters
        ----------
        {X_of_pairs}

        Returns
        -------
        ndarray of shape (n_samples, 1), float32
            The scores that `predict` returns.
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
        """Rank documents by their relevance to a query.

        Parameters
        ----------
        query : str
            The query, the first text of each pair.
        documents : array-like of shape (n_documents,)
            The documents, the second texts of the pairs.
        top_k : int, default=None
            Maximum number of documents to return. If None, all.
        return_documents : bool, default=False
            Whether to return the texts of the documents, too.

        Returns
        -------
        DataFrame
            One row per document, best first. Documents with the same score keep their order.

            - ``index``: position in ``documents``;
            - ``score``: its score;
            - ``document``: its text, with ``return_documents``.
        """
        if not isinstance(query, str):
            raise TypeError(
                f"query is of type {type(query).__name__}. Pass one str, or use rerank."
            )
        check_is_fitted(self)
        ranking = rank_candidates(
            self._score_pairs,
            self._read_column([query], "query"),
            [self._read_column(documents, "documents")],
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
        """Rank the candidates of each query by their relevance.

        Parameters
        ----------
        X : array-like of shape (n_queries,)
            The queries.
        candidates : sequence of array-like of shape (n_candidates,)
            The documents of each query. Their number may differ between queries.
        top_k : int, default=None
            Maximum number of documents to return for each query. If None, all.
        return_documents : bool, default=False
            Whether to return the texts of the documents, too.

        Returns
        -------
        DataFrame
            One row per query and candidate, sorted by query and then by score, best first.

            - ``query``: row of ``X``;
            - ``index``: position among the query's candidates;
            - ``score``: its score;
            - ``document``: its text, with ``return_documents``.

        Raises
        ------
        ValueError
            If the number of lists in ``candidates`` differs from that of queries, or ``top_k`` is
            below 1.
        """
        check_is_fitted(self)
        validate_candidates(candidates)
        return rank_candidates(
            self._score_pairs,
            self._read_column(X, "X"),
            [self._read_column(texts, f"candidates[{i}]") for i, texts in enumerate(candidates)],
            top_k=top_k,
            return_documents=return_documents,
        )

    def _read_column(self, X: Any, name: str) -> TextColumns:
        return read_column(X, name, allow_missing=self.missing != "error")

    def _score_pairs(
        self, columns: TextColumns, describe_row: DescribeRow | None = None, context: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the score and the logit of each pair."""
        self._check_missing(columns)
        pairs = make_pairs(columns, symmetric=self.symmetric)
        logits = average_orders(self._encode_pairs(pairs, describe_row, context))
        return self._logits_to_scores(logits), logits[:, 0]

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        query_id: Any,
        context: Any,
        *,
        allow_triplets: bool,
    ) -> TextColumns:
        is_warm_start = self._is_warm_start()
        columns = self._validate_input(X, reset=True)
        check_n_columns(columns, allow_triplets=allow_triplets)
        y = self._validate_y(y, columns)
        sample_weight = self._validate_sample_weight(sample_weight, columns)
        query_id = self._validate_query_id(query_id, columns)
        self.__dict__.pop("history_", None)
        if not is_warm_start:
            self._y_range = None
        self.score_range_ = (0.0, 1.0)
        if self.fine_tuner is None:
            self._check_missing(columns)
            self._set_encoder(self._load_scorer())
            return columns
        if is_warm_start:
            encoder = self._warm_encoder()
        else:
            encoder = self._load_for_training(1, lambda head: head.out_dim == 1)
        task = PAIR_REGRESSION
        if self._y_range is not None:
            task = self._make_warm_start_task(encoder, self._y_range)
        data = RawTrainingData(columns, y, sample_weight, query_id)
        result = self._fine_tune(encoder, data, task, self._training_callback(context, X, y))
        encoder, self.score_range_ = self._keep_units(result.encoder, result.score_range)
        if result.format in (DataFormat.SCORES, DataFormat.BINARY):
            self._y_range = self.score_range_
        self._set_encoder(encoder)
        return columns

    def _load_scorer(self) -> PairEncoder:
        """Load a pretrained model with one logit."""
        encoder = self._load_with_head()
        if (n_logits := encoder.head.out_dim) != 1:
            raise ValueError(
                f"The model outputs {n_logits} logits for each pair, but CrossEncoderScorer requires "
                "one. Use CrossEncoderClassifier, or pass a FineTuner, which trains a new head."
            )
        return encoder

    def _as_fitted(
        self, encoder: Any, head: nn.Module | None, score_range: tuple[float, float]
    ) -> dict[str, Any]:
        encoder, score_range = self._keep_units(encoder, score_range)
        attributes = super()._as_fitted(encoder, head, score_range)
        return attributes | {"score_range_": score_range}

    def _make_warm_start_task(self, encoder: PairEncoder, y_range: tuple[float, float]) -> Task:
        """Return a task whose predictions keep the units of the first fit."""
        assert self.fine_tuner is not None
        activation = type(encoder.head.activation)
        given = self.fine_tuner.score_range
        if given is not None and tuple(given) != y_range:
            raise ValueError(
                f"score_range={given!r}, but with warm_start predictions keep the scale of the last "
                f"fit, {y_range}. Pass that, None, or warm_start=False."
            )

        def resolve_loss(asked: str | Loss, shape: str | None = None, *_: Any) -> Loss:
            loss = PAIR_REGRESSION.resolve_loss(asked, shape)
            if (
                shape in (DataFormat.SCORES, DataFormat.BINARY)
                and loss.activation is not activation
            ):
                raise ValueError(
                    f"loss={loss} turns logits into scores with {loss.activation.__name__}, but with "
                    f"warm_start predictions keep {activation.__name__} of the last fit. Pass the loss "
                    "of the last fit, or warm_start=False."
                )
            return loss

        return replace(PAIR_REGRESSION, resolve_loss=resolve_loss)

    def _keep_units(
        self, encoder: PairEncoder, score_range: tuple[float, float]
    ) -> tuple[PairEncoder, tuple[float, float]]:
        """Return a trained encoder and its score range in the units of earlier fits, if any."""
        if self._y_range is None:
            return encoder, score_range
        # Losses that only rank leave a model without units; a warm start would lose them.
        head = encoder.head.with_activation(self.encoder_.head.activation)
        return encoder.with_head(head), self._y_range

    def _validate_y(self, y: Any, columns: TextColumns) -> np.ndarray | None:
        """Return finite numbers, as any regressor requires."""
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
                f"CrossEncoderScorer requires a numeric y, got values such as "
                f"{str(numbers.flat[0])!r}. Use CrossEncoderClassifier for classes."
            )
        assert_all_finite(numbers, input_name="y")
        return numbers

    def _validate_query_id(self, query_id: Any, columns: TextColumns) -> np.ndarray | None:
        if query_id is None:
            return None
        query_id = check_query_id(query_id, columns.n_rows)
        if self.fine_tuner is None:
            warn(
                "query_id has no effect without a fine_tuner, because nothing is trained.",
                IgnoredParameterWarning,
            )
        return query_id

    def _logits_to_scores(self, logits: np.ndarray) -> np.ndarray:
        """Apply the activation function, and scale its range from 0 to 1 to `score_range_`."""
        activated = self.encoder_.head.activated(logits)[:, 0]
        low, high = self.score_range_
        scores = (low + (high - low) * activated).astype(np.float32)
        # Rounding must not leave the range.
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
