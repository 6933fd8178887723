"""A transformers model, read from a folder and checked."""

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
from ..model_files import Fields, read_tensors
from ..modules import Pooling, SequenceHead, has_decoder, infer_pooling, resolve_activation, split
from ..packing import (
    TOLERANCE,
    Backbone,
    Pack,
    probe_inputs,
    relative_distance,
    select_execution_mode,
)
from ..torch_state import SETTINGS_LOCK
from ..transformers_logging import silence_transformers
from .layout import read_entry_config
from .model_config import read_config

# Weights that an embedder does not use: heads of pretraining and other tasks, towers for other inputs,
# and buffers that are computed again.
_HEADS = re.compile(
    r"(^|\.)(cls|lm_head|mlm_head|lm_predictions|mask_predictions|sop_classifier|classifier|score|head"
    r"|qa_outputs|pre_classifier|vocab_\w+|discriminator_predictions|generator_\w+|pooler|decoder"
    r"|classification_head|text_model|vision_model|vision_tower|visual|multi_modal_projector"
    r"|logit_scale|logit_bias|position_ids|rotary_emb\.inv_freq)(\.|$)"
)


def load_backbone(folder: Path, device: torch.device, dtype: torch.dtype) -> Backbone:
    """Load a transformer and find out how it can run."""
    config = read_config(folder)
    # Of a model with a decoder, this takes the encoder alone.
    is_text_encoder = type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
    kind = AutoModelForTextEncoding if is_text_encoder else AutoModel
    model, missing = read_model(kind, config, folder, dtype)
    # The pooler of BERT-like models is often not saved, and no module here reads it.
    check_none_missing(model, [name for name in missing if "pooler" not in name], folder)
    if any(name.startswith("pooler.") for name in missing):
        model.pooler = None  # type: ignore[assignment]  # its weights are random, and a head would get them
    return extract_text_backbone(placed(model, device), folder)


def load_classifier(
    folder: Path, device: torch.device, dtype: torch.dtype
) -> tuple[Backbone, Pooling, SequenceHead]:
    """Load a sequence classifier: its transformer, which states its head reads, and the head."""
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
    with wrap_loading_errors(f"the model in {folder}"):
        texts = probe_inputs(getattr(model, model.base_model_prefix), seed=0)
        with torch.inference_mode():
            alone = [model(torch.from_numpy(text)[None].to(device)).logits for text in texts]
        transformer = split(model)
        head = SequenceHead(model, _activation(config, folder))
        pooling = infer_pooling(head, transformer.config.hidden_size)
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
    return extract_text_backbone(transformer.to(dtype), folder), pooling, head  # type: ignore[arg-type]


def read_model(
    kind: Any, config: PretrainedConfig, folder: Path, dtype: torch.dtype
) -> tuple[PreTrainedModel, list[str]]:
    """Read a model, and the names of the tensors that the folder lacks."""
    # transformers gets the tensors and no folder, so that it reads nothing that is not checked and
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
            ignore_mismatched_sizes=True,  # said below, where the report is not
        )
    if found["mismatched_keys"]:
        name, saved, expected = max(found["mismatched_keys"], key=lambda key: math.prod(key[2]))
        raise CheckpointError(
            f"transformers cannot load the model in {folder}: {name} has the shape {tuple(saved)}, "
            f"and its config.json asks for {tuple(expected)}. Fetch the model again."
        )
    _warn_of_unused(sorted(found["unexpected_keys"]), tensors, model, folder)
    return model, sorted(found["missing_keys"])


def _make_blueprint(kind: Any, config: PretrainedConfig, dtype: torch.dtype) -> Any:
    """Make the model without memory for its weights."""
    config = copy.deepcopy(config)
    config.dtype = dtype
    make = kind.from_config if hasattr(kind, "from_config") else kind._from_config
    with torch.device("meta"):
        return make(config)


def _check_size(blueprint: nn.Module, tensors: dict[str, Tensor], folder: Path) -> None:
    """Compare the model that config.json describes with the weights, before memory is asked for."""
    described = sum(t.numel() for t in chain(blueprint.parameters(), blueprint.buffers()))
    found = sum(tensor.numel() for tensor in tensors.values())
    if described > 2 * found + 2**26:
        raise CheckpointError(
            f"{folder / 'config.json'} describes a model of {described:,} numbers, but the weights "
            f"beside it have {found:,}. They are of two models: fetch the model again."
        )


def _warn_of_unused(
    unexpected: list[str], tensors: Collection[str], model: PreTrainedModel, folder: Path
) -> None:
    """Say which tensors of the weights have no place in the model that config.json describes."""
    prefix = f"{model.base_model_prefix}."
    if any(name.startswith(prefix) for name in tensors):
        # Saved with a head: all that is not below the transformer's name belongs to the head.
        unexpected = [n for n in unexpected if n.startswith(prefix) or prefix + n in tensors]
    if unused := [name for name in unexpected if not _HEADS.search(name)]:
        warn(
            f"{len(unused)} tensors of the weights in {folder} have no place in the "
            f"{type(model).__name__} that its config.json describes and are not used, among them "
            f"{unused[:3]}. If embeddings should depend on them, config.json is of another model: "
            "fetch the model again.",
            CheckpointWarning,
        )


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


def extract_text_backbone(model: PreTrainedModel, folder: Path) -> Backbone:
    """Find out how a model can run."""
    try:
        return select_execution_mode(model)
    except Exception as error:  # the code of a model may raise any
        if is_out_of_memory(error):
            raise
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
    # The places of releases before 5.4, and before 4.0.
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
