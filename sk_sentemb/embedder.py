"""SentenceEmbedder: columns of text in, columns of numbers out."""

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
)

from ._atomic_fit import atomic_fit
from ._base import BaseTextEstimator, has_a_fine_tuner
from ._docstrings import substitute_docstring
from ._inputs import TextColumns, read_text_columns, unique_texts, validate_feature_names
from ._pretrained import with_callbacks
from ._progress import N_TASKS
from ._training import EMBEDDING, FineTuner, RawTrainingData
from ._truncation import CellCounts, count_truncated
from ._warn import warn
from .cache import DiskCache, MemoryCache
from .encoder import Encoder, l2_normalize
from .exceptions import MissingTextWarning
from .losses import DataFormat


class EmbeddedRows(NamedTuple):
    """Rows of vectors, and what has to be said about them."""

    vectors: np.ndarray
    n_texts: int
    n_truncated: int
    n_missing: int


@substitute_docstring
class SentenceEmbedder(TransformerMixin, BaseTextEstimator):
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
        with self._progress_task("fit", X, y, max_subtasks=self._n_epochs) as context:
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
        with self._progress_task("fit-transform", X, y, max_subtasks=n_tasks) as context:
            return self._embed(self._fit(X, y, sample_weight, context=context), context)

    @available_if(has_a_fine_tuner)
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
        self._fit(X, y, sample_weight, go_on=True)
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
        return self._embed(self._validate_input(X, reset=False))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the output columns: ``<column>_0``, ``<column>_1`` and so on.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input columns. If None, those seen in ``fit``, or ``x0``, ``x1`` and so on.

        Returns
        -------
        ndarray of shape (n_columns * `embedding_dim_`,), object
            One name per output column.
        """
        check_is_fitted(self)
        if input_features is None and self._series_name is not None:
            input_features = [self._series_name]
        names = _check_feature_names_in(self, input_features)
        dims = range(self.embedding_dim_)
        return np.array([f"{name}_{i}" for name in names for i in dims], dtype=object)

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
        kept = self.embedding_dim_ if self._truncates else None
        return super()._saved_encoder().replace(truncate_dim=kept)

    def _fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        go_on: bool = False,
        context: Any = None,
    ) -> TextColumns:
        go_on = self._is_warm_start(go_on)
        columns = self._validate_input(X, reset=True)
        if not columns.n_rows:
            raise ValueError(
                "Found array with 0 sample(s) while a minimum of 1 is required by fit."
            )
        encoder = self._warm_encoder() if go_on else self._load()
        encoder = encoder.with_pooling(pooling=self.pooling, normalize=self.normalize)
        self._check_max_length(encoder)
        if self.truncate_dim is not None and self.truncate_dim > encoder.embedding_dim:
            raise ValueError(
                f"truncate_dim={self.truncate_dim}, but the model gives {encoder.embedding_dim} "
                "dimensions; pass that many or fewer."
            )
        sample_weight = self._validate_sample_weight(sample_weight, columns)
        self.__dict__.pop("history_", None)
        if not go_on:
            self._y_range = None
        if self.fine_tuner is not None:
            data = RawTrainingData(columns, y, sample_weight)
            listener = self._training_callback(context, X, y)
            tuned = self._fine_tune(encoder, data, EMBEDDING, listener)
            encoder = tuned.encoder
            if tuned.shape == DataFormat.SCORES:
                self._y_range = tuned.score_range
        self._set_encoder(encoder)
        return columns

    def _set_encoder(self, encoder: Encoder) -> None:
        super()._set_encoder(encoder)
        kept = encoder.truncate_dim if self.truncate_dim is None else self.truncate_dim
        self.embedding_dim_ = int(min(kept or encoder.embedding_dim, encoder.embedding_dim))

    def _check_max_length(self, encoder: Encoder) -> None:
        """Raise if special tokens and prompt leave no room for text."""
        encoder.tokenizer(
            [""],
            prompt=encoder.resolve_prompt(self.prompt, self.prompt_name),
            max_length=encoder.resolve_max_length(self.max_length),
            long_text="truncate",
        )

    def _validate_input(self, X: Any, *, reset: bool) -> TextColumns:
        columns = read_text_columns(X)
        n_columns = columns.n_columns
        one_dimensional = (
            n_columns == 1 and not hasattr(X, "columns") and getattr(X, "ndim", 1) == 1
        )
        if reset:
            self._series_name = columns.names[0] if columns.names and one_dimensional else None
        elif self.fine_tuner is not None and n_columns == 1:
            return columns  # what was fitted on pairs embeds single texts as well
        validate_feature_names(self, X, n_columns, reset=reset, one_dimensional=one_dimensional)
        return columns

    def _embed(self, columns: TextColumns, context: Any = None) -> np.ndarray:
        rows = self._rows(columns, context)
        self._warn(rows)
        return rows.vectors

    def _rows(self, columns: TextColumns, context: Any = None) -> EmbeddedRows:
        """Embed rows, and count what has to be said about them."""
        self._check_missing(columns)
        distinct = unique_texts(columns, missing_is_empty=self.missing == "empty")
        embedded = self._encode(distinct, context)
        vectors = embedded.vectors
        if self._truncates:
            vectors = vectors[:, : self.embedding_dim_]
            vectors = l2_normalize(vectors) if self.encoder_.normalizes else vectors.copy()
        return EmbeddedRows(
            distinct.expand(vectors, fill=np.nan if self.missing == "nan" else 0.0),
            *count_truncated(distinct.inverse, embedded.truncated),
            n_missing=int(columns.missing.sum()),
        )

    @property
    def _truncates(self) -> bool:
        return self.embedding_dim_ < self.encoder_.embedding_dim

    def _warn(self, rows: EmbeddedRows) -> None:
        """Say how many cells became zeros and how many texts were cut."""
        if rows.n_missing and self.missing == "zero":
            warn(
                f"{rows.n_missing} of {rows.n_missing + rows.n_texts} cells have no text and became "
                "zeros. Fill them, or pass missing='nan', 'empty' or 'error'.",
                MissingTextWarning,
            )
        self._warn_truncated(
            CellCounts(rows.n_texts, rows.n_truncated),
            "Pass long_text='chunk' to use whole texts, or a model with a larger limit.",
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags
