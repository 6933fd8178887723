"""A folder in the sentence-transformers format, read into an Encoder."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from ...exceptions import CheckpointError
from ..errors import wrap_loading_errors
from ..model_files import (
    DEFINING_FILES,
    VOCABULARY_FILES,
    Fields,
    matches_any,
    read_fields,
    read_json,
    read_tensors,
)
from ..modules import MODULES, Pooling, WeightedLayerPooling
from ..packing import Backbone, StaticBackbone
from ..text_encoder import Encoder, Source
from ..tokenization import TextTokenizer, fast_tokenizer
from .clip import CLIPModelPair, is_clip, shared_towers
from .consistency import check_encoding, check_token_ids, read_max_length
from .layout import (
    CLIP,
    PAIRS_TASK,
    TEXTS_TASK,
    Entry,
    fingerprint,
    read_entries,
    read_entry_config,
    read_settings,
    text_processing,
    warn_of_unlisted_modules,
)
from .model_config import check_counts, check_names, read_config
from .transformers_models import load_backbone, load_classifier

# Arguments of a tokenizer that would have other files read than those of the folder.
_REDIRECTING = {"subfolder", "gguf_file", "revision", "cache_dir", "config", "code_revision"}


def read_encoder(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    source: Source | None = None,
    *,
    pairs: bool = False,
) -> Encoder:
    """Load a checkpoint."""
    first, *rest = read_entries(folder)
    task = PAIRS_TASK if pairs else TEXTS_TASK
    settings = read_settings(first.folder, task)
    config = read_entry_config(folder)
    backbone: Backbone | StaticBackbone
    modules: list[Any] = []
    towers = None
    if first.kind == "StaticEmbedding":
        if pairs:
            raise CheckpointError(
                f"the model in {folder} is a table of token vectors, which cannot read pairs."
            )
        backbone, tokenizer = _read_static(first.folder, device)
        saved = None
    else:
        if pairs:
            backbone, *modules = load_classifier(first.folder, device, dtype)
        else:
            towers = read_towers(first, device, dtype)
            if towers is None:
                backbone = load_backbone(first.folder, device, dtype)
        saved = _read_tokenizer(first.folder, settings)
        with wrap_loading_errors(f"the tokenizer in {first.folder}"):
            tokenizer = fast_tokenizer(
                saved,
                lowercase=settings.flag("do_lower_case", default=False),
                special_tokens=text_processing(settings).flag("add_special_tokens", default=True),
            )
        if pairs:
            _check_pairs(saved, tokenizer, modules[0], folder)
        if towers is not None:
            backbone, *modules = towers.of_texts(tokenizer, first.folder)
    if not pairs:
        modules += [MODULES[entry.kind].read(entry.folder) for entry in rest]
        if not any(isinstance(module, Pooling) for module in modules):
            modules.insert(0, Pooling(backbone.dim, ["mean"]))
        _check_order(modules, backbone.dim, folder)
        warn_of_unlisted_modules(folder)
    check_token_ids(tokenizer, backbone, first.folder)
    encoder = Encoder(
        tokenizer=tokenizer,
        backbone=backbone,
        modules=tuple(module.to(device).eval().requires_grad_(False) for module in modules),
        max_length=read_max_length(settings, tokenizer, saved, backbone, pairs=pairs),
        fingerprint=fingerprint(folder),
        prompts=_prompts(config),
        default_prompt=_default_prompt(config),
        similarity=config.text("similarity_fn_name", default=None),
        truncate_dim=config.size("truncate_dim", default=None),
        source=source,
        saved_tokenizer=saved,
        towers=towers,
    )
    check_encoding(encoder, folder)
    return encoder


def read_towers(entry: "Entry", device: torch.device, dtype: torch.dtype) -> CLIPModelPair | None:
    """Return the CLIP that a checkpoint begins with, which the process has once, or None."""
    if is_clip(entry.folder):
        return shared_towers(entry.folder, fingerprint(entry.folder), device, dtype)
    if entry.kind == CLIP:
        raise CheckpointError(
            f"modules.json says that {entry.folder} holds a {CLIP}, and its config.json is of another "
            "model. Fetch the model again."
        )
    return None


def _check_order(modules: list[Any], dim: int, folder: Path) -> None:
    """Make sure that each module gets what it reads: tokens' states before pooling, vectors after."""
    kinds = [type(module).__name__ for module in modules]
    at = kinds.index("Pooling")
    fits = kinds.count("Pooling") == 1 and all(
        (isinstance(module, WeightedLayerPooling) or getattr(module, "over_tokens", False))
        == (i < at)
        for i, module in enumerate(modules)
        if i != at
    )
    if not fits:
        raise CheckpointError(
            f"{folder / 'modules.json'} orders its modules as {kinds}, which is not supported: "
            "token-wise modules, then one Pooling, then the others."
        )
    wide = modules[at - 1].out_dim if at and hasattr(modules[at - 1], "out_dim") else dim
    if modules[at].dim != wide:
        raise CheckpointError(
            f"the Pooling in {folder} is for {modules[at].dim} dimensions, but gets {wide}. Its "
            "config.json is of another model: fetch the model again."
        )


