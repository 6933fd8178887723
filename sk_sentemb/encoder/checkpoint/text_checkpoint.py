"""Load an encoder of texts or pairs from a folder in the format of sentence-transformers."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from ...exceptions import CheckpointError
from .._base import Source
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
from ..pair_encoder import PairEncoder
from ..text_encoder import TextEncoder
from ..tokenization import TextTokenizer, make_text_tokenizer
from .clip import load_clip
from .consistency import check_encoding, check_labels, check_token_ids, read_max_length
from .layout import (
    PAIRS_TASK,
    TEXTS_TASK,
    compute_fingerprint,
    read_entries,
    read_entry_config,
    read_settings,
    text_processing,
    warn_unlisted_modules,
)
from .model_config import check_counts, check_names, load_config
from .transformers_models import load_backbone, load_classifier

# Arguments that make a tokenizer read files outside the folder.
_REDIRECTING = {"subfolder", "gguf_file", "revision", "cache_dir", "config", "code_revision"}


def load_text_checkpoint(
    folder: Path, device: torch.device, dtype: torch.dtype, source: Source | None = None
) -> TextEncoder:
    """Load a checkpoint that embeds single texts."""
    first, *rest = read_entries(folder)
    settings = read_settings(first.folder, TEXTS_TASK)
    config = read_entry_config(folder)
    backbone: Backbone | StaticBackbone
    modules: list[Any] = []
    clip = saved = None
    if first.kind == "StaticEmbedding":
        backbone, tokenizer = _load_static(first.folder, device)
    elif clip := load_clip(first, device, dtype):
        saved, tokenizer = _load_tokenizer(first.folder, settings)
        backbone, *modules = clip.text_parts(tokenizer, first.folder)
    else:
        backbone = load_backbone(first.folder, device, dtype)
        saved, tokenizer = _load_tokenizer(first.folder, settings)
    modules += [MODULES[entry.kind].load(entry.folder) for entry in rest]
    if not any(isinstance(module, Pooling) for module in modules):
        modules.insert(0, Pooling(backbone.dim, ["mean"]))
    _check_order(modules, backbone.dim, folder)
    warn_unlisted_modules(folder)
    check_token_ids(tokenizer, backbone, first.folder)
    encoder = TextEncoder(
        tokenizer=tokenizer,
        backbone=backbone,
        modules=_prepare(modules, device),
        max_length=read_max_length(settings, tokenizer, saved, backbone, n_texts=1),
        similarity=config.text("similarity_fn_name", default=None),
        truncate_dim=config.size("truncate_dim", default=None),
        saved_tokenizer=saved,
        shared_model=clip,
        **_read_identity(folder, config, source),
    )
    check_encoding(encoder, folder)
    return encoder


def load_pair_checkpoint(
    folder: Path, device: torch.device, dtype: torch.dtype, source: Source | None = None
) -> PairEncoder:
    """Load a checkpoint that scores pairs of texts."""
    first = read_entries(folder)[0]
    settings = read_settings(first.folder, PAIRS_TASK)
    if first.kind == "StaticEmbedding":
        raise CheckpointError(
            f"the model in {folder} is a static embedding model, which cannot read pairs."
        )
    backbone, pooling, head = load_classifier(first.folder, device, dtype)
    saved, tokenizer = _load_tokenizer(first.folder, settings)
    _check_pairs(saved, tokenizer, pooling, folder)
    check_token_ids(tokenizer, backbone, first.folder)
    encoder = PairEncoder(
        tokenizer=tokenizer,
        backbone=backbone,
        modules=_prepare([pooling, head], device),
        max_length=read_max_length(settings, tokenizer, saved, backbone, n_texts=2),
        saved_tokenizer=saved,
        **_read_identity(folder, read_entry_config(folder), source),
    )
    check_encoding(encoder, folder)
    check_labels(head, folder)
    return encoder


def _prepare(modules: list[Any], device: torch.device) -> tuple[Any, ...]:
    return tuple(module.to(device).eval().requires_grad_(False) for module in modules)


def _read_identity(folder: Path, config: Fields, source: Source | None) -> dict[str, Any]:
    """Read what identifies a model, and its prompts."""
    return {
        "fingerprint": compute_fingerprint(folder),
        "prompts": _prompts(config),
        "default_prompt": _default_prompt(config),
        "source": source,
    }


def _check_order(modules: list[Any], dim: int, folder: Path) -> None:
    """Check that modules over tokens come before pooling, and modules over embeddings after it."""
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
            f"the Pooling in {folder} expects {modules[at].dim} dimensions, but gets {wide}. Its "
            "config.json belongs to another model: fetch the model again."
        )


def _load_tokenizer(
    folder: Path, settings: Fields
) -> tuple[PreTrainedTokenizerBase, TextTokenizer]:
    """Load a tokenizer as transformers has it, and as it runs."""
    if not any(file for pattern in VOCABULARY_FILES for file in folder.glob(pattern)):
        # transformers would make a tokenizer with an empty vocabulary.
        raise CheckpointError(
            f"{folder} has no tokenizer: none of {list(VOCABULARY_FILES)}. Fetch the model again."
        )
    config: PretrainedConfig = load_config(folder)
    arguments = _tokenizer_arguments(settings) | _resolve_tokenizer_files(folder)
    with wrap_loading_errors(f"the tokenizer in {folder}"):
        saved = AutoTokenizer.from_pretrained(
            folder, config=config, trust_remote_code=False, local_files_only=True, **arguments
        )
        return saved, make_text_tokenizer(
            saved,
            lowercase=settings.flag("do_lower_case", default=False),
            special_tokens=text_processing(settings).flag("add_special_tokens", default=True),
        )


def _tokenizer_arguments(settings: Fields) -> dict[str, Any]:
    # Releases of sentence-transformers differ in the name of the key.
    given = settings.object("processor_kwargs").content or settings.object("tokenizer_args").content
    arguments = {key: value for key, value in given.items() if key != "trust_remote_code"}
    check_counts(arguments, settings.file)
    if redirecting := sorted(k for k in arguments if k in _REDIRECTING or k.endswith("_file")):
        raise CheckpointError(
            f"{settings.file} gives the tokenizer {redirecting}, which could make it read any file. "
            "That is refused: put the tokenizer's files into the folder, and remove these keys."
        )
    return arguments


def _resolve_tokenizer_files(folder: Path) -> dict[str, str | None]:
    """Replace the paths in tokenizer_config.json, of the machine that saved it, by the folder's."""
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
    """Refuse pairs that sentence-transformers or transformers tokenize differently."""
    if saved.chat_template:
        raise CheckpointError(
            f"the tokenizer in {folder} has a chat template, which sentence-transformers applies to "
            "pairs. That is not supported."
        )
    last = tokenizer.ends_pairs_with
    if pooling.modes == ("lasttoken",) and last is not None and last == saved.pad_token_id:
        raise CheckpointError(
            f"the tokenizer in {folder} ends pairs with its padding token, which the head ignores. That "
            "is not supported."
        )


def _load_static(folder: Path, device: torch.device) -> tuple[StaticBackbone, TextTokenizer]:
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
    read_json(file)  # names what is wrong with a truncated file
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
