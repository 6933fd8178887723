"""Load a model of transformers from a folder, and check it."""

import copy
import math
import re
from collections.abc import Collection
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    PretrainedConfig,
    PreTrainedModel,
)

from ..._warn import warn
from ...exceptions import CheckpointError, CheckpointWarning, NoHeadError
from ..errors import is_out_of_memory, wrap_loading_errors
from ..isolation import SETTINGS_LOCK
from ..model_files import Fields, read_tensors
from ..modules import (
    Pooling,
    SequenceHead,
    detach_backbone,
    has_decoder,
    infer_pooling,
    resolve_activation,
)
from ..packing import (
    TOLERANCE,
    Backbone,
    Pack,
    probe_inputs,
    relative_distance,
    select_execution_mode,
)
from ..transformers_logging import silence_transformers
from .layout import read_entry_config
from .model_config import load_config

# Weights that embeddings do not depend on: heads of pretraining and other tasks, models of other inputs,
# and buffers that are recomputed.
_HEADS = re.compile(
    r"(^|\.)(cls|lm_head|mlm_head|lm_predictions|mask_predictions|sop_classifier|classifier|score|head"
    r"|qa_outputs|pre_classifier|vocab_\w+|discriminator_predictions|generator_\w+|pooler|decoder"
    r"|classification_head|text_model|vision_model|vision_tower|visual|multi_modal_projector"
    r"|logit_scale|logit_bias|position_ids|rotary_emb\.inv_freq)(\.|$)"
)


def load_backbone(folder: Path, device: torch.device, dtype: torch.dtype) -> Backbone:
    """Load a transformer and select how it runs."""
    config = load_config(folder)
    # AutoModelForTextEncoding loads only the encoder of a model with a decoder.
    is_text_encoder = type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
    auto_class = AutoModelForTextEncoding if is_text_encoder else AutoModel
    model, missing = load_model(auto_class, config, folder, dtype)
    # The pooler of BERT-like models is often not saved, and no module uses it.
    check_none_missing(model, [name for name in missing if "pooler" not in name], folder)
    if any(name.startswith("pooler.") for name in missing):
        model.pooler = None  # type: ignore[assignment]  # random weights, which a head would get
    return make_backbone(move_to_device(model, device), folder)


def load_classifier(
    folder: Path, device: torch.device, dtype: torch.dtype
) -> tuple[Backbone, Pooling, SequenceHead]:
    """Load a sequence classifier: its transformer, the pooling of its head, and the head."""
    config = load_config(folder)
    kinds = config.architectures or []
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise NoHeadError(
            f"the model in {folder} is {' and '.join(kinds) or 'of an unnamed architecture'}, which "
            "has no classification head."
        )
    # In float32, so that the head is not rounded to the dtype of the transformer.
    model, missing = load_model(AutoModelForSequenceClassification, config, folder, torch.float32)
    if has_decoder(model):
        raise CheckpointError(
            f"the model in {folder} is {type(model).__name__}, which has a decoder and is not supported "
            "as a cross-encoder."
        )
    check_none_missing(model, missing, folder)
    move_to_device(model, device)
    with wrap_loading_errors(f"the model in {folder}"):
        texts = probe_inputs(getattr(model, model.base_model_prefix), seed=0)
        with torch.inference_mode():
            alone = [model(torch.from_numpy(text)[None].to(device)).logits for text in texts]
        transformer = detach_backbone(model)
        head = SequenceHead(model, _activation(config, folder))
        pooling = infer_pooling(head, transformer.config.hidden_size)
        one_by_one = Backbone(transformer, packed=False)
        with torch.inference_mode():
            states = [one_by_one(text, Pack.from_token_ids([text])) for text in texts]
            found = torch.cat([head(pooling(state)) for state in states])
    distance = relative_distance(found, torch.cat(alone))
    if not distance <= TOLERANCE[torch.float32]:
        raise CheckpointError(
            f"{type(model).__name__} in {folder} does not score pairs like other cross-encoders: "
            "what follows its transformer is not supported."
        )
    return make_backbone(transformer.to(dtype), folder), pooling, head  # type: ignore[arg-type]