def _read_tokenizer(folder: Path, settings: Fields) -> PreTrainedTokenizerBase:
    if not any(file for pattern in VOCABULARY_FILES for file in folder.glob(pattern)):
        # transformers would make a tokenizer that knows no words.
        raise CheckpointError(
            f"{folder} has no tokenizer: none of {list(VOCABULARY_FILES)}. Fetch the model again."
        )
    config: PretrainedConfig = read_config(folder)
    arguments = _tokenizer_arguments(settings) | _resolve_tokenizer_files(folder)
    with wrap_loading_errors(f"the tokenizer in {folder}"):
        return AutoTokenizer.from_pretrained(
            folder, config=config, trust_remote_code=False, local_files_only=True, **arguments
        )


def _tokenizer_arguments(settings: Fields) -> dict[str, Any]:
    # The name of the key changed over the releases.
    given = settings.object("processor_kwargs").content or settings.object("tokenizer_args").content
    arguments = {key: value for key, value in given.items() if key != "trust_remote_code"}
    check_counts(arguments, settings.file)
    if redirecting := sorted(k for k in arguments if k in _REDIRECTING or k.endswith("_file")):
        raise CheckpointError(
            f"{settings.file} gives the tokenizer {redirecting}, which could have any file read. That "
            "is refused: put the tokenizer's files into the folder, and remove these keys."
        )
    return arguments


def _resolve_tokenizer_files(folder: Path) -> dict[str, str | None]:
    """Replace files in tokenizer_config.json, of the machine that saved it, by the folder's files."""
    config = read_fields(folder / "tokenizer_config.json", required=False)
    check_names(config, "fast_tokenizer_files")
    check_counts(config.content, config.file)
    named = {
        key: folder / Path(value).name
        for key, value in config.content.items()
        if key.endswith("_file") and isinstance(value, str)
    }
    return {
        key: str(file) if matches_any(file.name, DEFINING_FILES) and file.is_file() else None
        for key, file in named.items()
    }


def _check_pairs(
    saved: PreTrainedTokenizerBase, tokenizer: TextTokenizer, pooling: Pooling, folder: Path
) -> None:
    """Refuse what sentence-transformers and transformers read in another way."""
    if saved.chat_template:
        raise CheckpointError(
            f"the tokenizer in {folder} has a chat template, through which sentence-transformers puts "
            "pairs. That is not supported."
        )
    last = tokenizer.ends_pairs_with
    if pooling.modes == ("lasttoken",) and last is not None and last == saved.pad_token_id:
        raise CheckpointError(
            f"the tokenizer in {folder} ends pairs with its padding token, which the head would not "
            "read. That is not supported."
        )


def _read_static(folder: Path, device: torch.device) -> tuple[StaticBackbone, TextTokenizer]:
    tensors = read_tensors(folder)
    if len(tensors) != 1 or not {"embedding.weight", "embeddings"}.issuperset(tensors):
        raise CheckpointError(
            f"the weights in {folder} are {sorted(tensors)}, but a StaticEmbedding has "
            "'embedding.weight' alone (or 'embeddings', as model2vec names it)."
        )
    (vectors,) = tensors.values()
    if vectors.ndim != 2 or not vectors.numel():
        raise CheckpointError(
            f"the weights in {folder} have the shape {tuple(vectors.shape)}, but a StaticEmbedding has "
            "a row for each token. Fetch the model again."
        )
    # A copy, because a memory-mapped tensor would change with its file.
    table = nn.Embedding.from_pretrained(vectors.to(torch.float32, copy=True)).to(device)
    file = folder / "tokenizer.json"
    read_json(file)  # says what is wrong with a file that is cut short
    with wrap_loading_errors(f"the tokenizer in {folder}"):
        return StaticBackbone(table), TextTokenizer(
            Tokenizer.from_file(str(file)), special_tokens=False
        )


def _prompts(config: Fields) -> dict[str, str]:
    prompts = config.object("prompts")
    return {name: prompts.text(name, default="") for name in prompts.content}


def _default_prompt(config: Fields) -> str:
    name = config.text("default_prompt_name", default=None)
    if name is None:
        return ""
    prompts = _prompts(config)
    if name not in prompts:
        raise CheckpointError(
            f"{config.file} has the default_prompt_name {name!r}, but its prompts are "
            f"{sorted(prompts)}."
        )
    return prompts[name]
