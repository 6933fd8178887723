"""The transformer of a model: it runs concatenated texts, or padded ones."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from ..isolation import ForkSafeLock
from ..modules import TokenStates
from .packs import Pack
from .varlen_attention import Layout


@dataclass(frozen=True, eq=False)
class Backbone:
    """A transformers model on its device."""

    model: PreTrainedModel
    packed: bool  # whether texts are concatenated instead of padded
    equal_lengths: bool = False  # whether a pass may only have texts of one length
    stops_early: bool = False  # whether the last layer can run for first tokens only
    lock: ForkSafeLock = field(default_factory=ForkSafeLock)  # held while the model runs

    @property
    def dim(self) -> int:
        """The dimension of token embeddings."""
        return self.model.config.hidden_size

    @cached_property
    def first_position(self) -> int:
        """The position of the first token of a text: after the padding index, if positions have one."""
        table = _position_table(self.model)
        return 0 if table is None or table.padding_idx is None else table.padding_idx + 1

    @property
    def max_length(self) -> int | None:
        """The maximum number of tokens per text, None if unlimited."""
        table = _position_table(self.model)
        if table is not None:
            return table.num_embeddings - self.first_position
        longest = getattr(self.model.config, "max_position_embeddings", None)
        return longest if longest and longest > 0 else None

    @cached_property
    def _accepted(self) -> set[str]:
        return set(inspect.signature(self.model.forward).parameters)

    def __call__(
        self,
        ids: np.ndarray,
        pack: Pack,
        *,
        types: np.ndarray | None = None,
        all_layers: bool = False,
        first_only: bool = False,
    ) -> TokenStates:
        """Run a pack."""
        if not len(ids):
            return TokenStates(torch.empty(0, self.dim, device=self.model.device), pack.groups)
        if self.packed:
            inputs, real = self._packed_inputs(ids, pack), None
        else:
            inputs, real = self._padded_inputs(ids, pack)
        if types is not None and "token_type_ids" in self._accepted:
            types_of_inputs = torch.zeros_like(inputs["input_ids"])
            types_of_inputs[... if real is None else real] = self._to_device(types)
            inputs["token_type_ids"] = types_of_inputs
        if "use_cache" in self._accepted:
            inputs["use_cache"] = False
        first = self._first_tokens(pack) if first_only and not all_layers else None
        with prune_last_layer(self.model, first):
            output = self.model(**inputs, output_hidden_states=all_layers)
        if first is not None:
            return TokenStates(output.last_hidden_state[0], [(len(first), 1)])

        def flat(x: torch.Tensor) -> torch.Tensor:
            return x[0] if real is None else x[real]

        layers = tuple(map(flat, output.hidden_states)) if all_layers else ()
        return TokenStates(flat(output.last_hidden_state), pack.groups, layers=layers)

    def _first_tokens(self, pack: Pack) -> torch.Tensor | None:
        """Return the indices of first tokens, or None if all tokens have to run."""
        if not self.stops_early or not pack.lengths.all():
            return None
        return self._to_device(np.cumsum(pack.lengths) - pack.lengths)

    def _packed_inputs(self, ids: np.ndarray, pack: Pack) -> dict:
        # If positions have a padding index, transformers does not count padding tokens, not even those
        # that a text contains.
        uncounted = self.first_position - 1
        counted = ids != uncounted
        n_counted = np.concatenate([[0], np.cumsum(counted)])
        before = np.repeat(n_counted[np.cumsum(pack.lengths) - pack.lengths], pack.lengths)
        position_ids = np.where(counted, n_counted[1:] - before + uncounted, uncounted)
        return {
            "input_ids": self._to_device(ids)[None],
            "position_ids": self._to_device(position_ids)[None],
            # Not used, but without a mask transformers looks for packed texts itself.
            "attention_mask": torch.ones(1, len(ids), dtype=torch.long, device=self.model.device),
            "layout": Layout.from_pack(pack, self.model.device),
        }

    def _padded_inputs(self, ids: np.ndarray, pack: Pack) -> tuple[dict, torch.Tensor]:
        real = np.arange(pack.lengths.max()) < pack.lengths[:, None]
        input_ids = np.full(real.shape, self.model.config.pad_token_id or 0, dtype=np.int64)
        input_ids[real] = ids
        mask = self._to_device(real)
        return {"input_ids": self._to_device(input_ids), "attention_mask": mask.long()}, mask

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.model.device)


@dataclass(frozen=True, eq=False)
class StaticBackbone:
    """A table of token embeddings without a transformer (StaticEmbedding)."""

    embedding: nn.Embedding
    lock: ForkSafeLock = field(default_factory=ForkSafeLock)

    max_length = None
    packed = True
    equal_lengths = False

    @property
    def dim(self) -> int:
        """The dimension of token embeddings."""
        return self.embedding.embedding_dim

    def __call__(
        self,
        ids: np.ndarray,
        pack: Pack,
        *,
        types: np.ndarray | None = None,
        all_layers: bool = False,
        first_only: bool = False,
    ) -> TokenStates:
        """Look up the embeddings of a pack."""
        del types, all_layers, first_only
        rows = torch.from_numpy(ids).to(self.embedding.weight.device)
        return TokenStates(self.embedding(rows), pack.groups)


def _position_table(model: PreTrainedModel) -> nn.Embedding | None:
    """Return the table of trained absolute positions, which limits the length of texts."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module
    return None


def find_layers(network: nn.Module) -> nn.ModuleList:
    """Return the layers of a transformer in order; none if they cannot be found."""
    n_layers = getattr(getattr(network, "config", None), "num_hidden_layers", None)
    lists = (module for module in network.modules() if isinstance(module, nn.ModuleList))
    return next((layers for layers in lists if len(layers) == n_layers), nn.ModuleList())


@contextmanager
def prune_last_layer(model: nn.Module, tokens: torch.Tensor | None) -> Iterator[None]:
    """Compute some tokens only after the attention of the last layer.

    What follows the attention, three quarters of the work of a layer, treats each token on its own, so
    it can be skipped for tokens that pooling does not use.
    """
    layers: Any = () if tokens is None else find_layers(model)
    output = getattr(getattr(layers[-1], "attention", None), "output", None) if layers else None
    if not isinstance(output, nn.Module):
        yield
        return
    hook = output.register_forward_pre_hook(lambda _, states: tuple(x[:, tokens] for x in states))
    try:
        yield
    finally:
        hook.remove()
