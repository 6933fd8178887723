"""Pooling of token embeddings into text embeddings.

The modes and their mathematics are those of sentence-transformers (Reimers & Gurevych, 2019,
https://arxiv.org/abs/1908.10084).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...exceptions import CheckpointError
from ..model_files import SAFETENSORS, load_tensors, read_fields, write_json


@dataclass(frozen=True)
class TokenStates:
    """Hidden states of concatenated texts, in runs of equally long texts."""

    hidden: Tensor
    groups: list[tuple[int, int]]  # (n_texts, length) of each run
    prompt_length: int = 0
    layers: tuple[Tensor, ...] = ()  # of all layers, if a module needs them


def _mean(x: Tensor) -> Tensor:
    return x.mean(dim=1)


def _max(x: Tensor) -> Tensor:
    return x.amax(dim=1)


def _cls(x: Tensor) -> Tensor:
    return x[:, 0]


def _last_token(x: Tensor) -> Tensor:
    return x[:, -1]


def _mean_sqrt_length(x: Tensor) -> Tensor:
    return x.sum(dim=1) / x.shape[1] ** 0.5


# mode -> function from the states of equally long texts, (n_texts, length, dim), to (n_texts, dim)
POOLINGS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_length,
    "weightedmean": None,  # counts positions from the start of the prompt: see `Pooling`
    "lasttoken": _last_token,
}

# Releases before 5.4 read only these keys, later ones read both, so these are written. Several modes are
# concatenated in this order.
_MODE_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


class Pooling(nn.Module):
    """Pool token embeddings into text embeddings; several modes are concatenated."""

    def __init__(self, dim: int, modes: Sequence[str], *, include_prompt: bool = True) -> None:
        super().__init__()
        self.dim = dim
        self.modes = tuple(modes)
        self.include_prompt = include_prompt

    @property
    def out_dim(self) -> int:
        """The dimension of text embeddings."""
        return self.dim * len(self.modes)

    def forward(self, states: TokenStates) -> Tensor:
        """Pool to (n_texts, out_dim), in float32 whatever the dtype of the backbone."""
        sizes = [n * length for n, length in states.groups]
        skip = 0 if self.include_prompt else states.prompt_length
        return torch.cat(
            [
                self._pool(part.float().view(n, length, self.dim), skip)
                for (n, length), part in zip(states.groups, states.hidden.split(sizes), strict=True)
            ]
        )

    def _pool(self, x: Tensor, skip: int) -> Tensor:
        n, length, _ = x.shape
        if length <= skip:
            return x.new_zeros(n, self.out_dim)
        kept = x[:, skip:]
        return torch.cat([self._one(mode, kept, skip) for mode in self.modes], dim=1)

    @staticmethod
    def _one(mode: str, x: Tensor, skip: int) -> Tensor:
        if (pool := POOLINGS[mode]) is not None:
            return pool(x)
        weight = torch.arange(skip + 1, skip + x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return torch.einsum("nld,l->nd", x, weight / weight.sum())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load the modes, by the old keys or the new ones (since 5.4)."""
        config = read_fields(folder / "config.json")
        dim = config.size("embedding_dimension", "word_embedding_dimension")
        modes = config.texts("pooling_mode", default=None)
        if modes is None:
            set_modes = [m for key, m in _MODE_KEYS.items() if config.flag(key, default=False)]
            modes = set_modes or ["mean"]
        unknown = sorted(set(modes) - set(POOLINGS))
        if unknown or not modes:
            raise CheckpointError(
                f"{config.file} has the pooling {unknown}; supported are {[*POOLINGS]}."
            )
        return cls(dim, modes, include_prompt=config.flag("include_prompt", default=True))

    def save(self, folder: Path) -> None:
        """Save the old keys, or the new one if the old ones cannot express the order of the modes."""
        config: dict[str, Any] = {"word_embedding_dimension": self.dim}
        if [mode for mode in _MODE_KEYS.values() if mode in self.modes] == [*self.modes]:
            config |= {key: mode in self.modes for key, mode in _MODE_KEYS.items()}
        else:
            config |= {"embedding_dimension": self.dim, "pooling_mode": list(self.modes)}
        write_json(folder / "config.json", config | {"include_prompt": self.include_prompt})


class WeightedLayerPooling(nn.Module):
    """A trained weighted mean of the hidden states of the layers from ``start`` on."""

    def __init__(self, dim: int, n_layers: int, start: int) -> None:
        super().__init__()
        self.dim, self.n_layers, self.start = dim, n_layers, start
        self.layer_weights = nn.Parameter(torch.ones(n_layers + 1 - start))

    def forward(self, states: TokenStates) -> TokenStates:
        """Replace the states of the last layer by the mean over layers."""
        layers = torch.stack([layer.float() for layer in states.layers[self.start :]])
        weights = self.layer_weights / self.layer_weights.sum()
        return replace(states, hidden=torch.einsum("ltd,l->td", layers, weights))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load the weights of the layers."""
        config = read_fields(folder / "config.json")
        dim = config.size("embedding_dimension", "word_embedding_dimension")
        n_layers, start = config.size("num_hidden_layers"), config.size("layer_start", least=0)
        if start > n_layers:
            raise CheckpointError(
                f"{config.file} has layer_start={start}, but there are num_hidden_layers={n_layers}. "
                "Fetch the model again."
            )
        with torch.device("meta"):
            pooling = cls(dim, n_layers, start)
        load_tensors(pooling, folder)
        return pooling

    def save(self, folder: Path) -> None:
        """Save the weights of the layers."""
        config = {
            "word_embedding_dimension": self.dim,
            "layer_start": self.start,
            "num_hidden_layers": self.n_layers,
        }
        write_json(folder / "config.json", config)
        save_file(self.state_dict(), folder / SAFETENSORS)
