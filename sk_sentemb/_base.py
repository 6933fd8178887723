"""What estimators that hold a model of texts share: load it, run it, fine-tune it."""

import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._docstrings import substitute_docstring
from ._inputs import TextColumns, UniqueTexts, check_sample_weight
from ._parallel import count_workers, parallel_encode
from ._pretrained import PretrainedModelMixin
from ._progress import SklearnCallbackAdapter, progress_reporter
from ._training import (
    FineTuner,
    FineTuningResult,
    RawTrainingData,
    Task,
    fine_tune,
    max_epochs,
    requested_formats,
)
from ._truncation import CellCounts, warn_truncated
from ._types import Text
from ._warn import warn
from .cache import DiskCache, MemoryCache, get_or_compute, namespace_for, open_cache
from .encoder import (
    Embedded,
    Encoder,
    load_encoder,
    new_folder,
    warn_of_literal_prompt,
    write_encoder,
)
from .exceptions import IgnoredParameterWarning, TextTooLongError
from .losses import DataFormat


class BaseTextEstimator(PretrainedModelMixin):
    """An estimator around a model, which it has as ``encoder_`` once it is fitted."""

    prompt: str | None
    prompt_name: str | None
    max_length: int | None
    long_text: str
    missing: str
    batch_tokens: int | str
    cache: Any
    n_jobs: int | None
    fine_tuner: FineTuner | None
    warm_start: bool
    verbose: int

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "model": [str, os.PathLike, Encoder],
        "revision": [str, None],
        "prompt": [str, None],
        "prompt_name": [str, None],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "dtype": [StrOptions({"float32", "bfloat16", "float16", "auto"})],
        "device": [str, None],
        "batch_tokens": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "cache": [str, os.PathLike, "boolean", MemoryCache, DiskCache, None],
        "n_jobs": [Integral, None],
        "fine_tuner": [FineTuner, None],
        "warm_start": ["boolean"],
        "store_weights_in_pickle": ["boolean"],
        "verbose": ["verbose"],
    }

    # What there is to choose from, the likeliest first.
    _missing_policies: ClassVar[tuple[str, ...]]
    _long_text_policies: ClassVar[tuple[str, ...]]

    # What a bar says is done, and with what.
    _progress_label: ClassVar[str] = "embedding"
    _input_noun: ClassVar[str] = "text"

    # Whether it is fitted as part of a search, a cross-validation or the like, which fit clones.
    _is_clone: bool = False

    # The numbers of `y` that stand for 0 and 1, once a fit learned from scores; warm starts keep them.
    _y_range: tuple[float, float] | None = None

    # The parameters that the model was loaded with, which a warm start continues with.
    _loaded_with: Mapping[str, str | None] = MappingProxyType({})

    def __sklearn_clone__(self) -> Self:
        cloned = super().__sklearn_clone__()
        cloned._is_clone = True
        return cloned

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_is_clone", None)  # joblib hashes a clone as its original
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if not self._is_fitted():  # a clone that was sent to a worker, not a model that was saved
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
            write_encoder(self._saved_encoder(), fresh)

    def _saved_encoder(self) -> Encoder:
        """Return the encoder with the settings that a checkpoint can say."""
        return self.encoder_.replace(
            max_length=self.encoder_.resolve_max_length(self.max_length),
            default_prompt=self.encoder_.resolve_prompt(self.prompt, self.prompt_name),
        )

    def _load(self, *, pairs: bool = False) -> Encoder:
        encoder = self._load_encoder(load_encoder, pairs=pairs)
        self._loaded_with = self._loading_parameters()
        encoder.resolve_max_length(
            self.max_length
        )  # says now whether the model has so many positions
        encoder.resolve_prompt(self.prompt, self.prompt_name)  # raises for an unknown name
        warn_of_literal_prompt(encoder.prompts, self.prompt)
        return encoder

    def _is_warm_start(self, go_on: bool = False) -> bool:
        """Say whether a fit begins with the weights of the last one."""
        return (
            (go_on or self.warm_start)
            and self._effective_fine_tuner is not None
            and self._is_fitted()
        )

    def _loading_parameters(self) -> dict[str, str | None]:
        """Return the parameters that decide which model is loaded, as plain values."""
        model = self.model
        if isinstance(model, Encoder):
            model = f"an Encoder with the fingerprint {model.fingerprint}"
        others = {name: getattr(self, name) for name in ("revision", "dtype", "device")}
        return {"model": os.fspath(model), **others}

    def _warm_encoder(self) -> Encoder:
        """Return the encoder of the last fit, unless the parameters have come to name another model."""
        for name, value in self._loading_parameters().items():
            before = self._loaded_with.get(name, value)
            # A pickle may be loaded where there is another device.
            is_there = name in ("dtype", "device") and value in (
                None,
                str(getattr(self.encoder_, name)),
            )
            if value != before and not is_there:
                raise ValueError(
                    f"with warm_start or partial_fit, training continues from the model of the last "
                    f"fit, which was loaded with {name}={before!r}, and now it is {value!r}. Pass what "
                    "it was, or call fit with warm_start=False, or fit a clone."
                )
        return self.encoder_

    @property
    def _effective_fine_tuner(self) -> FineTuner | None:
        """How the model is fine-tuned, if it is."""
        return self.fine_tuner

    def _validate_sample_weight(
        self, sample_weight: Any, columns: TextColumns
    ) -> np.ndarray | None:
        if sample_weight is None:
            return None
        weight = check_sample_weight(sample_weight, columns.missing)
        if not weight.any():
            raise ValueError("sample_weight is zero in all rows; pass one that is not.")
        if self._effective_fine_tuner is None:
            warn(
                "sample_weight has no effect without a fine_tuner: nothing is learnt from the rows.",
                IgnoredParameterWarning,
            )
        return weight

    def _check_missing(self, columns: TextColumns) -> None:
        if self.missing == "error" and columns.missing.any():
            row, column = np.argwhere(columns.missing)[0]
            raise ValueError(
                f"row {row}, column {column} of X has no text ({columns.missing.sum()} cells have "
                f"none). Fill them, or pass missing={_others(self._missing_policies)}."
            )

    def _fine_tune(
        self, encoder: Encoder, data: RawTrainingData, kind: Task, listener: Any
    ) -> FineTuningResult:
        """Fine-tune, and keep the history."""
        assert self._effective_fine_tuner is not None
        self._check_missing(data.columns)
        learner = self._effective_fine_tuner
        if self._y_range is not None and learner.score_range is None:
            learner._validate_params()  # its loss among them
            shapes = requested_formats(learner, kind)
            # A loss of anything else than scores has no use for their range.
            if shapes is None or DataFormat.SCORES in shapes:
                learner = copy(learner)
                learner.score_range = self._y_range
        tuned = fine_tune(
            learner,
            encoder,
            data,
            kind=kind,
            prompt=encoder.resolve_prompt(self.prompt, self.prompt_name),
            max_length=self.max_length,
            long_text=self.long_text,
            missing_is_empty=self.missing == "empty",
            embed=lambda texts: self._encode_cached(encoder, texts).vectors,
            listener=listener,
            keep_interrupted=not self._is_clone,
        )
        self.history_ = tuned.history
        return tuned

    def _training_callback(self, context: Any, X: Any, y: Any) -> SklearnCallbackAdapter | None:
        return context and SklearnCallbackAdapter(self, context, X, y, self._as_fitted)

    def _as_fitted(
        self, encoder: Encoder, head: nn.Module | None, score_range: tuple[float, float]
    ) -> dict[str, Any]:
        """Return the attributes of an estimator that has been fitted to that encoder and head."""
        del score_range
        fitted = self._copy_for_pickling(self.__dict__)
        fitted._set_encoder(encoder)
        fitted._set_head(head)
        return {name: value for name, value in vars(fitted).items() if name.endswith("_")}

    def _set_encoder(self, encoder: Encoder) -> None:
        self.encoder_ = encoder
        self.fingerprint_ = encoder.fingerprint

    def _set_head(self, head: nn.Module | None) -> None:
        """Keep what was trained along, if that is needed."""

    @property
    def _n_epochs(self) -> int:
        """How many epochs scikit-learn's callbacks shall expect."""
        return 0 if self._effective_fine_tuner is None else max_epochs(self._effective_fine_tuner)

    def _encode(
        self,
        distinct: UniqueTexts,
        context: Any = None,
        place: Callable[[int], str] | None = None,
    ) -> Embedded:
        """Let the model read distinct texts, and say which row has one that is too long."""
        try:
            return self._encode_cached(self.encoder_, distinct.texts, context)
        except TextTooLongError as error:
            row, column = distinct.first_cell(error.position)
            where = place(row) if place else f"{self._describe_row(row, column)} of X"
            raise ValueError(
                f"{where} has more than {error.max_length} tokens, and long_text='error'. Shorten it, "
                f"or pass long_text={_others(self._long_text_policies)}."
            ) from None

    def _encode_cached(
        self, encoder: Encoder, texts: Sequence[Text], context: Any = None
    ) -> Embedded:
        """Let a model read texts, those that the cache does not know."""
        settings: dict[str, Any] = {
            "prompt": encoder.resolve_prompt(self.prompt, self.prompt_name),
            "max_length": self.max_length,
            "long_text": self.long_text,
        }
        cache = open_cache(self.cache)
        if encoder.unsaved and isinstance(cache, DiskCache):
            cache = open_cache("memory")
        workers = parallel_encode(
            encoder, n_jobs=self.n_jobs, batch_tokens=self.batch_tokens, **settings
        )
        shown = progress_reporter(
            self,
            len(texts),
            bar=self.verbose > 0,
            work=self._progress_label,
            unit=self._input_noun,
            context=context,
        )
        with shown as report, workers as embed:
            if cache is None:
                return embed(texts, report)
            return get_or_compute(
                cache,
                namespace_for(encoder, **settings),
                texts,
                embed,
                tokens_per_pass=encoder.resolve_batch_tokens(self.batch_tokens),
                n_workers=count_workers(self.n_jobs),
                on_progress=report,
            )

    def _describe_row(self, row: int, column: int) -> str:
        return f"row {row}, column {column}"

    def _warn_truncated(self, counts: CellCounts, todo: str) -> None:
        warn_truncated(
            counts,
            unit=self._input_noun,
            limit=self.encoder_.resolve_max_length(self.max_length),
            advice=f"what is beyond was not read. {todo}",
        )


def has_a_fine_tuner(estimator: BaseTextEstimator) -> bool:
    """Say whether an estimator learns, for what it has only then."""
    return estimator.fine_tuner is not None


def _others(policies: tuple[str, ...]) -> str:
    """Name what can be passed instead of "error"."""
    *but_last, last = (repr(policy) for policy in policies if policy != "error")
    return f"{', '.join(but_last)} or {last}" if but_last else last