def load_model(
    kind: Any, config: PretrainedConfig, folder: Path, dtype: torch.dtype
) -> tuple[PreTrainedModel, list[str]]:
    """Load a model, and return the names of missing tensors as well."""
    # transformers gets the tensors and not the folder, so that it reads no file that is not checked and
    # covered by the fingerprint.
    tensors = read_tensors(folder)
    with (
        wrap_loading_errors(f"the model in {folder}"),
        silence_transformers(),
        SETTINGS_LOCK,
        torch.random.fork_rng(devices=[]),
    ):
        blueprint = _make_blueprint(kind, config, dtype)
        _check_size(blueprint, tensors, folder)
        model, found = type(blueprint).from_pretrained(
            None,
            config=blueprint.config,
            state_dict=tensors,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below
        )
    if found["mismatched_keys"]:
        name, saved, expected = max(found["mismatched_keys"], key=lambda key: math.prod(key[2]))
        raise CheckpointError(
            f"transformers cannot load the model in {folder}: {name} has the shape {tuple(saved)}, "
            f"but its config.json requires {tuple(expected)}. Fetch the model again."
        )
    _warn_unused(sorted(found["unexpected_keys"]), tensors, model, folder)
    return model, sorted(found["missing_keys"])


def _make_blueprint(kind: Any, config: PretrainedConfig, dtype: torch.dtype) -> Any:
    """Create the model on the meta device, without memory for weights."""
    config = copy.deepcopy(config)
    config.dtype = dtype
    make = kind.from_config if hasattr(kind, "from_config") else kind._from_config
    with torch.device("meta"):
        return make(config)


def _check_size(blueprint: nn.Module, tensors: dict[str, Tensor], folder: Path) -> None:
    """Compare the size of the model in config.json with the weights, before allocating memory."""
    described = sum(t.numel() for t in chain(blueprint.parameters(), blueprint.buffers()))
    found = sum(tensor.numel() for tensor in tensors.values())
    if described > 2 * found + 2**26:
        raise CheckpointError(
            f"{folder / 'config.json'} describes a model of {described:,} numbers, but the weights have "
            f"{found:,}. They belong to two models: fetch the model again."
        )


def _warn_unused(
    unexpected: list[str], tensors: Collection[str], model: PreTrainedModel, folder: Path
) -> None:
    """Warn of tensors that the model in config.json does not have."""
    prefix = f"{model.base_model_prefix}."
    if any(name.startswith(prefix) for name in tensors):
        # Saved with a head, to which all tensors without the prefix of the transformer belong.
        unexpected = [n for n in unexpected if n.startswith(prefix) or prefix + n in tensors]
    if unused := [name for name in unexpected if not _HEADS.search(name)]:
        warn(
            f"{len(unused)} tensors of the weights in {folder} are not used, because the "
            f"{type(model).__name__} in its config.json does not have them, among them {unused[:3]}. If "
            "embeddings should depend on them, config.json belongs to another model: fetch the model "
            "again.",
            CheckpointWarning,
        )


def check_none_missing(model: PreTrainedModel, missing: list[str], folder: Path) -> None:
    """Raise if the folder lacks tensors of a model."""
    if missing:
        raise CheckpointError(
            f"the weights in {folder} lack {len(missing)} tensors that {type(model).__name__} needs, "
            f"among them {missing[:3]}. They belong to another model or are truncated: fetch the "
            "model again."
        )


def move_to_device(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """Move a model to its device for inference, in place, and return it."""
    model = model.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]
    if device.type == "cpu":
        # Weights that are memory-mapped would change, or vanish, with their file.
        for tensor in chain(model.parameters(), model.buffers()):
            tensor.data = tensor.data.clone()
    return model


def make_backbone(model: PreTrainedModel, folder: Path) -> Backbone:
    """Select how a model runs."""
    try:
        return select_execution_mode(model)
    except Exception as error:  # models raise errors of any type
        if is_out_of_memory(error):
            raise
        if model.main_input_name == "pixel_values" or hasattr(model.config, "vision_config"):
            raise CheckpointError(
                f"{type(model).__name__} in {folder} reads images. Of models of images, only a CLIP can "
                "embed texts. Pass it to an ImageEmbedder."
            ) from error
        raise CheckpointError(
            f"{type(model).__name__} in {folder} does not run like other text encoders: "
            f"{type(error).__name__}: {error}"
        ) from error


def _activation(config: PretrainedConfig, folder: Path) -> nn.Module:
    """Return the activation of the logits in sentence-transformers: as saved, or the default."""
    # Releases before 5.4, and before 4.0, save it elsewhere.
    plain = Fields(config.to_dict(), folder / "config.json")
    places = (
        (read_entry_config(folder), "activation_fn"),
        (plain.object("sentence_transformers"), "activation_fn"),
        (plain, "sbert_ce_default_activation_function"),
    )
    for fields, key in places:
        if named := fields.text(key, default=None):
            return resolve_activation(named, fields.file)
    return nn.Sigmoid() if config.num_labels == 1 else nn.Identity()
