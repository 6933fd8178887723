"""SentenceRegressor: numbers for texts, and for rows with texts, tables and images."""

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, check_array

from .._atomic_fit import atomic_fit
from .._inputs import check_no_missing, check_sample_weight
from .._pretrained import with_callbacks
from .._training import FineTuner
from ..cache import DiskCache, MemoryCache
from ..encoder import Encoder
from ..losses import DataFormat
from ._base import BaseEndToEndModel
from .fusion import HeadFactory
from .table_reader import Columns


class SentenceRegressor(RegressorMixin, BaseEndToEndModel):
    """Numbers for texts, or for rows with texts, numbers, categories and images.

    A transformer that embeds the texts and a head over its vectors and the rest of a row are trained
    together. One number for each row, or several at once.

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
    SentenceClassifier : Classes instead of numbers.
    SentenceEmbedder : Vectors for any regressor; with a ``fine_tuner``, trained before that.

    References
    ----------
    .. [1] J. Arevalo et al., "Gated Multimodal Units for Information Fusion", 2017,
       https://arxiv.org/abs/1702.01992

    Examples
    --------
    >>> from sk_sentemb import FineTuner, SentenceRegressor
    >>> X = ["Fits well.", "Too tight!", "I love it.", "It fell apart."] * 4
    >>> y = [4.0, 2.0, 5.0, 1.0] * 4
    >>> tuner = FineTuner(epochs=10, batch_size=8, random_state=0)
    >>> regressor = SentenceRegressor(fine_tuner=tuner).fit(X, y)
    >>> regressor.predict(["I love it."]).shape
    (1,)
    """

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
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.

        Returns
        -------
        SentenceRegressor
            The fitted regressor itself.

        Raises
        ------
        ValueError
            If no column is text, or ``y`` is not of numbers.
        """
        if y is None:
            raise ValueError("SentenceRegressor requires y to be passed, but the target y is None.")
        target = _numbers(y)
        self._learn_units(target, sample_weight)
        with self._progress_task("fit", X, y, max_subtasks=self._n_epochs) as context:
            self._fit(
                X,
                self._encoded_target(target),
                sample_weight,
                context,
                shape=DataFormat.ROW_VALUES,
                error="squared_error",
            )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the numbers of each row.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Rows as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs), float64
            In the units of ``y``.
        """
        outputs = self._outputs(X).astype(np.float64)
        if len(outputs):
            outputs = self._scaler.inverse_transform(outputs)
        return outputs[:, 0] if self._is_flat else outputs

    def _learn_units(self, target: np.ndarray, sample_weight: Any) -> None:
        """Learn the scale of ``y``: the head learns numbers of mean 0 and deviation 1."""
        columns = target.reshape(len(target), -1)
        if self._is_warm_start():
            # It goes on from what its outputs mean, whatever the mean of these rows is.
            self._check_n_outputs(columns, "y")
        else:
            weight = check_sample_weight(sample_weight, columns)
            counts = weight > 0 if (weight > 0).any() else np.ones(len(columns), dtype=bool)
            self._scaler = StandardScaler().fit(columns[counts], sample_weight=weight[counts])
        self._is_flat = target.ndim == 1

    def _check_n_outputs(self, columns: np.ndarray, name: str) -> None:
        n_outputs = self._scaler.n_features_in_
        if columns.shape[1] != n_outputs:
            raise ValueError(
                f"{name} has {columns.shape[1]} columns, and the head has {n_outputs} outputs; pass as "
                "many, or fit without warm_start."
            )

    def _encoded_target(self, y: Any) -> np.ndarray:
        target = _numbers(y)
        columns = target.reshape(len(target), -1)
        self._check_n_outputs(columns, "the y of validation_data")
        return self._scaler.transform(columns)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _numbers(y: Any) -> np.ndarray:
    check_no_missing(y)
    return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
