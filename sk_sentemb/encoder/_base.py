"""The common base of encoders of texts and of images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import nn

from .isolation import ForkSafeLock
from .modules import Dropout, Normalize, compute_modules_digest

# The caches of a CPU hold the activations of a few thousand tokens; a GPU needs many more to be busy.
AUTO_BATCH_TOKENS = {"cpu": 2048, "mps": 8192, "cuda": 32768}


class Source(NamedTuple):
    """The name and the revision that a model was loaded by."""

    model: str
    revision: str | None


class SharedModel(Protocol):
    """A model in memory of which several encoders run a part each."""

    model: Any
    lock: ForkSafeLock


@dataclass(frozen=True, eq=False, kw_only=True)
class BaseEncoder:
    """An immutable, loaded model; copies share its weights."""

    reads: ClassVar[str]  # what it encodes: texts, pairs or images

    modules: tuple[Any, ...]
    fingerprint: str
    truncate_dim: int | None = None
    source: Source | None = None  # None if no name leads to these weights
    origin: Any = (
        None  # the encoder this one was made from; kept alive, so that the registry knows it
    )
    shared_model: SharedModel | None = None
    # Distinguishes weights that a pickle or skops file carried, where nothing but that file says that
    # they have the fingerprint; otherwise empty.
    carried: str = ""

    def __repr__(self) -> str:
        name = self.source.model if self.source else "unnamed"
        return f"{type(self).__name__}({name!r}, device='{self.device}', dtype='{self.dtype}')"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict) -> Self:
        return self

    @property
    def _running_part(self) -> nn.Module:
        """The network that runs before the modules."""
        raise NotImplementedError

    @property
    def network(self) -> nn.Module:
        """The network whose weights are in memory, which another encoder may share."""
        return self._running_part if self.shared_model is None else self.shared_model.model

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self._running_part.parameters()).device

    @property
    def dtype(self) -> str:
        """The dtype of the weights: ``"float32"``, ``"bfloat16"`` or ``"float16"``."""
        return str(next(self._running_part.parameters()).dtype).removeprefix("torch.")

    @property
    def n_bytes(self) -> int:
        """The size of the weights in memory."""
        return sum(weight.nbytes for weight in self.network.parameters())

    @property
    def normalizes(self) -> bool:
        """Whether the embeddings have unit norm."""
        return isinstance([m for m in self.modules if not isinstance(m, Dropout)][-1], Normalize)

    @property
    def embedding_dim(self) -> int:
        """The number of embedding dimensions."""
        return next(m.out_dim for m in reversed(self.modules) if hasattr(m, "out_dim"))

    def replace(self, **changes: Any) -> Self:
        """Return an encoder with some attributes changed and the same weights."""
        return replace(self, origin=self.origin or self, **to_python_scalar(changes))

    def with_pooling(
        self, *, pooling: str | Sequence[str] = "auto", normalize: bool | str = "auto"
    ) -> Self:
        """Return an encoder with another pooling or normalization and the same weights.

        Parameters
        ----------
        pooling : str or sequence of str, default="auto"
            Pooling modes, or ``"auto"`` for that of the checkpoint.
        normalize : bool or "auto", default="auto"
            Whether to L2-normalize embeddings. ``"auto"`` follows the checkpoint.

        Returns
        -------
        Encoder
            The encoder itself if nothing changes.

        Raises
        ------
        ValueError
            If the model does not support the pooling.
        """
        pooling, normalize = to_python_scalar((pooling, normalize))
        modules = self._replace_pooling(pooling)
        if normalize not in ("auto", self.normalizes):
            # A Normalize further up belongs to the model and stays.
            last = max((i for i, m in enumerate(modules) if isinstance(m, Normalize)), default=0)
            modules = (*modules, Normalize()) if normalize else modules[:last]
        return self if modules == self.modules else self.replace(modules=modules)

    def _replace_pooling(self, pooling: Any) -> tuple[Any, ...]:
        """Return the modules with another pooling, or as they are."""
        raise NotImplementedError

    def _common_params(self) -> dict[str, Any]:
        """Return the parameters of embeddings that every encoder has."""
        return {
            # Weights trained from carried ones are identified by both.
            "fingerprint": f"{self.carried} {self.fingerprint}".strip(),
            "modules": self._modules_digest,
            "dtype": self.dtype,
        }

    @cached_property
    def _modules_digest(self) -> str:
        return compute_modules_digest(self.modules)

    def _check_finite(self, embeddings: np.ndarray) -> None:
        if not np.isfinite(embeddings).all():
            raise FloatingPointError(
                f"dtype={self.dtype!r} cannot represent what this model computes: the embeddings are "
                "not finite. Pass dtype='float32' or 'bfloat16'."
            )


def to_python_scalar(value: Any) -> Any:
    """Convert NumPy scalars, also those in containers, to Python scalars."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {to_python_scalar(key): to_python_scalar(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(map(to_python_scalar, value))
    return value
