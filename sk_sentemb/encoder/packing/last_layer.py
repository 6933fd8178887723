"""The layers of a transformer, and the last of them run for some tokens only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def find_layers(network: nn.Module) -> nn.ModuleList:
    """Return a transformer's layers, the first one first; none if it does not say which they are."""
    n_layers = getattr(getattr(network, "config", None), "num_hidden_layers", None)
    lists = (module for module in network.modules() if isinstance(module, nn.ModuleList))
    return next((layers for layers in lists if len(layers) == n_layers), nn.ModuleList())


@contextmanager
def find_last_layer(model: nn.Module, tokens: torch.Tensor | None) -> Iterator[None]:
    """Go on with some tokens only, once the last layer's attention has seen all of them.

    What follows the attention, three quarters of a layer's work, looks at one token at a time: for
    tokens that nobody reads, it need not be done.
    """
    layers: Any = () if tokens is None else find_layers(model)
    adds = getattr(getattr(layers[-1], "attention", None), "output", None) if layers else None
    if not isinstance(adds, nn.Module):
        yield
        return
    hook = adds.register_forward_pre_hook(lambda _, states: tuple(x[:, tokens] for x in states))
    try:
        yield
    finally:
        hook.remove()
