"""A folder in the transformers or the sentence-transformers format, read into an ImageEncoder."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, CLIPVisionModelWithProjection, PreTrainedModel

from ...exceptions import CheckpointError
from ..errors import is_out_of_memory, wrap_errors, wrap_loading_errors
from ..fork_safety import ForkSafeLock
from ..image_encoder import ImageEncoder
from ..model_files import Fields
from ..modules import MODULES, ImageStates, Pooler, Pooling, states_of_a_blank, tower_of
from ..text_encoder import Source
from ..transformers_logging import silence_transformers
from .clip import projection_to_dense
from .layout import (
    TEXTS_TASK,
    Entry,
    fingerprint,
    read_entries,
    read_entry_config,
    read_settings,
    warn_of_unlisted_modules,
)
from .model_config import read_config
from .text_checkpoint import read_towers
from .transformers_models import check_none_missing, placed, read_model

# Models of images and texts whose images are read by a part of them that transformers loads alone.
_PARTS = ("siglip", "siglip2")

# An image of that many pixels a side has 800 MB in float32.
_MAX_PIXELS = 8192


def read_image_encoder(
    folder: Path, device: torch.device, dtype: torch.dtype, source: Source | None = None
) -> ImageEncoder:
    """Load a checkpoint of a model that reads images."""
    require_pillow()
    first, *rest = read_entries(folder)
    if first.kind == "StaticEmbedding":
        raise CheckpointError(f"the model in {folder} is a table of token vectors: no images.")
    settings = read_settings(first.folder, TEXTS_TASK)
    towers = read_towers(first, device, dtype)
    model = towers.model if towers else _read_model(first, device, dtype)
    processor = read_processor(first.folder)
    states = _try_out(model, processor, first.folder)
    followers = [MODULES[entry.kind].read(entry.folder) for entry in rest]
    modules = [*_what_it_is_made_for(model, states, settings, followers, folder), *followers]
    modules = [module.to(device).eval().requires_grad_(False) for module in modules]
    _check_followers(modules, states, folder, dtype)
    warn_of_unlisted_modules(folder)
    config = read_entry_config(folder)
    return ImageEncoder(
        processor=processor,
        model=model,
        modules=tuple(modules),
        n_patches=len(states.hidden),
        fingerprint=fingerprint(folder),
        truncate_dim=config.size("truncate_dim", default=None),
        source=source,
        towers=towers,
        lock=towers.lock if towers else ForkSafeLock(),
    )


def require_pillow() -> None:
    """Raise if images cannot be read here, and say what to install."""
    if find_spec("PIL") is None:
        raise ImportError('images need Pillow: pip install "sk-sentemb[image]"')


def read_processor(folder: Path) -> Any:
    """Read what turns images into pixels."""
    # Imported here: transformers has it only where Pillow is.
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
    """Refuse image sizes beyond those of any model, before memory for an image is allocated."""
    for name in ("size", "crop_size"):
        for side, pixels in dict(settings.get(name) or {}).items():
            if isinstance(pixels, int) and pixels > _MAX_PIXELS:
                raise CheckpointError(
                    f"the image processor in {folder} has {name}={{{side!r}: {pixels}}}, but models "
                    f"read images of at most {_MAX_PIXELS} pixels a side. Fetch the model again."
                )


def _read_model(entry: Entry, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    folder, config = entry.folder, read_config(entry.folder)
    kind: Any = AutoModel
    if "CLIPVisionModelWithProjection" in (config.architectures or ()):
        kind = CLIPVisionModelWithProjection
    elif config.model_type in _PARTS:
        config = config.vision_config
    elif hasattr(config, "vision_config"):
        raise CheckpointError(
            f"the model in {folder} is of the kind {config.model_type!r}; of those that read images and "
            f"texts, these are supported: {['clip', *_PARTS]}."
        )
    model, missing = read_model(kind, config, folder, dtype)
    if getattr(model, "main_input_name", None) != "pixel_values":
        raise CheckpointError(
            f"{type(model).__name__} in {folder} does not read images. Pass it to a SentenceEmbedder, "
            "or pass a model such as 'sentence-transformers/clip-ViT-B-32' here."
        )
    # That of ViT is often not saved, and not read unless it is asked for.
    check_none_missing(model, [name for name in missing if "pooler" not in name], folder)
    if any("pooler" in name for name in missing):
        model.pooler = None  # type: ignore[assignment]  # its weights are random
    placed(model, device)
    if hasattr(model, "visual_projection"):
        model.visual_projection.float()
    return model


def _try_out(model: PreTrainedModel, processor: Any, folder: Path) -> ImageStates:
    with wrap_errors(
        f"{type(model).__name__} in {folder} does not run as other models of images do"
    ):
        return states_of_a_blank(model, processor)


@torch.inference_mode()
def _check_followers(
    modules: list[Any], states: ImageStates, folder: Path, dtype: torch.dtype
) -> None:
    """Make sure that the modules take what the model gives, and that the embedding is finite."""
    x: Any = states
    try:
        for module in modules:
            x = module(x)
    except (RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise CheckpointError(
            f"the modules in {folder} do not fit the model that they follow: {error} Fetch the model "
            "again."
        ) from error
    if dtype == torch.float32 and not x.isfinite().all():
        raise CheckpointError(
            f"the model in {folder} computes values that are not finite, though its weights are. Its "
            "configuration is of another model: fetch the model again."
        )


def _what_it_is_made_for(
    model: PreTrainedModel,
    states: ImageStates,
    settings: Fields,
    followers: list[Any],
    folder: Path,
) -> list[Any]:
    """Return what comes before the modules that the folder has."""
    pools = [isinstance(module, Pooling) for module in followers]
    image = settings.object("modality_config").object("image")
    output = image.text("method_output_name", default=None)
    projection = getattr(model, "visual_projection", None)
    if any(pools) and projection is None and output != "pooler_output":
        if pools != [True] + [False] * (len(pools) - 1):
            raise CheckpointError(
                f"{folder / 'modules.json'} must have one Pooling, and as the first."
            )
        if followers[0].dim != states.hidden.shape[1]:
            raise CheckpointError(
                f"the Pooling in {folder} is for {followers[0].dim} dimensions, but gets "
                f"{states.hidden.shape[1]}. Its config.json is of another model: fetch the model again."
            )
        return []
    if any(pools):
        raise CheckpointError(
            f"{folder / 'modules.json'} pools what {type(model).__name__} has pooled already."
        )
    if projection is not None:
        return [_pooler(states, folder), projection_to_dense(projection)]
    names = (name.rpartition(".")[2] for name, _ in tower_of(model).named_parameters())
    if "cls_token" in names and output != "pooler_output":
        return [Pooling(states.hidden.shape[1], ["cls"])]
    if states.pooled is None and output != "pooler_output":
        return [Pooling(states.hidden.shape[1], ["mean"])]
    return [_pooler(states, folder)]


def _pooler(states: ImageStates, folder: Path) -> Pooler:
    if states.pooled is None:
        raise CheckpointError(
            f"the weights in {folder} lack the pooler that the model needs. Fetch the model again."
        )
    return Pooler(states.pooled.shape[1])
