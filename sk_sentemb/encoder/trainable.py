"""A private copy of an encoder, to be trained, and the encoder that becomes of it."""

import hashlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fork_safety import ForkSafeLock
from .packing import Backbone, Pack, StaticBackbone, find_layers, make_packs
from .text_encoder import Encoder
from .tokenization import TokenizedTexts


class TrainableEncoder:
    """An encoder with weights of its own, in float32, whose vectors have gradients."""

    precomputed: Tensor | None = None

    def __init__(self, encoder: Encoder, *, trainable: bool = True) -> None:
        self._base = encoder
        self._in_training: dict[str, Any] = {}
        self.trainable = trainable
        self._merge = _as_it_is
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
        """Where it runs."""
        return self._base.device

    @property
    def dim(self) -> int:
        """Dimension of a vector."""
        return self._base.embedding_dim

    @property
    def is_static(self) -> bool:
        """Whether it is a table of token embeddings without a transformer."""
        return isinstance(self._base.backbone, StaticBackbone)

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer's layers, the first one first; none if it does not say which they are."""
        return find_layers(self.network)

    @property
    def table(self) -> nn.Module:
        """The token vectors."""
        return _table_of(self.network)

    @table.setter
    def table(self, table: nn.Module) -> None:
        _set_table(self.network, table)

    def add_lora(self, adapter: Any) -> None:
        """Freeze the transformer and train low-rank matrices beside its layers instead."""
        from peft import get_peft_model

        adapted = get_peft_model(self.network, adapter)  # changes the network in place
        self.network, self._merge = adapted.get_base_model(), _merge_adapters

    def enable_gradient_checkpointing(self) -> None:
        """Compute those within the layers again when their gradients are due."""
        # Layers run again after the pass, when it is forgotten that the last one had less to do.
        self._in_training = {"stops_early": False}
        how = {"use_reentrant": False}
        # The name of transformers from some version on, and the one before.
        enable = getattr(self.network, "activation_checkpointing_enable", None)
        (enable or self.network.gradient_checkpointing_enable)(how)

    def train(self, mode: bool = True) -> None:
        """Switch dropout on or off."""
        self.network.train(mode)
        self.modules.train(mode)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield what is trained."""
        for prefix, part in (("network.", self.network), ("modules.", self.modules)):
            for name, parameter in part.named_parameters():
                if parameter.requires_grad:
                    yield prefix + name, parameter

    def embed(self, tokens: TokenizedTexts, rows: np.ndarray) -> Tensor:
        """Embed some texts, all together."""
        if self.precomputed is not None:
            return self.precomputed[torch.from_numpy(rows).to(self.device)]
        assert self.trainable
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
        """Return an encoder with the weights as they are now; training can go on."""
        if not self.trainable:
            return self._base
        network = self._merge(deepcopy(self.network))
        if isinstance(table := _table_of(network), PartialEmbedding):
            _set_table(network, table.whole())
        dtype = getattr(torch, self._base.dtype)
        network = network.to(dtype).eval().requires_grad_(False)
        modules = deepcopy(self.modules).eval().requires_grad_(False)
        encoder = self._encoder(network, tuple(modules))
        fingerprint = _digest(self._base.fingerprint, network, modules)
        return replace(encoder, fingerprint=fingerprint, unsaved=True)

    def _encoder(self, network: Any, modules: tuple[nn.Module, ...], **how: Any) -> Encoder:
        backbone: Any
        if isinstance(self._base.backbone, Backbone):
            backbone = replace(self._base.backbone, model=network, lock=ForkSafeLock(), **how)
        else:
            backbone = StaticBackbone(network[0])
        return replace(self._base, backbone=backbone, modules=modules, source=None, origin=None)


class PartialEmbedding(nn.Module):
    """The rows of a table of token vectors that some texts use, the others left as they are.

    A transformer's table is half of a small model, and a batch touches a percent of it. Gradients of
    the whole table, most of them zero, would cost more than a layer. So only the rows of tokens that
    occur are parameters, and their gradient is written to memory that stays.
    """

    place: Tensor

    def __init__(self, table: nn.Embedding, used: np.ndarray) -> None:
        super().__init__()
        # In a list, so that it is no submodule, and its weights no parameters.
        self._table = [table]
        ids = torch.from_numpy(used).to(table.weight.device)
        self.weight = nn.Parameter(table.weight.detach()[ids].clone())
        place = torch.zeros(len(table.weight), dtype=torch.long, device=ids.device)
        self.register_buffer("place", place.index_copy(0, ids, torch.arange(len(ids)).to(ids)))
        self._gradient = torch.zeros_like(self.weight)
        self._used = ids

    def forward(self, ids: Tensor) -> Tensor:
        """Look ids up."""
        places = self.place[ids]
        if not torch.is_grad_enabled():
            return F.embedding(places, self.weight)
        touched, where = places.unique(return_inverse=True)
        rows = self.weight.detach()[touched].requires_grad_()
        rows.register_hook(lambda gradient: self._add(touched, gradient))
        return F.embedding(where, rows)

    def whole(self) -> nn.Embedding:
        """Return the table with the trained rows in it."""
        table = deepcopy(self._table[0])
        table.weight.data[self._used] = self.weight.detach()
        return table

    def _add(self, touched: Tensor, gradient: Tensor) -> None:
        if self.weight.grad is None:
            self.weight.grad = self._gradient.zero_()
        self.weight.grad.index_add_(0, touched, gradient)


def _table_of(network: Any) -> nn.Module:
    return network[0] if isinstance(network, nn.Sequential) else network.get_input_embeddings()


def _set_table(network: Any, table: nn.Module) -> None:
    if isinstance(network, nn.Sequential):
        network[0] = table
    else:
        network.set_input_embeddings(table)


def _as_it_is(network: nn.Module) -> nn.Module:
    return network


def _merge_adapters(network: nn.Module) -> nn.Module:
    """Add low-rank matrices to the weights they stand beside."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(network.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            network.set_submodule(name, module.get_base_layer())
    return network


def _digest(before: str, *parts: nn.Module) -> str:
    digest = hashlib.sha256(before.encode())
    for part in parts:
        for name, tensor in part.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(raw.numpy().tobytes())
    return digest.hexdigest()
