"""What a model makes of the patches of images: their states, and how these become one vector."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .pooling import Pooling, TokenStates

IMAGE_POOLINGS = ("cls", "mean", "pooler")


@dataclass(frozen=True)
class ImageStates(TokenStates):
    """Hidden states of the patches of images, laid end to end, and what the model makes of them."""

    pooled: Tensor | None = None


class Pooler(nn.Module):
    """Takes the vectors that the model itself makes of its patches."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = self.out_dim = dim

    def forward(self, states: ImageStates) -> Tensor:
        """Return (n_images, dim), in float32."""
        assert states.pooled is not None
        return states.pooled.float()


def tower_of(model: nn.Module) -> nn.Module:
    """Return the part of a model that reads images; of a CLIP, what comes before the projection."""
    inside: Any = model
    return inside.vision_model if hasattr(model, "visual_projection") else model


def states_of(output: Any) -> ImageStates:
    """Return what a transformers model of images returned, without the layout of its patches."""
    hidden = output.last_hidden_state
    if hidden.ndim == 4:  # of convolutions: (n_images, dim, height, width)
        hidden = hidden.flatten(2).transpose(1, 2)
    n_images, length, _ = hidden.shape
    pooled = getattr(output, "pooler_output", None)
    return ImageStates(
        hidden.flatten(0, 1),
        [(n_images, length)],
        pooled=None if pooled is None else pooled.flatten(1),
    )


def pixels_of(image: Any, processor: Any) -> dict[str, Tensor]:
    """Return what a model reads of an image in RGB."""
    # Where its colours are is said: of an image of three rows, transformers may guess wrong.
    how = {"return_tensors": "pt", "input_data_format": "channels_last"}
    return dict(processor(images=[np.array(image)], **how))


def run_tower(model: nn.Module, pixels: Mapping[str, Tensor]) -> ImageStates:
    """Run the part of a model that reads images, on its device and in its number format."""
    tower: Any = tower_of(model)
    weight = next(tower.parameters())
    accepted = inspect.signature(tower.forward).parameters
    inputs = {
        name: x.to(weight.device, weight.dtype if x.is_floating_point() else x.dtype)
        for name, x in pixels.items()
        if name in accepted
    }
    return states_of(tower(**inputs))


@torch.inference_mode()
def states_of_a_blank(model: nn.Module, processor: Any) -> ImageStates:
    """Return the states of a grey image, by which a model shows what it has."""
    from PIL import Image

    blank = Image.new("RGB", (64, 64), "grey")
    return run_tower(model, pixels_of(blank, processor))


def pooling_named(name: str, model: PreTrainedModel, processor: Any) -> Pooling | Pooler:
    """Make the pooling of a name for a model."""
    states = states_of_a_blank(model, processor)
    if name == "pooler":
        if states.pooled is None:
            raise ValueError(
                f"pooling='pooler', but {type(model).__name__} has none here: its weights are not in "
                "the checkpoint, or there is no such layer. Pass 'cls' or 'mean'."
            )
        return Pooler(states.pooled.shape[1])
    if name == "cls" and not has_cls_token(model):
        raise ValueError(
            f"pooling='cls', but {type(model).__name__} has no such token; pass 'mean' or 'pooler'."
        )
    return Pooling(states.hidden.shape[1], [name])


def has_cls_token(model: nn.Module) -> bool:
    """Say whether the first state of an image is that of a token, not of a patch."""
    names = (name.rpartition(".")[2] for name, _ in tower_of(model).named_parameters())
    return any(name in ("cls_token", "class_embedding") for name in names)
