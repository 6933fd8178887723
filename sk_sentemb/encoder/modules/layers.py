"""Modules after the backbone. Each one loads and saves its folder of a checkpoint.

Names and configuration keys are those of sentence-transformers, so that models are interchangeable.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from ...exceptions import CheckpointError
from ..model_files import SAFETENSORS, load_tensors, read_fields, write_json
from .pooling import Pooling, TokenStates, WeightedLayerPooling


class Dense(nn.Module):
    """A linear layer and an activation, over embeddings of texts or of tokens."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        activation: nn.Module | None = None,
        over_tokens: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        self.activation = nn.Tanh() if activation is None else activation
        self.over_tokens = over_tokens
        self.add_input = residual
        if residual and in_features != out_features:
            self.residual = nn.Linear(in_features, out_features, bias=False)

    @property
    def out_dim(self) -> int:
        """The dimension of the output."""
        return self.linear.out_features

    def forward(self, x: Tensor | TokenStates) -> Tensor | TokenStates:
        """Map the last axis from ``in_features`` to ``out_features``."""
        if isinstance(x, TokenStates):
            return replace(x, hidden=self._map(x.hidden.float()))
        return self._map(x)

    def _map(self, x: Tensor) -> Tensor:
        mapped = self.activation(self.linear(x))
        if not self.add_input:
            return mapped
        return mapped + (self.residual(x) if hasattr(self, "residual") else x)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load the layer; its activation may be any activation of torch."""
        config = read_fields(folder / "config.json")
        given = config.text("module_input_name", default="sentence_embedding")
        output = config.text("module_output_name", default=given)
        if output != given:
            raise CheckpointError(
                f"{config.file} sends the output of Dense to {output!r}, which is not supported."
            )
        path = config.text("activation_function", default=None)
        # The meta device takes no memory and draws no random weights.
        with torch.device("meta"):
            dense = cls(
                config.size("in_features"),
                config.size("out_features"),
                bias=config.flag("bias", default=True),
                activation=resolve_activation(path, config.file) if path else None,
                over_tokens=given == "token_embeddings",
                residual=config.flag("use_residual", default=False),
            )
        load_tensors(dense, folder)
        return dense

    def save(self, folder: Path) -> None:
        """Save the configuration and the weights."""
        config: dict[str, Any] = {
            "in_features": self.linear.in_features,
            "out_features": self.linear.out_features,
            "bias": self.linear.bias is not None,
            "activation_function": get_dotted_path(self.activation),
        }
        if self.over_tokens:
            config["module_input_name"] = "token_embeddings"
        if self.add_input:
            config["use_residual"] = True
        write_json(folder / "config.json", config)
        save_file(self.state_dict(), folder / SAFETENSORS)


class LayerNorm(nn.Module):
    """Layer normalization of embeddings."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (n_texts, dim) over its last axis."""
        return self.norm(x)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load the dimension and the weights."""
        with torch.device("meta"):
            norm = cls(read_fields(folder / "config.json").size("dimension"))
        load_tensors(norm, folder)
        return norm

    def save(self, folder: Path) -> None:
        """Save the dimension and the weights."""
        write_json(folder / "config.json", {"dimension": self.norm.normalized_shape[0]})
        save_file(self.state_dict(), folder / SAFETENSORS)


class Dropout(nn.Module):
    """Dropout of embeddings, in training only."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(rate)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` unchanged outside training."""
        return self.dropout(x)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load the rate."""
        return cls(read_fields(folder / "config.json").fraction("dropout", default=0.2))

    def save(self, folder: Path) -> None:
        """Save the rate."""
        write_json(folder / "config.json", {"dropout": self.dropout.p})


class Normalize(nn.Module):
    """L2-normalization of embeddings."""

    def forward(self, x: Tensor) -> Tensor:
        """Scale each row of (n_texts, dim) to unit norm; a zero row stays zero."""
        return F.normalize(x, dim=1)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return a module; old checkpoints lack the folder."""
        del folder
        return cls()

    def save(self, folder: Path) -> None:
        """Save an empty configuration, which other libraries expect."""
        write_json(folder / "config.json", {})


# The last part of a module type in a checkpoint -> its class. The dotted paths before it differ between
# releases of sentence-transformers.
MODULES: dict[str, Any] = {
    module.__name__: module
    for module in (Pooling, Dense, LayerNorm, Dropout, Normalize, WeightedLayerPooling)
}


def compute_modules_digest(modules: Iterable[nn.Module]) -> str:
    """Return a checksum of what modules compute, as hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for module in modules:
        plain = {k: v for k, v in vars(module).items() if isinstance(v, int | str | tuple)}
        digest.update(f"{module} {plain}".encode())
        hash_weights(digest, module)
    return digest.hexdigest()


def hash_weights(digest: Any, module: nn.Module) -> None:
    """Update a digest with the names, dtypes, shapes and values of a module's tensors."""
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # As bytes, because NumPy has no bfloat16.
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(raw.numpy().tobytes())


def resolve_activation(path: str, where: Path) -> nn.Module:
    """Make the activation that a dotted path names, which must be in `torch.nn`."""
    activation: Any = getattr(nn, path.rpartition(".")[2], None)
    known = isinstance(activation, type) and issubclass(activation, nn.Module)
    if not (known and path.startswith("torch.nn.")):
        raise CheckpointError(
            f"{where} names the activation {path!r}; only the module classes of "
            "torch.nn are loaded."
        )
    if activation is nn.Identity:
        return activation()
    sample = torch.zeros(2, 4)
    try:
        made = activation()
        fits = made(sample).shape == sample.shape
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        fits = False
    if not fits or activation.__module__ != nn.Tanh.__module__ or list(made.parameters()):
        raise CheckpointError(
            f"{where} names {path!r}, which is not an elementwise activation without weights or "
            "arguments, such as 'torch.nn.Tanh'."
        )
    return made


def get_dotted_path(activation: nn.Module) -> str:
    """Return the dotted path of the class of an activation."""
    return f"{type(activation).__module__}.{type(activation).__name__}"
