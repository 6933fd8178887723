"""A folder in the sentence-transformers format, read into an Encoder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from .backbone import Backbone, StaticBackbone
from .encoder import Encoder, Source
from .files import DEFINING_FILES, CheckpointError, read_json, read_tensors, sha256_of
from .loading import load_backbone, load_classifier
from .modules import MODULES
from .pooling import Pooling, WeightedLayerPooling
from .tokenizer import TextTokenizer, fast_tokenizer
from .towers import KIND as CLIP
from .towers import TwoTowers, is_clip, shared_towers

_VOCABULARIES = ("tokenizer.json", "vocab*", "*.model", "*.spm", "*.tiktoken", "merges.txt")
_KNOWN_PROCESSING = {"add_special_tokens", "padding", "return_tensors", "truncation"}
SETTINGS_FILES = [
    "sentence_bert_config.json",
    *(
        f"sentence_{kind}_config.json"
        for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    ),
]
_BACKBONES = ("Transformer", "StaticEmbedding", CLIP)

# What sentence-transformers calls what embedders do, and cross-encoders.
TEXTS_TASK, PAIRS_TASK = "feature-extraction", "sequence-classification"


@dataclass(frozen=True)
class Entry:
    """One line of modules.json: the kind of a module and its folder."""

    kind: str
    folder: Path


def read_encoder(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    source: Source | None = None,
    *,
    pairs: bool = False,
) -> Encoder:
    """Load a checkpoint.

    Parameters
    ----------
    folder : Path
        In the sentence-transformers format, or a plain transformers checkpoint, which gets mean
        pooling.
    device : torch.device
        Where to put it.
    dtype : torch.dtype
        Number format of the backbone; what follows it computes in float32.
    source : Source, default=None
        The name that led to the folder.
    pairs : bool, default=False
        Whether to read it as a cross-encoder.

    Returns
    -------
    Encoder
        Ready to run.

    Raises
    ------
    NoHeadError
        With ``pairs``, if it has no head that scores pairs.
    CheckpointError
        If a file is missing, damaged, or asks for what is not supported.
    """
    first, *rest = entries_of(folder)
    task = PAIRS_TASK if pairs else TEXTS_TASK
    settings = settings_of(first.folder, task)
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
        tokenizer = fast_tokenizer(
            saved,
            lowercase=settings.get("do_lower_case", False),
            special_tokens=_text_processing(settings).get("add_special_tokens", True),
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
    config = config_of(folder)
    return Encoder(
        tokenizer=tokenizer,
        backbone=backbone,
        modules=tuple(module.to(device).eval().requires_grad_(False) for module in modules),
        max_length=_max_length(settings, tokenizer, saved, backbone),
        fingerprint=fingerprint(folder),
        prompts=config.get("prompts") or {},
        default_prompt=_default_prompt(config, folder),
        similarity=config.get("similarity_fn_name"),
        truncate_dim=config.get("truncate_dim"),
        source=source,
        saved_tokenizer=saved,
        towers=towers,
    )


def read_towers(entry: "Entry", device: torch.device, dtype: torch.dtype) -> TwoTowers | None:
    """Return the CLIP that a checkpoint begins with, which the process has once, or None."""
    if is_clip(entry.folder):
        return shared_towers(entry.folder, fingerprint(entry.folder), device, dtype)
    if entry.kind == CLIP:
        raise CheckpointError(
            f"modules.json says that {entry.folder} holds a {CLIP}, and its config.json is of another "
            "model. Fetch the model again."
        )
    return None


def fingerprint(folder: Path) -> str:
    """Digest what makes a model what it is: weights, tokenizer, configuration.

    Parameters
    ----------
    folder : Path
        A checkpoint.

    Returns
    -------
    str
        64 hexadecimal digits. Equal files give equal digits wherever they lie.
    """
    digest = hashlib.sha256()
    for module_folder in dict.fromkeys([folder, *(entry.folder for entry in entries_of(folder))]):
        files = [file for pattern in DEFINING_FILES for file in module_folder.glob(pattern)]
        weights = sorted(module_folder.glob("model*.safetensors*"))
        files += weights or module_folder.glob("pytorch_model*.bin*")
        for file in sorted(set(files)):
            digest.update(f"{file.relative_to(folder)} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def entries_of(folder: Path) -> list[Entry]:
    """Read modules.json; without one, the folder is a plain transformers checkpoint."""
    listing = folder / "modules.json"
    if not listing.is_file():
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"{folder} has neither modules.json nor config.json, so it holds no model that "
                "sentence-transformers or transformers saved."
            )
        return [Entry("Transformer", folder)]
    entries = [_entry(line, folder) for line in read_json(listing, list)]
    if not entries or entries[0].kind not in _BACKBONES:
        raise CheckpointError(f"{listing} must begin with one of {list(_BACKBONES)}.")
    return entries


def _entry(line: dict[str, Any], folder: Path) -> Entry:
    if not {"path", "type"} <= {key for key, value in line.items() if isinstance(value, str)}:
        raise CheckpointError(
            f"{folder / 'modules.json'} has the line {line}, without a path and a type."
        )
    kind = line["type"].rpartition(".")[2]
    if kind not in MODULES and kind not in _BACKBONES:
        raise CheckpointError(
            f"{folder / 'modules.json'} lists the module {line['type']!r}, which is not supported; "
            f"supported are {sorted([*_BACKBONES, *MODULES])}."
        )
    inside = (folder / line["path"]).resolve()
    if not inside.is_relative_to(folder.resolve()):
        raise CheckpointError(
            f"{folder / 'modules.json'} points to {line['path']!r}, outside the checkpoint's folder. "
            "That is refused: it could read any file."
        )
    return Entry(kind, folder / line["path"])


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


def settings_of(folder: Path, expected_task: str) -> dict[str, Any]:
    """Read sentence_bert_config.json, by any of its names; empty if there is none."""
    for name in SETTINGS_FILES:
        if (folder / name).is_file():
            settings = read_json(folder / name)
            break
    else:
        return {}
    task = settings.get("transformer_task", TEXTS_TASK)
    # A model that embeds sentences has its task told by its architecture.
    if task not in (TEXTS_TASK, expected_task):
        does_not = "score pairs" if expected_task == PAIRS_TASK else "embed sentences"
        raise CheckpointError(
            f"{folder / name} says transformer_task={task!r}: this model does not {does_not}."
        )
    unknown = set(_text_processing(settings)) - _KNOWN_PROCESSING
    if unknown:
        raise CheckpointError(
            f"{folder / name} asks for the text processing {sorted(unknown)}, which is not supported."
        )
    return settings


def _text_processing(settings: dict[str, Any]) -> dict[str, Any]:
    return (settings.get("processing_kwargs") or {}).get("text") or {}


def _max_length(
    settings: dict[str, Any],
    tokenizer: TextTokenizer,
    saved: PreTrainedTokenizerBase | None,
    backbone: Backbone | StaticBackbone,
) -> int | None:
    asked = settings.get("max_seq_length")
    if asked is None:
        asked = getattr(saved, "model_max_length", tokenizer.own_limit)
    limits = [backbone.max_length, asked]
    # transformers says "no limit" with a number beyond any text.
    known = [limit for limit in limits if limit is not None and limit < 10**9]
    return min(known, default=None)


def _read_tokenizer(folder: Path, settings: dict[str, Any]) -> PreTrainedTokenizerBase:
    # The name of the key changed over the releases.
    arguments = settings.get("processor_kwargs") or settings.get("tokenizer_args") or {}
    arguments = {key: value for key, value in arguments.items() if key != "trust_remote_code"}
    if not any(file for pattern in _VOCABULARIES for file in folder.glob(pattern)):
        # transformers would make a tokenizer that knows no words.
        raise CheckpointError(
            f"{folder} has no tokenizer: none of {list(_VOCABULARIES)}. Fetch the model again."
        )
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **arguments)
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"transformers cannot load the tokenizer in {folder}: {error} Fetch the model again."
        ) from error


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
    table = nn.Embedding.from_pretrained(vectors.float()).to(device)
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise CheckpointError(f"{file} is missing. Fetch the model again.")
    read_json(file)  # says what is wrong with a file that is cut short
    return StaticBackbone(table), TextTokenizer(
        Tokenizer.from_file(str(file)), special_tokens=False
    )


def config_of(folder: Path) -> dict[str, Any]:
    """Read config_sentence_transformers.json; empty if there is none."""
    file = folder / "config_sentence_transformers.json"
    return read_json(file) if file.is_file() else {}


def _default_prompt(config: dict[str, Any], folder: Path) -> str:
    name = config.get("default_prompt_name")
    if name is None:
        return ""
    prompts = config.get("prompts") or {}
    if name not in prompts:
        raise CheckpointError(
            f"{folder / 'config_sentence_transformers.json'} has the default_prompt_name {name!r}, "
            f"but its prompts are {sorted(prompts)}."
        )
    return prompts[name] or ""
