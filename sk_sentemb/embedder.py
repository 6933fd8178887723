"""SentenceEmbedder: columns of text to columns of embeddings."""

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._atomic_fit import atomic_fit
from ._base import BaseTextEstimator, EmbeddingOutputMixin, has_fine_tuner
from ._docstrings import substitute_docstring
from ._inputs import TextColumns, read_text_columns, unique_texts, validate_feature_names
from ._progress import N_TASKS, fit_task, with_callbacks
from ._training import EMBEDDING, FineTuner, RawTrainingData
from ._warn import warn
from .cache import DiskCache, MemoryCache
from .encoder import Encoder
from .exceptions import MissingTextWarning
from .losses import DataFormat


class EmbeddedRows(NamedTuple):
    """The embeddings of rows, and counts of their cells for warnings."""

    rows: np.ndarray
    n_texts: int
    n_truncated: int
    n_missing: int


@substitute_docstring
class SentenceEmbedder(EmbeddingOutputMixin, TransformerMixin, BaseTextEstimator):
    """Sentence embeddings of text columns, from a pretrained transformer.

    Each distinct text is embedded once, without padding, and the embeddings are returned in the order of
    the rows. The model is loaded in ``fit``; all embedders and clones of a process share one copy.

    Parameters
    ----------
    model : str, path-like or Encoder, default="sentence-transformers/all-MiniLM-L6-v2"
        {model_of_texts}

    {revision}

    pooling : str or list of str, default="auto"
        Pooling mode that turns token embeddings into one text embedding.

        - ``"auto"``: the mode stored in the checkpoint;
        - ``"mean"``, ``"cls"``, ``"max"``, ``"lasttoken"``, ``"weightedmean"`` or
          ``"mean_sqrt_len_tokens"``: this mode;
        - list of str: several modes, whose outputs are concatenated.

    {normalize}

    {prompt}

    {prompt_name}

    {truncate_dim}

    {max_length}

    {long_text}

    missing : {"zero", "nan", "empty", "error"}, default="zero"
        How to handle missing values (None, NaN, ``pandas.NA``, null).

        - ``"zero"``: a vector of zeros; a :class:`~sk_sentemb.exceptions.MissingTextWarning` reports
          the number of cells;
        - ``"nan"``: a vector of NaN;
        - ``"empty"``: the embedding of the empty string;
        - ``"error"``: raise a ``ValueError``.

    {dtype}

    {device}

    {batch_tokens}

    {cache}

    {n_jobs}

    fine_tuner : FineTuner, default=None
        How to fine-tune a copy of the model in ``fit``. If None, the pretrained model is used unchanged.
        The data select the loss, see :class:`~sk_sentemb.FineTuner`:

        - a class in ``y`` for each row of ``X``, whatever its number of columns;
        - a similarity in ``y`` for each pair in two columns, or a margin for each triplet in three;
        - no ``y``: pairs, triplets or single texts.

    warm_start : bool, default=False
        When True, reuse the weights of the previous call to ``fit`` as initialization; otherwise, start
        from those of ``model``. Only used with a ``fine_tuner``. Similarities in ``y`` are read on the
        scale of the first fit, unless ``score_range`` is given.

    {store_weights_in_pickle}

    {verbose}

    Attributes
    ----------
    {encoder_}

    embedding_dim_ : int
        Number of dimensions of the embedding of one text.

    {fingerprint_}

    {history_}

    n_features_in_ : int
        Number of text columns seen in ``fit``.

    {feature_names_in_}

    See Also
    --------
    sklearn.feature_extraction.text.TfidfVectorizer : Bag-of-words features weighted by TF-IDF.
    ImageEmbedder : Embeddings of images.
    CrossEncoderScorer : Scores of pairs of texts, read jointly.

    Notes
    -----
    The models are those of sentence-transformers [1]_, and embeddings agree with that library's. Texts
    are packed into one sequence with block-diagonal attention, which avoids computation on padding.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019, https://arxiv.org/abs/1908.10084

    Examples
    --------
    >>> from sk_sentemb import SentenceEmbedder
    >>> embedder = SentenceEmbedder()
    >>> X = ["The cat sleeps.", "A kitten naps.", "Stocks fell sharply."]
    >>> embeddings = embedder.fit_transform(X)
    >>> embeddings.shape, embeddings.dtype
    ((3, 384), dtype('float32'))
    >>> cosine = embeddings @ embeddings.T
    >>> bool(cosine[0, 1] > cosine[0, 2])
    True
    """

    _missing_policies = ("zero", "nan", "empty", "error")
    _long_text_policies = ("chunk", "truncate", "error")

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **BaseTextEstimator._parameter_constraints,
        "pooling": [str, list, tuple],
        "normalize": ["boolean", StrOptions({"auto"})],
        "truncate_dim": [Interval(Integral, 1, None, closed="left"), None],
        "long_text": [StrOptions(set(_long_text_policies))],
        "missing": [StrOptions(set(_missing_policies))],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] | Encoder = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        revision: str | None = None,
        pooling: str | Sequence[str] = "auto",
        normalize: bool | str = "auto",
        prompt: str | None = None,
        prompt_name: str | None = None,
        truncate_dim: int | None = None,
        max_length: int | None = None,
        long_text: str = "truncate",
        missing: str = "zero",
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
        self.pooling = pooling
        self.normalize = normalize
        self.prompt = prompt
        self.prompt_name = prompt_name
        self.truncate_dim = truncate_dim
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
    @substitute_docstring
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Load the model; with a ``fine_tuner``, fine-tune it.

        Parameters
        ----------
        {X_of_texts}
        {y_of_texts}
        {sample_weight}

        Returns
        -------
        SentenceEmbedder
            The fitted embedder itself.
        """
        with fit_task(self, "fit", X, y, max_subtasks=self._n_epochs) as context:
            self._fit(X, y, sample_weight, context=context)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @with_callbacks
    @substitute_docstring
    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Fit to ``X`` and return its embeddings.

        Parameters
        ----------
        {X_of_texts}
        {y_of_texts}
        {sample_weight}

        Returns
        -------
        {embeddings}
        """
        n_tasks = self._n_epochs + N_TASKS
        with fit_task(self, "fit-transform", X, y, max_subtasks=n_tasks) as context:
            columns = self._fit(X, y, sample_weight, context=context)
            embedded = self._embed_columns(columns, context)
            self._warn_about(embedded)
            return embedded.rows

    @available_if(has_fine_tuner)
    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @substitute_docstring
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Continue fine-tuning from the current weights.

        The first call is equivalent to `fit`. Only available if ``fine_tuner`` is set.

        Parameters
        ----------
        {X_of_texts}
        {y_of_texts}
        {sample_weight}

        Returns
        -------
        SentenceEmbedder
            The embedder itself.
        """
        self._fit(X, y, sample_weight, is_partial_fit=True)
        return self

    @substitute_docstring
    def transform(self, X: Any) -> np.ndarray:
        """Embed ``X``.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Texts, in the same number of columns as in ``fit``. Zero rows are allowed.

        Returns
        -------
        {embeddings}

        Raises
        ------
        ValueError
            If the number of columns differs from that seen in ``fit``, or a text is missing or exceeds
            the token limit and ``missing`` or ``long_text`` is ``"error"``.
        """
        check_is_fitted(self)
        columns = self._validate_input(X, reset=False)
        embedded = self._embed_columns(columns)
        self._warn_about(embedded)
        return embedded.rows

    def _embed_columns(self, columns: TextColumns, context: Any = None) -> EmbeddedRows:
        """Embed validated columns; larger-than-memory data sums the counts of its parts."""
        self._check_missing(columns)
        unique = unique_texts(columns, missing_is_empty=self.missing == "empty")
        encoded = self._encode(unique, context)  # cache -> workers -> encoder
        embeddings = self._truncate(encoded.vectors)
        n_truncated, n_texts = unique.count_truncated(encoded.truncated)
        rows = unique.expand(embeddings, fill=np.nan if self.missing == "nan" else 0.0)
        return EmbeddedRows(rows, n_texts, n_truncated, n_missing=int(columns.missing.sum()))

    def _warn_about(self, embedded: EmbeddedRows) -> None:
        """Warn of missing values that became zeros, and of truncated texts."""
        if embedded.n_missing and self.missing == "zero":
            warn(
                f"{embedded.n_missing} of {embedded.n_missing + embedded.n_texts} cells have no text "
                "and became zeros. Fill them, or pass missing='nan', 'empty' or 'error'.",
                MissingTextWarning,
            )
        self._warn_truncated(
            embedded.n_truncated,
            embedded.n_texts,
            "Pass long_text='chunk' to use whole texts, or a model with a larger limit.",
        )

    @substitute_docstring
    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Save the model in a folder that sentence-transformers and this class load.

        Pooling, normalization, token limit, prompt and ``truncate_dim`` are saved as they are set here.
        sentence-transformers does not normalize truncated embeddings again.

        Parameters
        ----------
        {folder}

        Raises
        ------
        {folder_errors}
        """
        super().save_pretrained(folder)

    def _saved_encoder(self) -> Encoder:
        truncate_dim = self.embedding_dim_ if self._is_truncated else None
        return super()._saved_encoder().replace(truncate_dim=truncate_dim)

    def _fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        is_partial_fit: bool = False,
        context: Any = None,
    ) -> TextColumns:
        is_warm = self._is_warm_start(is_partial_fit)
        columns = self._validate_input(X, reset=True)
        if not columns.n_rows:
            raise ValueError(
                "Found array with 0 sample(s) while a minimum of 1 is required by fit."
            )
        encoder = self._warm_encoder() if is_warm else self._load()
        encoder = encoder.with_pooling(pooling=self.pooling, normalize=self.normalize)
        self._check_max_length(encoder)
        self._set_embedding_dim(encoder)
        sample_weight = self._validate_sample_weight(sample_weight, columns)
        self.__dict__.pop("history_", None)
        if not is_warm:
            self._y_range = None
        if self.fine_tuner is not None:
            data = RawTrainingData(columns, y, sample_weight)
            callback = self._training_callback(context, X, y)
            tuned = self._fine_tune(encoder, data, EMBEDDING, callback)
            encoder = tuned.encoder
            if tuned.format == DataFormat.SCORES:
                self._y_range = tuned.score_range
        self._set_encoder(encoder)
        return columns

    def _set_encoder(self, encoder: Encoder) -> None:
        super()._set_encoder(encoder)
        self._set_embedding_dim(encoder)

    def _check_max_length(self, encoder: Encoder) -> None:
        """Raise if special tokens and prompt leave no tokens for text."""
        encoder.tokenizer(
            [""],
            prompt=encoder.resolve_prompt(self.prompt, self.prompt_name),
            max_length=encoder.resolve_max_length(self.max_length),
            long_text="truncate",
        )

    def _validate_input(self, X: Any, *, reset: bool) -> TextColumns:
        columns = read_text_columns(X)
        if reset:
            self._store_series_name(columns)
        elif self.fine_tuner is not None and columns.n_columns == 1:
            return columns  # an embedder that was fitted on pairs embeds single texts, too
        validate_feature_names(self, X, columns.n_columns, reset=reset, is_1d=columns.is_1d)
        return columns

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags
