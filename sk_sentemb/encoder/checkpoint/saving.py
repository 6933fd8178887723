"""An Encoder, written as a folder that sentence-transformers reads."""

import copy
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..model_files import SAFETENSORS, read_json, write_json
from ..modules import Dense, SequenceHead, merged_state_dict, path_of
from ..packing import StaticBackbone
from ..text_encoder import Encoder
from ..transformers_logging import silence_transformers
from .clip import FOLDER, CLIPModelPair
from .layout import CLIP, CONFIG, PAIRS_TASK, SETTINGS_FILES


def write_encoder(encoder: Encoder, folder: Path) -> None:
    """Write a checkpoint that sentence-transformers reads, weights as safetensors."""
    modules = list(encoder.modules)
    kind, path = "Transformer", ""
    if encoder.towers is not None:
        kind, path = CLIP, FOLDER
        modules = _write_clip(encoder.towers, encoder, folder / path)
    elif encoder.head is not None:
        modules = []  # the classifier has them
        _write_classifier(encoder, encoder.head, folder)
    elif isinstance(encoder.backbone, StaticBackbone):
        kind = "StaticEmbedding"
        modules = modules[1:]  # its pooling is part of it
        _write_static(encoder.backbone, encoder, folder)
    else:
        with silence_transformers():
            encoder.backbone.model.save_pretrained(folder)
        encoder.saved_tokenizer.save_pretrained(folder)  # type: ignore[union-attr]
        write_json(
            folder / SETTINGS_FILES[0],
            {"max_seq_length": encoder.max_length, "do_lower_case": encoder.tokenizer.lowercase},
        )
    write_modules(folder, kind, path, modules)
    write_json(folder / CONFIG, _written_config(encoder))


def write_modules(folder: Path, kind: str, path: str, modules: Iterable[Any]) -> None:
    """Write modules.json and what follows the model, which is written already."""
    kinds, paths = [kind], [path]
    for module in modules:
        kinds.append(type(module).__name__)
        paths.append(f"{len(paths)}_{kinds[-1]}")
        module.write(folder / paths[-1])
    write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
        ],
    )


def _write_classifier(encoder: Encoder, head: SequenceHead, folder: Path) -> None:
    """Write a sequence classifier as releases since 5.4 save it, so that earlier ones read it too."""
    activation = path_of(head.activation)
    network = copy.copy(head.network)
    network.config = copy.deepcopy(network.config)
    network.config.sentence_transformers = {"activation_fn": activation}
    network.config.sbert_ce_default_activation_function = activation  # before 4.0
    model: Any = encoder.backbone.model  # type: ignore[union-attr]
    with silence_transformers():
        network.save_pretrained(folder, state_dict=merged_state_dict(model, head))
    _write_limited_tokenizer(encoder, folder)
    write_json(
        folder / SETTINGS_FILES[0],
        {
            "transformer_task": PAIRS_TASK,
            "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
            "module_output_name": "scores",
            "do_lower_case": encoder.tokenizer.lowercase,
        },
    )


def _write_clip(towers: CLIPModelPair, encoder: Encoder, folder: Path) -> list[Any]:
    """Write a CLIP, both towers, and return the modules that follow it."""
    pooling, projection, *others = encoder.modules
    if encoder.pooling != ("lasttoken",) or not isinstance(projection, Dense):
        raise ValueError(
            f"a CLIP's folder has no place for pooling={list(pooling.modes)}: its texts are read off "
            "their last tokens. Pass pooling='auto'."
        )
    backbone: Any = encoder.backbone
    towers.write(folder, backbone.model, projection.linear)
    _write_limited_tokenizer(encoder, folder)
    return others


def _write_limited_tokenizer(encoder: Encoder, folder: Path) -> None:
    """Write the tokenizer with the length limit."""
    tokenizer: Any = encoder.saved_tokenizer
    tokenizer.save_pretrained(folder)
    if encoder.max_length is not None:
        file = folder / "tokenizer_config.json"
        write_json(file, read_json(file) | {"model_max_length": encoder.max_length})


def _write_static(backbone: StaticBackbone, encoder: Encoder, folder: Path) -> None:
    save_file(
        {"embedding.weight": backbone.embedding.weight.cpu().contiguous()}, folder / SAFETENSORS
    )
    encoder.tokenizer.save(folder / "tokenizer.json")


def _written_config(encoder: Encoder) -> dict[str, Any]:
    prompts = dict(encoder.prompts)
    name = next((key for key, text in prompts.items() if text == encoder.default_prompt), None)
    if encoder.default_prompt and name is None:
        names = chain(["default"], (f"default_{i}" for i in count(2)))
        name = next(free for free in names if free not in prompts)
        prompts[name] = encoder.default_prompt
    config: dict[str, Any] = {
        "prompts": prompts,
        "default_prompt_name": name if encoder.default_prompt else None,
    }
    if encoder.head is not None:
        return config | {
            "model_type": "CrossEncoder",
            "activation_fn": path_of(encoder.head.activation),
        }
    return config | {
        "similarity_fn_name": encoder.similarity,
        "truncate_dim": encoder.truncate_dim,
    }
