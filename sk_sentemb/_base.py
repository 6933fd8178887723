"""Base classes of estimators around a pretrained model: load it, run it, fine-tune it, pickle it."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import copy, deepcopy
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted
from torch import nn

from ._docstrings import substitute_docstring
from ._inputs import ImageColumns, TextColumns, UniqueTexts, check_sample_weight, warn_truncated
from ._parallel import count_workers, parallel_encode
from ._progress import CallbackSupportMixin, SklearnCallbackAdapter, progress_reporter
from ._training import (
    EncodingOptions,
    FineTuner,
    FineTuningResult,
    RawTrainingData,
    Task,
    fine_tune,
    max_epochs,
    requested_formats,
)
from ._types import Text
from ._warn import warn
from .cache import DiskCache, MemoryCache, get_or_compute, namespace_for, open_cache
from .encoder import (
    Embedded,
    Encoder,
    encoder_from_state,
    encoder_to_state,
    l2_normalize,
    load_encoder,
    new_folder,
    save_encoder,
    warn_literal_prompt,
)
from .exceptions import IgnoredParameterWarning, InvalidRowError, TextTooLongError
from .losses import DataFormat


class PretrainedModelMixin(CallbackSupportMixin, BaseEstimator):
    """An estimator with a parameter ``model`` and the fitted attribute ``encoder_``.

    Copies share the model; pickles store a reference to it, or its weights.
    """

    model: Any
    revision: str | None
    dtype: str
    device: str | None
    cache: Any
    store_weights_in_pickle: bool
    encoder_: Any

    # The class of a loaded model.
    _model_class: ClassVar[type] = Encoder

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "revision": [str, None],
        "dtype": [StrOptions({"float32", "bfloat16", "float16", "auto"})],
        "device": [str, None],
        "cache": [str, os.PathLike, "boolean", MemoryCache, DiskCache, None],
        "n_jobs": [Integral, None],
        "store_weights_in_pickle": ["boolean"],
        "verbose": ["verbose"],
    }

    def _validate_params(self) -> None:
        super()._validate_params()
        open_cache(self.cache)  # raises for a str that does not specify a cache

    def _load_encoder(self, load: Callable[..., Any], **kwargs: Any) -> Any:
        """Load the model, unless it is loaded."""
        if not isinstance(self.model, self._model_class):
            return load(
                self.model, revision=self.revision, device=self.device, dtype=self.dtype, **kwargs
            )
        # A default cannot be told from a choice: float32 and None leave the encoder as it is.
        for name, default in {"revision": None, "device": None, "dtype": "float32"}.items():
            if getattr(self, name) not in (default, str(getattr(self.model, name, default))):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} has no effect on a loaded model. Pass it to "
                    f"{load.__name__}, or pass the model's name here."
                )
        return self.model

    def _is_fitted(self) -> bool:
        return hasattr(self, "encoder_")

    def __sklearn_is_fitted__(self) -> bool:
        return self._is_fitted()

    def __copy__(self) -> Self:
        return self._copy_with_state(self.__dict__)

    def __deepcopy__(self, memo: dict) -> Self:
        return self._copy_with_state(deepcopy(self.__dict__, memo))

    def _copy_with_state(self, state: dict[str, Any]) -> Self:
        """Return a copy that shares the model, which by way of a pickle would be loaded again."""
        copied = type(self).__new__(type(self))
        copied.__dict__.update(state)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        for name in ("model", "encoder_"):
            if isinstance(state.get(name), self._model_class):
                state[name] = encoder_to_state(state[name], embed=self.store_weights_in_pickle)
        if isinstance(state.get("history_"), pd.DataFrame):  # which skops cannot write
            state["history_"] = {name: rows.to_numpy() for name, rows in state["history_"].items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in ("model", "encoder_"):
            if isinstance(state.get(name), dict):
                state = state | {name: encoder_from_state(state[name])}
        if isinstance(state.get("history_"), dict):
            state = state | {"history_": pd.DataFrame(state["history_"])}
        super().__setstate__(state)


class EmbeddingOutputMixin:
    """Truncated embeddings as output, with a name for each dimension of each input column."""

    truncate_dim: int | None
    encoder_: Any
    _series_name: str | None  # the name of a Series in fit, which has no feature names

    def _set_embedding_dim(self, encoder: Any) -> None:
        if self.truncate_dim is not None and self.truncate_dim > encoder.embedding_dim:
            raise ValueError(
                f"truncate_dim={self.truncate_dim} exceeds the {encoder.embedding_dim} dimensions of "
                "the model. Pass that many or fewer."
            )
        kept = encoder.truncate_dim if self.truncate_dim is None else self.truncate_dim
        self.embedding_dim_ = int(min(kept or encoder.embedding_dim, encoder.embedding_dim))

    def _store_series_name(self, columns: TextColumns | ImageColumns) -> None:
        self._series_name = columns.names[0] if columns.names and columns.is_1d else None

    @property
    def _is_truncated(self) -> bool:
        return self.embedding_dim_ < self.encoder_.embedding_dim

    def _truncate(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the first `embedding_dim_` dimensions, with unit norm if the model normalizes."""
        if not self._is_truncated:
            return embeddings
        embeddings = embeddings[:, : self.embedding_dim_]
        return l2_normalize(embeddings) if self.encoder_.normalizes else embeddings.copy()

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


