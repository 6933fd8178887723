"""Which weights are trained, and how their steps are made."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from ..encoder import TrainableEncoder

SCHEDULES = ("linear", "cosine", "constant_with_warmup")


def choose_trainable(
    model: TrainableEncoder, trainable: str | int, *, train_embeddings: bool
) -> None:
    """Freeze what shall not change."""
    if trainable != "all":
        model.network.requires_grad_(False)
    if not isinstance(trainable, str):
        layers = model.layers
        if trainable > len(layers):
            raise ValueError(f"trainable={trainable}, but the model has {len(layers)} layers.")
        for layer in layers[len(layers) - trainable :]:
            layer.requires_grad_(True)
    if not train_embeddings:
        model.table.requires_grad_(False)


def lora(rank: int, alpha: float | None, targets: str | Sequence[str]) -> Any:
    """Return the configuration of low-rank matrices, as peft takes it."""
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ImportError(
            'lora_rank needs peft: pip install "sk-sentemb[lora]", or pass lora_rank=None.'
        ) from error
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,  # type: ignore[arg-type]
        target_modules=targets if isinstance(targets, str) else list(targets),
    )


def make_optimizer(
    model: TrainableEncoder,
    head: nn.Module | None,
    *,
    learning_rate: float,
    head_learning_rate: float,
    layer_decay: float,
    weight_decay: float,
) -> torch.optim.AdamW:
    """Make AdamW, which does not decay biases and the weights of normalisations."""
    rated = [(p, learning_rate * layer_decay**n) for p, n in _layers_above(model)]
    rated += [] if head is None else [(p, head_learning_rate) for p in head.parameters()]
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, rate in rated:
        decay = weight_decay if parameter.ndim >= 2 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "lr": rate, "weight_decay": d} for (rate, d), p in groups.items()],
        fused=True,
    )


def _layers_above(model: TrainableEncoder) -> list[tuple[nn.Parameter, int]]:
    """Return what is trained, and how many of the transformer's layers are above it, the top first."""
    if not model.trainable:
        return []
    layers = list(model.layers)
    place = {id(p): i for i, layer in enumerate(layers) for p in layer.parameters()}
    table = {id(p) for p in model.table.parameters()}
    found = []
    for name, parameter in model.named_parameters():
        is_below = id(parameter) in table or "embeddings" in name
        at = -1 if is_below else place.get(id(parameter), len(layers) - 1)
        found.append((parameter, len(layers) - 1 - at))
    return sorted(found, key=lambda pair: pair[1])


def make_scheduler(
    optimizer: torch.optim.Optimizer, schedule: str, *, warmup_ratio: float, n_steps: int
) -> LRScheduler:
    """Make the schedule of the learning rate, over so many steps."""
    n_warmup: Any = -(-warmup_ratio * n_steps // 1)
    return get_scheduler(
        schedule, optimizer, num_warmup_steps=int(n_warmup), num_training_steps=n_steps
    )
