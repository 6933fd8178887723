"""Hidden states of the patches of images, and their pooling into one embedding per image."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .pooling import Pooling, TokenStates

IMAGE_POOLINGS = ("cls", "mean", "pooler")


@dataclass(frozen=True)
class ImageStates(TokenStates):
    """Hidden states of the patches of images, concatenated, and the output of the model's pooler."""

    pooled: Tensor | None = None


class Pooler(nn.Module):
    """Return the output of the model's own pooler."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = self.out_dim = dim

    def forward(self, states: ImageStates) -> Tensor:
        """Return (n_images, dim), in float32."""
        assert states.pooled is not None
        return states.pooled.float()


def _states_from_output(output: Any) -> ImageStates:
    """Flatten the output of a transformers image model."""
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


def compute_pixels(image: Any, processor: Any) -> dict[str, Tensor]:
    """Convert an RGB image into the inputs of a model."""
    # transformers may guess the axis of colors wrong for an image of three rows.
    options = {"return_tensors": "pt", "input_data_format": "channels_last"}
    return dict(processor(images=[np.array(image)], **options))


def run_image_model(vision_model: Any, pixels: Mapping[str, Tensor]) -> ImageStates:
    """Run a model of images on its device and in its dtype."""
    weight = next(vision_model.parameters())
    accepted = inspect.signature(vision_model.forward).parameters
    inputs = {
        name: x.to(weight.device, weight.dtype if x.is_floating_point() else x.dtype)
        for name, x in pixels.items()
        if name in accepted
    }
    return _states_from_output(vision_model(**inputs))


@torch.inference_mode()
def probe_image_model(vision_model: nn.Module, processor: Any) -> ImageStates:
    """Return the hidden states of a gray image, which show the outputs that a model has."""
    from PIL import Image

    image = Image.new("RGB", (64, 64), "grey")
    return run_image_model(vision_model, compute_pixels(image, processor))


def make_image_pooling(name: str, vision_model: nn.Module, processor: Any) -> Pooling | Pooler:
    """Make a pooling by name."""
    states, kind = probe_image_model(vision_model, processor), type(vision_model).__name__
    if name == "pooler":
        if states.pooled is None:
            raise ValueError(
                f"pooling='pooler', but {kind} has no pooler, or the checkpoint lacks its weights. Pass "
                "'cls' or 'mean'."
            )
        return Pooler(states.pooled.shape[1])
    if name == "cls" and not _has_cls_token(vision_model):
        raise ValueError(f"pooling='cls', but {kind} has no CLS token. Pass 'mean' or 'pooler'.")
    return Pooling(states.hidden.shape[1], [name])


def _has_cls_token(vision_model: nn.Module) -> bool:
    names = (name.rpartition(".")[2] for name, _ in vision_model.named_parameters())
    return any(name in ("cls_token", "class_embedding") for name in names)
