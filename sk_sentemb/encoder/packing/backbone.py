"""The transformer of a model as it runs: texts laid end to end, or padded."""

import inspect
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from ..fork_safety import ForkSafeLock
from ..modules import TokenStates
from .last_layer import find_last_layer
from .packs import Pack
from .varlen_attention import Layout


@dataclass(frozen=True, eq=False)
class Backbone:
    """A transformers model on its device."""

    model: PreTrainedModel
    packed: bool
    equal_lengths: bool = False
    stops_early: bool = False
    lock: ForkSafeLock = field(default_factory=ForkSafeLock)

    @property
    def dim(self) -> int:
        """Dimension of a token's vector."""
        return self.model.config.hidden_size

    @cached_property
    def first_position(self) -> int:
        """Position of a text's first token: after the padding index where positions have one."""
        table = _position_table(self.model)
        return 0 if table is None or table.padding_idx is None else table.padding_idx + 1

    @property
    def max_length(self) -> int | None:
        """The most tokens a text can have, or None without a limit."""
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
        with find_last_layer(self.model, first):
            output = self.model(**inputs, output_hidden_states=all_layers)
        if first is not None:
            return TokenStates(output.last_hidden_state[0], [(len(first), 1)])

        def flat(x: torch.Tensor) -> torch.Tensor:
            return x[0] if real is None else x[real]

        layers = tuple(map(flat, output.hidden_states)) if all_layers else ()
        return TokenStates(flat(output.last_hidden_state), pack.groups, layers=layers)

    def _first_tokens(self, pack: Pack) -> torch.Tensor | None:
        """Return where the texts' first tokens are, or None where all tokens have to be run."""
        if not self.stops_early or not pack.lengths.all():
            return None
        return self._to_device(np.cumsum(pack.lengths) - pack.lengths)

    def _packed_inputs(self, ids: np.ndarray, pack: Pack) -> dict:
        # Where positions have a padding index, transformers does not count padding tokens, not even
        # those that a text spells out.
        uncounted = self.first_position - 1
        counted = ids != uncounted
        n_counted = np.concatenate([[0], np.cumsum(counted)])
        before = np.repeat(n_counted[np.cumsum(pack.lengths) - pack.lengths], pack.lengths)
        position_ids = np.where(counted, n_counted[1:] - before + uncounted, uncounted)
        return {
            "input_ids": self._to_device(ids)[None],
            "position_ids": self._to_device(position_ids)[None],
            # All ones, and read by nobody: without a mask, transformers looks for packed texts itself.
            "attention_mask": torch.ones(1, len(ids), dtype=torch.long, device=self.model.device),
            "layout": Layout.of(pack, self.model.device),
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
    """A table of token vectors and nothing else (StaticEmbedding): no token sees another."""

    embedding: nn.Embedding
    lock: ForkSafeLock = field(default_factory=ForkSafeLock)

    max_length = None
    packed = True
    equal_lengths = False

    @property
    def dim(self) -> int:
        """Dimension of a token's vector."""
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
        """Look the tokens of a pack up."""
        del types, all_layers, first_only
        rows = torch.from_numpy(ids).to(self.embedding.weight.device)
        return TokenStates(self.embedding(rows), pack.groups)


def _position_table(model: PreTrainedModel) -> nn.Embedding | None:
    """Return the table of learned absolute positions, which bounds the length of a text."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module
    return None
