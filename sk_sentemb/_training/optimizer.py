"""The trainable weights, the optimizer and the learning-rate schedule."""

from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from ..encoder import TrainableEncoder
from .fine_tuner import FineTuner


def select_trainable(
    model: TrainableEncoder, trainable: str | int, *, train_embeddings: bool
) -> None:
    """Freeze all weights that are not trained."""
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


def lora_config(fine_tuner: FineTuner) -> Any:
    """Return the configuration of low-rank adapters for peft."""
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ImportError(
            'lora_rank requires peft: pip install "sk-sentemb[lora]", or pass lora_rank=None.'
        ) from error
    targets = fine_tuner.lora_targets
    rank: Any = fine_tuner.lora_rank
    alpha: Any = fine_tuner.lora_alpha
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        target_modules=targets if isinstance(targets, str) else list(targets),
    )


def build_optimizer(
    fine_tuner: FineTuner, model: TrainableEncoder, head: nn.Module | None
) -> torch.optim.AdamW:
    """Return AdamW, without weight decay of biases and normalizations."""
    rate, layer_decay = fine_tuner.learning_rate, fine_tuner.layer_decay
    rated = [(p, rate * layer_decay**n) for p, n in _layers_above(model)]
    if head is not None:
        rated += [(p, fine_tuner.head_learning_rate) for p in head.parameters()]
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, rate in rated:
        decay = fine_tuner.weight_decay if parameter.ndim >= 2 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "lr": rate, "weight_decay": d} for (rate, d), p in groups.items()],
        fused=True,
    )


def _layers_above(model: TrainableEncoder) -> list[tuple[nn.Parameter, int]]:
    """Return the trained parameters and the number of layers above each, the top first."""
    if not model.trainable:
        return []
    layers = list(model.layers)
    position = {id(p): i for i, layer in enumerate(layers) for p in layer.parameters()}
    table = {id(p) for p in model.table.parameters()}
    found = []
    for name, parameter in model.named_parameters():
        is_below = id(parameter) in table or "embeddings" in name
        at = -1 if is_below else position.get(id(parameter), len(layers) - 1)
        found.append((parameter, len(layers) - 1 - at))
    return sorted(found, key=lambda pair: pair[1])


def build_scheduler(
    fine_tuner: FineTuner, optimizer: torch.optim.Optimizer, n_steps: int
) -> LRScheduler:
    """Return the learning-rate schedule over all steps."""
    n_warmup: Any = -(-fine_tuner.warmup_ratio * n_steps // 1)
    return get_scheduler(
        fine_tuner.schedule,
        optimizer,
        num_warmup_steps=int(n_warmup),
        num_training_steps=n_steps,
    )
