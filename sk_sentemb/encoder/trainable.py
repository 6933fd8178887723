"""A private copy of an encoder for training, which can be converted back into an encoder."""

import hashlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .isolation import ForkSafeLock
from .modules import hash_weights
from .packing import Backbone, Pack, StaticBackbone, find_layers, make_packs
from .text_encoder import Encoder
from .tokenization import TokenizedTexts


class TrainableEncoder:
    """An encoder with its own float32 weights, whose embeddings have gradients."""

    precomputed: Tensor | None = None  # embeddings of all texts, used instead of the model

    def __init__(self, encoder: Encoder, *, trainable: bool = True) -> None:
        self._base = encoder
        self._in_training: dict[str, Any] = {}
        self.trainable = trainable
        self._merge = _keep
        if not trainable:
            self.network: Any = nn.Sequential()
            self.modules = nn.ModuleList()
            return
        backbone: Any = encoder.backbone
        if isinstance(backbone, StaticBackbone):
            self.network = nn.Sequential(deepcopy(backbone.embedding).float())
        else:
            self.network = deepcopy(backbone.model).float()
        self.modules = nn.ModuleList(deepcopy(encoder.modules))
        self.network.requires_grad_(True)
        self.modules.requires_grad_(True)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self._base.device

    @property
    def dim(self) -> int:
        """The number of embedding dimensions."""
        return self._base.embedding_dim

    @property
    def is_static(self) -> bool:
        """Whether it is a table of token embeddings without a transformer."""
        return isinstance(self._base.backbone, StaticBackbone)

    @property
    def layers(self) -> nn.ModuleList:
        """The layers of the transformer in order; none if they cannot be found."""
        return find_layers(self.network)

    @property
    def table(self) -> nn.Module:
        """The table of token embeddings."""
        return _get_table(self.network)

    @table.setter
    def table(self, table: nn.Module) -> None:
        _set_table(self.network, table)

    def add_lora(self, adapter: Any) -> None:
        """Freeze the transformer and add trainable low-rank matrices to its layers."""
        from peft import get_peft_model

        adapted = get_peft_model(self.network, adapter)  # changes the network in place
        self.network, self._merge = adapted.get_base_model(), _merge_adapters

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations during the backward pass to save memory."""
        # Layers run again outside the context that prunes the last one.
        self._in_training = {"stops_early": False}
        options = {"use_reentrant": False}
        # The method of newer releases of transformers, and that of earlier ones.
        enable = getattr(self.network, "activation_checkpointing_enable", None)
        (enable or self.network.gradient_checkpointing_enable)(options)

    def train(self, mode: bool = True) -> None:
        """Switch dropout on or off."""
        self.network.train(mode)
        self.modules.train(mode)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the trainable parameters and their names."""
        for prefix, part in (("network.", self.network), ("modules.", self.modules)):
            for name, parameter in part.named_parameters():
                if parameter.requires_grad:
                    yield prefix + name, parameter

    def embed(self, tokens: TokenizedTexts, rows: np.ndarray) -> Tensor:
        """Embed some of the texts in one batch."""
        if self.precomputed is not None:
            return self.precomputed[torch.from_numpy(rows).to(self.device)]
        encoder = self._encoder(self.network, tuple(self.modules), **self._in_training)
        backbone, lengths = encoder.backbone, tokens.lengths[rows]
        packs = make_packs(
            np.arange(len(rows)),
            lengths,
            budget=len(rows) * (int(lengths.max()) + 1),
            padded=not backbone.packed,
            equal_lengths=backbone.equal_lengths,
        )
        order, vectors = [], []
        for pack in packs:
            order.append(pack.rows)
            vectors.append(encoder.forward(tokens, Pack(rows[pack.rows], pack.lengths)))
        back = torch.from_numpy(np.argsort(np.concatenate(order))).to(self.device)
        return torch.cat(vectors).index_select(0, back)

    def to_encoder(self) -> Encoder:
        """Return an encoder with a copy of the current weights."""
        if not self.trainable:
            return self._base
        network = self._merge(deepcopy(self.network))
        if isinstance(table := _get_table(network), PartialEmbedding):
            _set_table(network, table.merged())
        dtype = getattr(torch, self._base.dtype)
        network = network.to(dtype).eval().requires_grad_(False)
        modules = deepcopy(self.modules).eval().requires_grad_(False)
        encoder = self._encoder(network, tuple(modules))
        digest = hashlib.sha256(self._base.fingerprint.encode())
        hash_weights(digest, network)
        hash_weights(digest, modules)
        return replace(encoder, fingerprint=digest.hexdigest(), unsaved=True)

    def _encoder(self, network: Any, modules: tuple[nn.Module, ...], **options: Any) -> Encoder:
        backbone: Any
        if isinstance(self._base.backbone, Backbone):
            backbone = replace(self._base.backbone, model=network, lock=ForkSafeLock(), **options)
        else:
            backbone = StaticBackbone(network[0])
        return replace(self._base, backbone=backbone, modules=modules, source=None, origin=None)


class PartialEmbedding(nn.Module):
    """A table of token embeddings of which only the rows that occur in some texts are trained.

    The table is half of a small model, and a batch uses a percent of it: gradients of the whole table,
    most of them zero, would cost more than a layer. Here only rows of tokens that occur are parameters,
    and their gradient has a buffer of its own.
    """

    row_of_id: Tensor

    def __init__(self, table: nn.Embedding, used: np.ndarray) -> None:
        super().__init__()
        # In a list, so that it is not a submodule and its weights are not parameters.
        self._table = [table]
        ids = torch.from_numpy(used).to(table.weight.device)
        self.weight = nn.Parameter(table.weight.detach()[ids].clone())
        row_of_id = torch.zeros(len(table.weight), dtype=torch.long, device=ids.device)
        row_of_id = row_of_id.index_copy(0, ids, torch.arange(len(ids)).to(ids))
        self.register_buffer("row_of_id", row_of_id)
        self._gradient = torch.zeros_like(self.weight)
        self._used = ids

    def forward(self, ids: Tensor) -> Tensor:
        """Look up token ids."""
        rows = self.row_of_id[ids]
        if not torch.is_grad_enabled():
            return F.embedding(rows, self.weight)
        touched, inverse = rows.unique(return_inverse=True)
        weight = self.weight.detach()[touched].requires_grad_()
        weight.register_hook(lambda gradient: self._add_gradient(touched, gradient))
        return F.embedding(inverse, weight)

    def merged(self) -> nn.Embedding:
        """Return the whole table with the trained rows."""
        table = deepcopy(self._table[0])
        table.weight.data[self._used] = self.weight.detach()
        return table

    def _add_gradient(self, touched: Tensor, gradient: Tensor) -> None:
        if self.weight.grad is None:
            self.weight.grad = self._gradient.zero_()
        self.weight.grad.index_add_(0, touched, gradient)


def _get_table(network: Any) -> nn.Module:
    return network[0] if isinstance(network, nn.Sequential) else network.get_input_embeddings()


def _set_table(network: Any, table: nn.Module) -> None:
    if isinstance(network, nn.Sequential):
        network[0] = table
    else:
        network.set_input_embeddings(table)


def _keep(network: nn.Module) -> nn.Module:
    return network


def _merge_adapters(network: nn.Module) -> nn.Module:
    """Add low-rank matrices to the weights that they adapt."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(network.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            network.set_submodule(name, module.get_base_layer())
    return network
