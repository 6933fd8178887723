"""Load an image encoder from a folder in the format of transformers or sentence-transformers."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, CLIPVisionModelWithProjection, PreTrainedModel

from ...exceptions import CheckpointError
from .._base import Source
from ..errors import is_out_of_memory, wrap_errors, wrap_loading_errors
from ..image_encoder import ImageEncoder
from ..isolation import ForkSafeLock
from ..model_files import Fields
from ..modules import MODULES, ImageStates, Pooler, Pooling, probe_image_model
from ..transformers_logging import silence_transformers
from .clip import load_clip, projection_to_dense
from .layout import (
    TEXTS_TASK,
    Entry,
    compute_fingerprint,
    read_entries,
    read_entry_config,
    read_settings,
    warn_unlisted_modules,
)
from .model_config import load_config
from .transformers_models import check_none_missing, load_model, move_to_device

# Models of images and texts whose image model transformers loads on its own.
_PARTS = ("siglip", "siglip2")

# An image of that many pixels a side has 800 MB in float32.
_MAX_PIXELS = 8192


def load_image_checkpoint(
    folder: Path, device: torch.device, dtype: torch.dtype, source: Source | None = None
) -> ImageEncoder:
    """Load a checkpoint that embeds images."""
    require_pillow()
    first, *rest = read_entries(folder)
    if first.kind == "StaticEmbedding":
        raise CheckpointError(
            f"the model in {folder} is a static embedding model of texts, which cannot read images."
        )
    settings = read_settings(first.folder, TEXTS_TASK)
    clip = load_clip(first, device, dtype)
    model = clip.model if clip else _load_model(first, device, dtype)
    projection = getattr(model, "visual_projection", None)
    # The image model of a CLIP, whose output is projected.
    vision_model: Any = model if projection is None else model.vision_model
    projection = None if projection is None else projection_to_dense(projection).to(device)
    processor = load_image_processor(first.folder)
    states = _probe(vision_model, processor, first.folder)
    followers = [MODULES[entry.kind].load(entry.folder) for entry in rest]
    default = _default_modules(vision_model, projection, states, settings, followers, folder)
    modules = [m.to(device).eval().requires_grad_(False) for m in (*default, *followers)]
    _check_followers(modules, states, folder, dtype)
    warn_unlisted_modules(folder)
    config = read_entry_config(folder)
    return ImageEncoder(
        processor=processor,
        model=model,
        vision_model=vision_model,
        projection=projection,
        modules=tuple(modules),
        n_patches=len(states.hidden),
        fingerprint=compute_fingerprint(folder),
        truncate_dim=config.size("truncate_dim", default=None),
        source=source,
        shared_model=clip,
        lock=clip.lock if clip else ForkSafeLock(),
    )


def require_pillow() -> None:
    """Raise an error that names the extra if Pillow is not installed."""
    if find_spec("PIL") is None:
        raise ImportError('images need Pillow: pip install "sk-sentemb[image]"')


def load_image_processor(folder: Path) -> Any:
    """Load what turns images into pixels."""
    # Imported here, because transformers has it only if Pillow is installed.
    from transformers import AutoImageProcessor

    if not any(folder.glob("*processor_config.json")):
        raise CheckpointError(
            f"{folder} has no preprocessor_config.json, which says how images become pixels. If the "
            "model reads images, fetch it again."
        )
    with wrap_loading_errors(f"the image processor in {folder}"), silence_transformers():
        processor = AutoImageProcessor.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        _check_image_size(processor.to_dict(), folder)
    return processor


def _check_image_size(settings: dict[str, Any], folder: Path) -> None:
    """Refuse image sizes above those of any model, before memory for an image is allocated."""
    for name in ("size", "crop_size"):
        for side, pixels in dict(settings.get(name) or {}).items():
            if isinstance(pixels, int) and pixels > _MAX_PIXELS:
                raise CheckpointError(
                    f"the image processor in {folder} has {name}={{{side!r}: {pixels}}}, but models "
                    f"read images of at most {_MAX_PIXELS} pixels a side. Fetch the model again."
                )


def _load_model(entry: Entry, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    folder, config = entry.folder, load_config(entry.folder)
    kind: Any = AutoModel
    if "CLIPVisionModelWithProjection" in (config.architectures or ()):
        kind = CLIPVisionModelWithProjection
    elif config.model_type in _PARTS:
        config = config.vision_config
    elif hasattr(config, "vision_config"):
        raise CheckpointError(
            f"the model in {folder} is of the type {config.model_type!r}; supported models of images "
            f"and texts are {['clip', *_PARTS]}."
        )
    model, missing = load_model(kind, config, folder, dtype)
    if getattr(model, "main_input_name", None) != "pixel_values":
        raise CheckpointError(
            f"{type(model).__name__} in {folder} does not read images. Pass it to a SentenceEmbedder, "
            "or pass a model such as 'sentence-transformers/clip-ViT-B-32' here."
        )
    # The pooler of ViT is often not saved, and only used on request.
    check_none_missing(model, [name for name in missing if "pooler" not in name], folder)
    if any("pooler" in name for name in missing):
        model.pooler = None  # type: ignore[assignment]  # its weights are random
    move_to_device(model, device)
    if hasattr(model, "visual_projection"):
        model.visual_projection.float()
    return model


def _probe(vision_model: nn.Module, processor: Any, folder: Path) -> ImageStates:
    problem = f"{type(vision_model).__name__} in {folder} does not run like other models of images"
    with wrap_errors(problem):
        return probe_image_model(vision_model, processor)


@torch.inference_mode()
def _check_followers(
    modules: list[Any], states: ImageStates, folder: Path, dtype: torch.dtype
) -> None:
    """Check that the modules fit the output of the model, and that the embedding is finite."""
    x: Any = states
    try:
        for module in modules:
            x = module(x)
    except (RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise CheckpointError(
            f"the modules in {folder} do not fit the output of the model: {error} Fetch the model again."
        ) from error
    if dtype == torch.float32 and not x.isfinite().all():
        raise CheckpointError(
            f"the model in {folder} computes values that are not finite, though its weights are. Its "
            "config.json belongs to another model: fetch the model again."
        )


def _default_modules(
    vision_model: nn.Module,
    projection: nn.Module | None,
    states: ImageStates,
    settings: Fields,
    followers: list[Any],
    folder: Path,
) -> list[Any]:
    """Return the modules between the model and those in the folder."""
    pools = [isinstance(module, Pooling) for module in followers]
    image = settings.object("modality_config").object("image")
    output = image.text("method_output_name", default=None)
    if any(pools) and projection is None and output != "pooler_output":
        if pools != [True] + [False] * (len(pools) - 1):
            raise CheckpointError(
                f"{folder / 'modules.json'} must have one Pooling, and as the first."
            )
        if followers[0].dim != states.hidden.shape[1]:
            raise CheckpointError(
                f"the Pooling in {folder} expects {followers[0].dim} dimensions, but gets "
                f"{states.hidden.shape[1]}. Its config.json belongs to another model: fetch the model "
                "again."
            )
        return []
    if any(pools):
        raise CheckpointError(
            f"{folder / 'modules.json'} pools the output of {type(vision_model).__name__}, which is "
            "pooled already."
        )
    if projection is not None:
        return [_make_pooler(states, folder), projection]
    names = (name.rpartition(".")[2] for name, _ in vision_model.named_parameters())
    if "cls_token" in names and output != "pooler_output":
        return [Pooling(states.hidden.shape[1], ["cls"])]
    if states.pooled is None and output != "pooler_output":
        return [Pooling(states.hidden.shape[1], ["mean"])]
    return [_make_pooler(states, folder)]


def _make_pooler(states: ImageStates, folder: Path) -> Pooler:
    if states.pooled is None:
        raise CheckpointError(
            f"the weights in {folder} lack the pooler that the model needs. Fetch the model again."
        )
    return Pooler(states.pooled.shape[1])
