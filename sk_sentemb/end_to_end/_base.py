"""The base class of SentenceClassifier and SentenceRegressor."""

import os
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
)

from .._base import BaseTextEstimator
from .._inputs import unique_texts, validate_feature_names
from .._training import FineTuner, RawTrainingData, end_to_end_task
from .._warn import warn
from ..cache import DiskCache, MemoryCache
from ..embedder import SentenceEmbedder
from ..encoder import Encoder, isolated
from ..exceptions import IgnoredParameterWarning
from ..losses import DataFormat
from .fusion import FUSIONS
from .head import ACTIVATIONS, Head, HeadFactory, HeadLoss, HeadSpec, head_from_state, head_to_state
from .table_reader import ROLES, Columns, Table, TableColumns, TableReader

# The parameters that `embedder_` has from the estimator.
_SHARED_WITH_EMBEDDER = (
    "prompt",
    "prompt_name",
    "max_length",
    "long_text",
    "missing",
    "batch_tokens",
    "cache",
    "n_jobs",
    "store_weights_in_pickle",
)

# The parameters that have no effect with a custom head, and their defaults.
_DEFAULT_LAYERS: dict[str, Any] = {"hidden_layer_sizes": (), "activation": "relu", "dropout": 0.1}

# Rows in one batch of the head.
_BATCH_ROWS = 4096


