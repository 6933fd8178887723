"""A transformers model, read from a folder and checked."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    PretrainedConfig,
    PreTrainedModel,
)

from .backbone import Backbone
from .files import CheckpointError, NoHeadError, read_json
from .head import SequenceHead, has_decoder, pooling_of, split
from .modules import activation_of
from .packing import Pack
from .pooling import Pooling
from .quiet import quiet_transformers
from .torch_state import SETTINGS_LOCK
from .ways import DOES_NOT_FIT, TOLERANCE, best_way, made_up_texts, relative_distance


def load_backbone(folder: Path, device: torch.device, dtype: torch.dtype) -> Backbone:
    """Load a transformer and find out how it can run.

    Parameters
    ----------
    folder : Path
        In the transformers format.
    device : torch.device
        Where to put it.
    dtype : torch.dtype
        Its number format.

    Returns
    -------
    Backbone
        Ready to run.

    Raises
    ------
    CheckpointError
        If files are missing or damaged, or the weights do not fit the configuration.
    """
    config = read_config(folder)
    # Of a model with a decoder, this takes the encoder alone.
    is_text_encoder = type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
    kind = AutoModelForTextEncoding if is_text_encoder else AutoModel
    model, missing = read_model(kind, config, folder, dtype)
    # The pooler of BERT-like models is often not saved, and no module here reads it.
    check_none_missing(model, [name for name in missing if "pooler" not in name], folder)
    if any(name.startswith("pooler.") for name in missing):
        model.pooler = None  # type: ignore[assignment]  # its weights are random, and a head would get them
    return backbone_of(placed(model, device), folder)


def load_classifier(
    folder: Path, device: torch.device, dtype: torch.dtype
) -> tuple[Backbone, Pooling, SequenceHead]:
    """Load a sequence classifier: its transformer, which states its head reads, and the head.

    Parameters
    ----------
    folder : Path
        In the transformers format.
    device : torch.device
        Where to put it.
    dtype : torch.dtype
        Number format of the transformer; the head computes in float32.

    Returns
    -------
    backbone : Backbone
        Ready to run.
    pooling : Pooling
        What the head reads.
    head : SequenceHead
        What makes the logits.

    Raises
    ------
    NoHeadError
        If the model is no sequence classifier.
    CheckpointError
        If files are missing or damaged, the weights do not fit the configuration, or the logits are
        not those that transformers computes.
    """
    config = read_config(folder)
    kinds = config.architectures or []
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise NoHeadError(
            f"the model in {folder} is {' and '.join(kinds) or 'of an unnamed architecture'}: it has "
            "no head that scores pairs."
        )
    # In float32, so that the head is not rounded to the transformer's format.
    model, missing = read_model(AutoModelForSequenceClassification, config, folder, torch.float32)
    if has_decoder(model):
        raise CheckpointError(
            f"the model in {folder} is {type(model).__name__}, which has a decoder: it is not supported "
            "as a cross-encoder."
        )
    check_none_missing(model, missing, folder)
    placed(model, device)
    texts = made_up_texts(getattr(model, model.base_model_prefix), seed=0)
    with torch.inference_mode():
        alone = [model(torch.from_numpy(text)[None].to(device)).logits for text in texts]
    transformer = split(model)
    head = SequenceHead(model, _activation(config, folder))
    pooling = pooling_of(head, transformer.config.hidden_size)
    one_by_one = Backbone(transformer, packed=False)
    with torch.inference_mode():
        states = [one_by_one(text, Pack.of([text])) for text in texts]
        found = torch.cat([head(pooling(state)) for state in states])
    distance = relative_distance(found, torch.cat(alone))
    if not distance <= TOLERANCE[torch.float32]:
        raise CheckpointError(
            f"{type(model).__name__} in {folder} does not score pairs as other cross-encoders do: "
            "what follows its transformer is not supported."
        )
    return backbone_of(transformer.to(dtype), folder), pooling, head  # type: ignore[arg-type]


def read_config(folder: Path) -> PretrainedConfig:
    """Read config.json."""
    with _readable(folder), quiet_transformers():
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def read_model(
    kind: Any, config: PretrainedConfig, folder: Path, dtype: torch.dtype
) -> tuple[PreTrainedModel, list[str]]:
    """Read a model, and the names of the tensors that the folder lacks."""
    with _readable(folder), quiet_transformers(), SETTINGS_LOCK, torch.random.fork_rng(devices=[]):
        model, found = kind.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # said below, where the report is not
            trust_remote_code=False,
        )
    if found["mismatched_keys"]:
        name, saved, expected = max(found["mismatched_keys"], key=lambda key: math.prod(key[2]))
        raise CheckpointError(
            f"transformers cannot load the model in {folder}: {name} has the shape {tuple(saved)}, "
            f"and its config.json asks for {tuple(expected)}. Fetch the model again."
        )
    return model, sorted(found["missing_keys"])


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Say in one way what transformers says in many."""
    try:
        yield
    except (EOFError, OSError, RuntimeError, ValueError, SafetensorError, UnpicklingError) as error:
        raise CheckpointError(
            f"transformers cannot load the model in {folder}: {error} If a file is cut short or "
            "missing, fetch the model again."
        ) from error


def check_none_missing(model: PreTrainedModel, missing: list[str], folder: Path) -> None:
    """Raise if the folder lacks tensors of a model."""
    if missing:
        raise CheckpointError(
            f"the weights in {folder} lack {len(missing)} tensors that {type(model).__name__} needs, "
            f"among them {missing[:3]}. They are weights of another model or cut short: fetch the "
            "model again."
        )


def placed(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """Put a model on its device, to be run and not trained; it is changed, and returned."""
    model = model.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]
    if device.type == "cpu":
        # Weights that are mapped from a file would change, or vanish, with it.
        for tensor in chain(model.parameters(), model.buffers()):
            tensor.data = tensor.data.clone()
    return model


def backbone_of(model: PreTrainedModel, folder: Path) -> Backbone:
    """Find out how a model can run."""
    try:
        return best_way(model)
    except DOES_NOT_FIT as error:
        if model.main_input_name == "pixel_values" or hasattr(model.config, "vision_config"):
            raise CheckpointError(
                f"{type(model).__name__} in {folder} reads images, and of the models that do, only a "
                "CLIP embeds texts here. Pass it to an ImageEmbedder."
            ) from error
        raise CheckpointError(
            f"{type(model).__name__} in {folder} does not run as other text encoders do: "
            f"{type(error).__name__}: {error}"
        ) from error


def _activation(config: PretrainedConfig, folder: Path) -> nn.Module:
    """Return what sentence-transformers applies to the logits: its default, or what is saved."""
    file = folder / "config_sentence_transformers.json"
    named = (read_json(file) if file.is_file() else {}).get("activation_fn")
    # The places of releases before 5.4, and before 4.0.
    saved = getattr(config, "sentence_transformers", None)
    named = named or (saved.get("activation_fn") if isinstance(saved, dict) else None)
    named = named or getattr(config, "sbert_ce_default_activation_function", None)
    if named is None:
        return nn.Sigmoid() if config.num_labels == 1 else nn.Identity()
    return activation_of(str(named), folder)
