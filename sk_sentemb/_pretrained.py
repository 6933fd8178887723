"""What estimators around a loaded model share: copies have one model, pickles have its name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, ClassVar, Self

import pandas as pd
from sklearn.base import BaseEstimator

from .cache import open_cache
from .encoder import Encoder, encoder_from_state, encoder_to_state

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no callbacks."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method as it is."""
        return method


class PretrainedModelMixin(CallbackSupportMixin, BaseEstimator):
    """An estimator with a model as ``model``, by name or loaded, and fitted as ``encoder_``."""

    model: Any
    revision: str | None
    dtype: str
    device: str | None
    cache: Any
    store_weights_in_pickle: bool

    # What a loaded model is, and how it gets into a pickle and out again.
    _model_noun: ClassVar[type] = Encoder
    _encoder_to_state: ClassVar[Any] = staticmethod(encoder_to_state)
    _encoder_from_state: ClassVar[Any] = staticmethod(encoder_from_state)

    def _validate_params(self) -> None:
        super()._validate_params()
        open_cache(self.cache)  # raises for a str that does not stand for a cache

    def _load_encoder(self, load: Callable[..., Any], **how: Any) -> Any:
        """Load the model, unless it is loaded."""
        if not isinstance(self.model, self._model_noun):
            return load(
                self.model, revision=self.revision, device=self.device, dtype=self.dtype, **how
            )
        # A default cannot be told from a choice: float32 and None leave the encoder as it is.
        kept = {"revision": None, "device": None, "dtype": "float32"}
        for name, default in kept.items():
            if getattr(self, name) not in (default, str(getattr(self.model, name, default))):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} has no effect on a model that is loaded; pass "
                    f"it to {load.__name__}, or pass the model's name here."
                )
        return self.model

    @contextmanager
    def _progress_task(self, name: str, X: Any, y: Any, max_subtasks: int = 0) -> Iterator[Any]:
        """Tell scikit-learn's callbacks, where they exist, about the beginning and the end of a fit."""
        if not hasattr(self, "_init_callback_context"):
            yield None
            return
        context = self._init_callback_context(task_name=name, max_subtasks=max_subtasks)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        yield context
        context.call_on_fit_task_end(estimator=self, X=X, y=y)

    def _is_fitted(self) -> bool:
        return hasattr(self, "encoder_")

    def __sklearn_is_fitted__(self) -> bool:
        return self._is_fitted()

    def __copy__(self) -> Self:
        return self._copy_for_pickling(self.__dict__)

    def __deepcopy__(self, memo: dict) -> Self:
        return self._copy_for_pickling(deepcopy(self.__dict__, memo))

    def _copy_for_pickling(self, state: dict[str, Any]) -> Self:
        """Make a copy that shares the model; by way of a pickle, the model would be read again."""
        copied = type(self).__new__(type(self))
        copied.__dict__.update(state)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        embed = self.store_weights_in_pickle
        for name in ("model", "encoder_"):
            if isinstance(state.get(name), self._model_noun):
                state[name] = type(self)._encoder_to_state(state[name], embed=embed)
        if isinstance(state.get("history_"), pd.DataFrame):  # which skops cannot write
            state["history_"] = {name: rows.to_numpy() for name, rows in state["history_"].items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in ("model", "encoder_"):
            if isinstance(state.get(name), dict):
                state = state | {name: type(self)._encoder_from_state(state[name])}
        if isinstance(state.get("history_"), dict):
            state = state | {"history_": pd.DataFrame(state["history_"])}
        super().__setstate__(state)