class BaseEndToEndModel(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseTextEstimator):
    """An estimator that trains an encoder of texts and a head over all parts of a row."""

    head_: Head
    _reader: TableReader
    _reading: dict[str, str]  # parameters by which X is read
    _spec: HeadSpec

    _missing_policies = ("empty", "error")
    _long_text_policies = ("chunk", "truncate", "error")

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **BaseTextEstimator._parameter_constraints,
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "head": [callable, None],
        "fusion": [StrOptions(set(FUSIONS))],
        **{role: [str, list, tuple] for role in ROLES},
        "image_embedder": [HasMethods(["fit", "transform"]), None],
        "missing": [StrOptions(set(_missing_policies))],
        "long_text": [StrOptions(set(_long_text_policies))],
    }

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

    @property
    def embedder_(self) -> SentenceEmbedder:
        """The trained encoder as a :class:`SentenceEmbedder`, for other pipelines."""
        check_is_fitted(self)
        shared = {name: getattr(self, name) for name in _SHARED_WITH_EMBEDDER}
        return SentenceEmbedder(self.encoder_, **shared).fit([""])

    def transform(self, X: Any) -> np.ndarray:
        """Compute the fused representation of each row, the input of the head's layers.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            The same columns as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_fused), float32
            The fused representation.
        """
        check_is_fitted(self)
        return self._compute_outputs(X, self.head_.fuse)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        context: Any,
        *,
        data_format: DataFormat,
        error: str,
        classes: np.ndarray | None = None,
    ) -> None:
        """Train encoder and head on a `y` that is validated and encoded."""
        is_warm_start = self._is_warm_start()
        self._check_reading(is_warm_start)
        if not is_warm_start and not len(y):
            raise ValueError(
                "Found array with 0 sample(s) while a minimum of 1 is required by fit."
            )
        columns = self._validate_input(X, reset=not is_warm_start)
        check_consistent_length(columns.missing, y)
        data = RawTrainingData(
            columns,
            y,
            self._validate_sample_weight(sample_weight, columns),
            classes=classes,
            features=columns.features,
            validation=self._read_validation_data(),
        )
        spec = self._make_head_spec(columns.n_columns)
        if is_warm_start and spec != self._spec:
            raise ValueError(
                f"With warm_start, training continues with the head {self._spec}, which cannot become "
                f"{spec}. Pass the parameters of the last fit, or warm_start=False."
            )
        self._spec = spec
        loss = HeadLoss(spec, error, initial_head=self.head_ if is_warm_start else None)
        encoder = self._warm_encoder() if is_warm_start else self._load()
        self.__dict__.pop("history_", None)
        task = end_to_end_task(loss, data_format)
        result = self._fine_tune(encoder, data, task, self._training_callback(context, X, y))
        self._set_head(result.head)
        self._set_encoder(result.encoder)

    def _check_reading(self, is_warm_start: bool) -> None:
        """Keep the parameters by which X is read; raise if a warm start changes them."""
        # As strings, since an image embedder can be changed in place.
        reading = {name: str(getattr(self, name)) for name in (*ROLES, "image_embedder")}
        for name, value in reading.items():
            if is_warm_start and value != self._reading[name]:
                raise ValueError(
                    f"With warm_start, X is read as in the last fit, where {name} was "
                    f"{self._reading[name]}, but now it is {value}. Pass the former value, or "
                    "warm_start=False."
                )
        self._reading = reading

    def _make_head_spec(self, n_texts: int) -> HeadSpec:
        """Validate the parameters of the head, and collect them."""
        sizes = tuple(self.hidden_layer_sizes)
        if not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r}: pass integers above 0."
            )
        layers = {
            "hidden_layer_sizes": sizes,
            "activation": self.activation,
            "dropout": self.dropout,
        }
        ignored = [name for name, value in layers.items() if value != _DEFAULT_LAYERS[name]]
        if self.head is not None and ignored:
            warn(
                f"{' and '.join(ignored)} have no effect with a custom head. Set them in the head.",
                IgnoredParameterWarning,
            )
        return HeadSpec(
            n_texts=n_texts,
            feature_sizes=self._reader.part_sizes,
            fusion=self.fusion,
            hidden_layer_sizes=sizes,
            activation=self.activation,
            dropout=self.dropout,
            factory=self.head,
        )

    @property
    def _effective_fine_tuner(self) -> FineTuner:
        return FineTuner() if self.fine_tuner is None else self.fine_tuner

    def _set_head(self, head: torch.nn.Module | None) -> None:
        assert isinstance(head, Head)
        self.head_ = head

    def _read_validation_data(self) -> RawTrainingData | None:
        """Read the validation data of the fine-tuner, if it has some."""
        given = self._effective_fine_tuner.validation_data
        if given is None:
            return None
        if len(given) != 2:
            raise ValueError(f"validation_data has {len(given)} items; pass (X, y).")
        X, y = given
        if y is None:
            raise ValueError("validation_data[1] is None. Pass the targets of its rows.")
        columns = self._validate_input(X, reset=False)
        self._check_missing(columns)
        check_consistent_length(columns.missing, y)
        return RawTrainingData(columns, self._encode_target(y), features=columns.features)

    def _encode_target(self, y: Any) -> Any:
        """Encode the targets of validation data like those of the training data."""
        raise NotImplementedError

    def _validate_input(self, X: Any, *, reset: bool) -> TableColumns:
        """Read a table; in `fit`, learn how to read it first."""
        table = Table(X)
        if reset:
            self._reader, columns = TableReader.fit(
                table,
                image_embedder=self.image_embedder,
                roles={role: getattr(self, role) for role in ROLES},
            )
        validate_feature_names(self, table.X, table.n_columns, reset=reset, is_1d=table.is_1d)
        if reset:
            return columns
        if not self._reader.can_read(table):
            raise ValueError(
                f"X has no column names, but {type(self).__name__} was fitted to a data frame with "
                "columns of several roles. Pass a data frame with the same columns."
            )
        return self._reader.read(table)

    def _compute_outputs(self, X: Any, function: Callable[..., torch.Tensor]) -> np.ndarray:
        """Apply the head, or its fusion, to the embeddings and features of each row."""
        columns = self._validate_input(X, reset=False)
        self._check_missing(columns)
        unique = unique_texts(columns, missing_is_empty=True)
        encoded = self._encode(unique)
        self._warn_truncated(
            *unique.count_truncated(encoded.truncated),
            "Pass long_text='chunk' to use whole texts, or a model with a larger limit.",
        )
        return _run_head(
            function, encoded.vectors, unique.inverse, columns.features, self.encoder_.device
        )

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if "head_" in state:
            state["head_"] = head_to_state(state["head_"])
        for name in ("_spec", "_reader"):
            if name in state:
                state[name] = dict(vars(state[name]))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for name, kind in (("_spec", HeadSpec), ("_reader", TableReader)):
            if name in state:
                setattr(self, name, kind(**state[name]))
        if self._is_fitted():
            head = head_from_state(state["head_"], self._spec, self.encoder_.embedding_dim)
            self.head_ = head.to(self.encoder_.device)

    @property
    def _n_features_out(self) -> int:
        return int(self.head_.fusion.out_dim)  # type: ignore[arg-type]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags


@isolated
@torch.inference_mode()
def _run_head(
    function: Callable[..., torch.Tensor],
    embeddings: np.ndarray,
    inverse: np.ndarray,
    features: np.ndarray,
    device: torch.device,
) -> np.ndarray:
    """Apply a head to the embeddings and features of each row, batch by batch."""
    on_device = torch.from_numpy(embeddings).to(device)
    outputs = []
    for start in range(0, max(1, len(features)), _BATCH_ROWS):
        rows = slice(start, start + _BATCH_ROWS)
        texts = torch.from_numpy(inverse[:, rows]).to(device)
        others = torch.from_numpy(features[rows]).to(device)
        outputs.append(function([on_device[column] for column in texts], others).cpu().numpy())
    return np.concatenate(outputs)
