"""Save an encoder as a folder that sentence-transformers loads."""

import copy
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..image_encoder import ImageEncoder
from ..model_files import SAFETENSORS, read_json, write_json
from ..modules import Dense, Pooler, get_dotted_path, merged_state_dict
from ..packing import StaticBackbone
from ..pair_encoder import PairEncoder
from ..text_encoder import Encoder, TextEncoder
from ..transformers_logging import silence_transformers
from .clip import CLIP_FOLDER, CLIPModelPair
from .layout import CLIP, CONFIG, PAIRS_TASK, SETTINGS_FILES


def save_encoder(encoder: Encoder | ImageEncoder, folder: Path) -> None:
    """Save an encoder, its weights as safetensors."""
    if isinstance(encoder, ImageEncoder):
        _save_image_encoder(encoder, folder)
    elif isinstance(encoder, PairEncoder):
        _save_pair_encoder(encoder, folder)
    elif isinstance(encoder, TextEncoder):
        _save_text_encoder(encoder, folder)


def _save_text_encoder(encoder: TextEncoder, folder: Path) -> None:
    modules, backbone = list(encoder.modules), encoder.backbone
    kind, path = "Transformer", ""
    if isinstance(encoder.shared_model, CLIPModelPair):
        kind, path = CLIP, CLIP_FOLDER
        modules = _save_clip(encoder.shared_model, encoder, folder / path)
    elif isinstance(backbone, StaticBackbone):
        kind = "StaticEmbedding"
        modules = modules[1:]  # its pooling is part of it
        weight = backbone.embedding.weight.cpu().contiguous()
        save_file({"embedding.weight": weight}, folder / SAFETENSORS)
        encoder.tokenizer.save(folder / "tokenizer.json")
    else:
        with silence_transformers():
            backbone.model.save_pretrained(folder)
        encoder.saved_tokenizer.save_pretrained(folder)  # type: ignore[union-attr]
        write_json(
            folder / SETTINGS_FILES[0],
            {"max_seq_length": encoder.max_length, "do_lower_case": encoder.tokenizer.lowercase},
        )
    _save_modules(folder, kind, path, modules)
    options = {"similarity_fn_name": encoder.similarity, "truncate_dim": encoder.truncate_dim}
    write_json(folder / CONFIG, _make_prompt_config(encoder) | options)


def _save_clip(clip: CLIPModelPair, encoder: TextEncoder, folder: Path) -> list[Any]:
    """Save both models of a CLIP, and return the modules that follow it."""
    pooling, projection, *others = encoder.modules
    if encoder.pooling != ("lasttoken",) or not isinstance(projection, Dense):
        raise ValueError(
            f"a CLIP cannot be saved with pooling={list(pooling.modes)}, only with that of its last "
            "token. Pass pooling='auto'."
        )
    backbone: Any = encoder.backbone
    clip.save(folder, backbone.model, projection.linear)
    _save_limited_tokenizer(encoder, folder)
    return others


def _save_pair_encoder(encoder: PairEncoder, folder: Path) -> None:
    """Save a sequence classifier as releases since 5.4 do, in a form that earlier ones read too."""
    activation = get_dotted_path(encoder.head.activation)
    network = copy.copy(encoder.head.network)
    network.config = copy.deepcopy(network.config)
    network.config.sentence_transformers = {"activation_fn": activation}
    network.config.sbert_ce_default_activation_function = activation  # before 4.0
    backbone: Any = encoder.backbone
    with silence_transformers():
        state = merged_state_dict(backbone.model, encoder.head)
        network.save_pretrained(folder, state_dict=state)
    _save_limited_tokenizer(encoder, folder)
    write_json(
        folder / SETTINGS_FILES[0],
        {
            "transformer_task": PAIRS_TASK,
            "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
            "module_output_name": "scores",
            "do_lower_case": encoder.tokenizer.lowercase,
        },
    )
    _save_modules(folder, "Transformer", "", [])
    options = {"model_type": "CrossEncoder", "activation_fn": activation}
    write_json(folder / CONFIG, _make_prompt_config(encoder) | options)


def _save_image_encoder(encoder: ImageEncoder, folder: Path) -> None:
    pooling, *others = encoder.modules
    kind, path = "Transformer", ""
    if encoder.pooling == "auto":
        others = others[1:]  # the projection is part of the model
    elif encoder.projection is not None:
        raise ValueError(
            f"a CLIP cannot be saved with pooling={encoder.pooling!r}, only with its projection. Pass "
            "pooling='auto'."
        )
    if isinstance(encoder.shared_model, CLIPModelPair):
        kind, path = CLIP, CLIP_FOLDER
        model = encoder.shared_model.model
        encoder.shared_model.save(folder / path, model.text_model, model.text_projection)
    else:
        with silence_transformers():
            encoder.model.save_pretrained(folder)
            encoder.processor.save_pretrained(folder)
        is_pooled = isinstance(pooling, Pooler)
        output = "pooler_output" if is_pooled else "last_hidden_state"
        write_json(
            folder / SETTINGS_FILES[0],
            {
                "transformer_task": "feature-extraction",
                "modality_config": {"image": {"method": "forward", "method_output_name": output}},
                "module_output_name": "sentence_embedding" if is_pooled else "token_embeddings",
            },
        )
        others = others if is_pooled else [pooling, *others]
    _save_modules(folder, kind, path, others)
    write_json(folder / CONFIG, {"truncate_dim": encoder.truncate_dim})


def _save_modules(folder: Path, kind: str, path: str, modules: Iterable[Any]) -> None:
    """Save modules.json and the modules after the model, which is saved already."""
    kinds, paths = [kind], [path]
    for module in modules:
        kinds.append(type(module).__name__)
        paths.append(f"{len(paths)}_{kinds[-1]}")
        module.save(folder / paths[-1])
    write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
        ],
    )


def _save_limited_tokenizer(encoder: Encoder, folder: Path) -> None:
    """Save the tokenizer with the token limit."""
    tokenizer: Any = encoder.saved_tokenizer
    tokenizer.save_pretrained(folder)
    if encoder.max_length is not None:
        file = folder / "tokenizer_config.json"
        write_json(file, read_json(file) | {"model_max_length": encoder.max_length})


def _make_prompt_config(encoder: Encoder) -> dict[str, Any]:
    prompts = dict(encoder.prompts)
    name = next((key for key, text in prompts.items() if text == encoder.default_prompt), None)
    if encoder.default_prompt and name is None:
        names = chain(["default"], (f"default_{i}" for i in count(2)))
        name = next(free for free in names if free not in prompts)
        prompts[name] = encoder.default_prompt
    return {"prompts": prompts, "default_prompt_name": name if encoder.default_prompt else None}