class BaseTextEstimator(PretrainedModelMixin):
    """An estimator that runs a text model over cells or pairs, with a cache, and fine-tunes it."""

    # Subclasses override these hooks, each with the signature it has here:
    # - `_missing_policies`, `_long_text_policies`: the values of `missing` and `long_text`;
    # - `_progress_label`, `_input_noun`: what a progress bar and warnings say;
    # - `_effective_fine_tuner`: the fine_tuner that is used if the parameter is None;
    # - `_describe_row`: the position of a cell in an error;
    # - `_set_encoder`, `_set_head`, `_as_fitted`: what a fit stores;
    # - `_saved_encoder`: what `save_pretrained` saves.
    # Each subclass has a `_validate_input(X, *, reset)`, which returns its columns and stores the
    # names of the input columns if `reset`.

    prompt: str | None
    prompt_name: str | None
    max_length: int | None
    long_text: str
    missing: str
    batch_tokens: int | str
    n_jobs: int | None
    fine_tuner: FineTuner | None
    warm_start: bool
    verbose: int

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **PretrainedModelMixin._parameter_constraints,
        "model": [str, os.PathLike, Encoder],
        "prompt": [str, None],
        "prompt_name": [str, None],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "batch_tokens": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "fine_tuner": [FineTuner, None],
        "warm_start": ["boolean"],
    }

    _missing_policies: ClassVar[tuple[str, ...]]
    _long_text_policies: ClassVar[tuple[str, ...]]
    _progress_label: ClassVar[str] = "embedding"
    _input_noun: ClassVar[str] = "text"

    # Whether it is a clone, which a search or a cross-validation fits.
    _is_clone: bool = False

    # The values of `y` that stand for 0 and 1 after a fit on scores; warm starts keep them.
    _y_range: tuple[float, float] | None = None

    # The parameters that the model was loaded with, which a warm start continues with.
    _loaded_with: Mapping[str, str | None] = MappingProxyType({})

    def __sklearn_clone__(self) -> Self:
        cloned = super().__sklearn_clone__()
        cloned._is_clone = True
        return cloned

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_is_clone", None)  # joblib hashes a clone like its original
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if not self._is_fitted():  # a clone that was sent to a worker, not a saved model
            self._is_clone = True

    @substitute_docstring
    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Save the model in a folder that sentence-transformers and this class load.

        Parameters
        ----------
        {folder}

        Raises
        ------
        {folder_errors}
        """
        check_is_fitted(self)
        with new_folder(Path(folder).expanduser()) as fresh:
            save_encoder(self._saved_encoder(), fresh)

    def _saved_encoder(self) -> Encoder:
        """Return the encoder with the settings that a checkpoint stores."""
        return self.encoder_.replace(
            max_length=self.encoder_.resolve_max_length(self.max_length),
            default_prompt=self.encoder_.resolve_prompt(self.prompt, self.prompt_name),
        )

    def _load(self, *, pairs: bool = False) -> Any:
        """Load the model, and raise or warn if it does not fit the parameters."""
        encoder = self._load_encoder(load_encoder, pairs=pairs)
        self._loaded_with = self._loading_parameters()
        encoder.resolve_max_length(self.max_length)
        encoder.resolve_prompt(self.prompt, self.prompt_name)
        warn_literal_prompt(encoder.prompts, self.prompt)
        return encoder

    def _loading_parameters(self) -> dict[str, str | None]:
        """Return the parameters that decide which model is loaded, as plain values."""
        model = self.model
        if isinstance(model, Encoder):
            model = f"an Encoder with the fingerprint {model.fingerprint}"
        others = {name: getattr(self, name) for name in ("revision", "dtype", "device")}
        return {"model": os.fspath(model), **others}

    def _is_warm_start(self, is_partial_fit: bool = False) -> bool:
        """Return whether a fit starts from the weights of the last one."""
        continues = is_partial_fit or self.warm_start
        return continues and self._effective_fine_tuner is not None and self._is_fitted()

    def _warm_encoder(self) -> Any:
        """Return the encoder of the last fit, unless the parameters now name another model."""
        for name, value in self._loading_parameters().items():
            before = self._loaded_with.get(name, value)
            # A pickle may be loaded where there is another device.
            is_available = name in ("dtype", "device") and value in (
                None,
                str(getattr(self.encoder_, name)),
            )
            if value != before and not is_available:
                raise ValueError(
                    f"with warm_start or partial_fit, training continues from the model of the last "
                    f"fit, which was loaded with {name}={before!r}, and now it is {value!r}. Pass what "
                    "it was, or call fit with warm_start=False, or fit a clone."
                )
        return self.encoder_

    def _check_missing(self, columns: TextColumns) -> None:
        if self.missing == "error" and columns.missing.any():
            row, column = (int(i) for i in np.argwhere(columns.missing)[0])
            raise InvalidRowError(
                row,
                column,
                f"has no text ({columns.missing.sum()} in all). Fill them, or pass "
                f"missing={_other_than_error(self._missing_policies)}.",
            )

    def _encode(
        self,
        unique: UniqueTexts,
        context: Any = None,
        describe_row: Callable[[int], str] | None = None,
    ) -> Embedded:
        """Return what the fitted model computes for unique texts; an error names the row."""
        try:
            return self._encode_cached(self.encoder_, unique.texts, context)
        except TextTooLongError as error:
            row, column = unique.first_cell(error.position)
            raise InvalidRowError(
                row,
                column,
                f"has more than {error.max_length} tokens, and long_text='error'. Shorten it, or pass "
                f"long_text={_other_than_error(self._long_text_policies)}.",
                describe_row(row) if describe_row else f"{self._describe_row(row, column)} of X",
            ) from None

    def _encode_cached(
        self, encoder: Encoder, texts: Sequence[Text], context: Any = None
    ) -> Embedded:
        """Return what a model computes for texts: from the cache, or from workers that run it."""
        settings: dict[str, Any] = {
            "prompt": encoder.resolve_prompt(self.prompt, self.prompt_name),
            "max_length": self.max_length,
            "long_text": self.long_text,
        }
        cache = open_cache(self.cache)
        if encoder.unsaved and isinstance(cache, DiskCache):
            cache = open_cache("memory")  # no other process can have these weights
        workers = parallel_encode(
            encoder, n_jobs=self.n_jobs, batch_tokens=self.batch_tokens, **settings
        )
        progress: Any = nullcontext(lambda n_done: None)
        if self.verbose > 0 or context is not None:
            label, noun = self._progress_label, self._input_noun
            progress = progress_reporter(
                self, len(texts), bar=self.verbose > 0, work=label, unit=noun, context=context
            )
        with progress as report, workers as compute:
            if cache is None:
                return compute(texts, report)
            return get_or_compute(
                cache,
                namespace_for(encoder, **settings),
                texts,
                compute,
                tokens_per_pass=encoder.resolve_batch_tokens(self.batch_tokens),
                n_workers=count_workers(self.n_jobs),
                on_progress=report,
            )

    def _describe_row(self, row: int, column: int) -> str:
        return f"row {row}, column {column}"

    def _warn_truncated(self, n_truncated: int, n_texts: int, advice: str) -> None:
        limit = self.encoder_.resolve_max_length(self.max_length)
        warn_truncated(n_truncated, n_texts, noun=self._input_noun, limit=limit, advice=advice)

    @property
    def _effective_fine_tuner(self) -> FineTuner | None:
        return self.fine_tuner

    @property
    def _n_epochs(self) -> int:
        """The number of epochs that scikit-learn's callbacks should expect."""
        return 0 if self._effective_fine_tuner is None else max_epochs(self._effective_fine_tuner)

    def _training_callback(self, context: Any, X: Any, y: Any) -> SklearnCallbackAdapter | None:
        return context and SklearnCallbackAdapter(self, context, X, y, self._as_fitted)

    def _validate_sample_weight(
        self, sample_weight: Any, columns: TextColumns
    ) -> np.ndarray | None:
        if sample_weight is None:
            return None
        weight = check_sample_weight(sample_weight, columns.missing)
        if not weight.any():
            raise ValueError("sample_weight is zero in all rows; pass one that is not.")
        if self._effective_fine_tuner is None:
            warn("sample_weight has no effect without a fine_tuner.", IgnoredParameterWarning)
        return weight

    def _fine_tune(
        self, encoder: Encoder, data: RawTrainingData, task: Task, callback: Any
    ) -> FineTuningResult:
        """Fine-tune a copy of an encoder, and store the history."""
        fine_tuner = self._effective_fine_tuner
        assert fine_tuner is not None
        self._check_missing(data.columns)
        if self._y_range is not None and fine_tuner.score_range is None:
            fine_tuner._validate_params()
            formats = requested_formats(fine_tuner, task)
            if formats is None or DataFormat.SCORES in formats:
                fine_tuner = copy(fine_tuner)
                fine_tuner.score_range = self._y_range
        tuned = fine_tune(
            fine_tuner,
            encoder,
            data,
            task,
            EncodingOptions(
                prompt=encoder.resolve_prompt(self.prompt, self.prompt_name),
                max_length=self.max_length,
                long_text=self.long_text,
                missing_is_empty=self.missing == "empty",
                embed=lambda texts: self._encode_cached(encoder, texts).vectors,
            ),
            callback=callback,
            keep_interrupted=not self._is_clone,
        )
        self.history_ = tuned.history
        return tuned

    def _set_encoder(self, encoder: Encoder) -> None:
        self.encoder_ = encoder
        self.fingerprint_ = encoder.fingerprint

    def _set_head(self, head: nn.Module | None) -> None:
        """Store a head that was trained with the encoder; without one, do nothing."""

    def _as_fitted(
        self, encoder: Encoder, head: nn.Module | None, score_range: tuple[float, float]
    ) -> dict[str, Any]:
        """Return the fitted attributes of an estimator with this encoder and head."""
        del score_range
        fitted = self._copy_with_state(self.__dict__)
        fitted._set_encoder(encoder)
        fitted._set_head(head)
        return {name: value for name, value in vars(fitted).items() if name.endswith("_")}


def has_fine_tuner(estimator: BaseTextEstimator) -> bool:
    """Return whether an estimator has a fine_tuner, for methods that need one."""
    return estimator.fine_tuner is not None


def _other_than_error(policies: tuple[str, ...]) -> str:
    """Name the values that can be passed instead of "error"."""
    *but_last, last = (repr(policy) for policy in policies if policy != "error")
    return f"{', '.join(but_last)} or {last}" if but_last else last
