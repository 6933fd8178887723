"""What a checkpoint's folder consists of: its modules, their settings, and what decides embeddings."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._warn import warn
from ...exceptions import CheckpointError, CheckpointWarning
from ..model_files import (
    Fields,
    compute_sha256,
    find_loaded_files,
    find_weight_files,
    is_inside,
    read_fields,
    read_json,
)
from ..modules import MODULES

SETTINGS_FILES = [
    "sentence_bert_config.json",
    *(
        f"sentence_{kind}_config.json"
        for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    ),
]
CONFIG = "config_sentence_transformers.json"
ADAPTER = "adapter_config.json"

# What a checkpoint of sentence-transformers calls a CLIP.
CLIP = "CLIPModel"
_BACKBONES = ("Transformer", "StaticEmbedding", CLIP)

# What sentence-transformers calls what embedders do, and cross-encoders.
TEXTS_TASK, PAIRS_TASK = "feature-extraction", "sequence-classification"

_KNOWN_PROCESSING = {"add_special_tokens", "padding", "return_tensors", "truncation"}


@dataclass(frozen=True)
class Entry:
    """One line of modules.json: the kind of a module and its folder."""

    kind: str
    folder: Path


def fingerprint(folder: Path) -> str:
    """Digest what makes a model what it is: weights, tokenizer, configuration.

    It covers every file of the modules' folders that a loader may open, and the weights that are read,
    so that no change of an embedding leaves it as it was. Other files do not count: it is the same
    whichever library downloaded the model.
    """
    digest = hashlib.sha256()
    for module_folder in dict.fromkeys([folder, *(entry.folder for entry in read_entries(folder))]):
        files = {*find_loaded_files(module_folder), *find_weight_files(module_folder)}
        for file in sorted(files):
            name = os.path.relpath(file, folder).replace(os.sep, "/")
            digest.update(f"{name} {compute_sha256(file)}\n".encode())
    return digest.hexdigest()


def read_entries(folder: Path) -> list[Entry]:
    """Read modules.json; without one, the folder is a plain transformers checkpoint."""
    listing = folder / "modules.json"
    if not os.path.lexists(listing):
        _refuse_adapter(folder)
        if not os.path.lexists(folder / "config.json"):
            raise CheckpointError(
                f"{folder} has neither modules.json nor config.json, so it holds no model that "
                "sentence-transformers or transformers saved."
            )
        return [Entry("Transformer", folder)]
    entries = [_entry(line, folder) for line in read_json(listing, list)]
    if not entries or entries[0].kind not in _BACKBONES:
        raise CheckpointError(f"{listing} must begin with one of {list(_BACKBONES)}.")
    _refuse_adapter(entries[0].folder)
    return entries


def _entry(line: Any, folder: Path) -> Entry:
    listing = folder / "modules.json"
    fields = Fields(line if isinstance(line, dict) else {}, listing)
    path, dotted = fields.text("path", default=None), fields.text("type", default=None)
    if path is None or dotted is None:
        raise CheckpointError(
            f"{listing} has the line {line!r:.80}, without a path and a type. Fetch the model again."
        )
    kind = dotted.rpartition(".")[2]
    if kind not in MODULES and kind not in _BACKBONES:
        raise CheckpointError(
            f"{listing} lists the module {dotted!r}, which is not supported; "
            f"supported are {sorted([*_BACKBONES, *MODULES])}."
        )
    inside = (folder / path).resolve()
    if (path and not is_inside(path)) or not inside.is_relative_to(folder.resolve()):
        raise CheckpointError(
            f"{listing} points to {path!r}, outside the checkpoint's folder. "
            "That is refused: it could read any file."
        )
    return Entry(kind, folder / path)


def _refuse_adapter(folder: Path) -> None:
    """Refuse a peft adapter, whose embeddings depend on a base model elsewhere and on peft."""
    file = folder / ADAPTER
    if os.path.lexists(file):
        base = read_fields(file).text("base_model_name_or_path", default="its base model")
        raise CheckpointError(
            f"{folder} holds an adapter of peft ({ADAPTER}) for {base!r}, which is not read as it is. "
            "Merge it into the base model and save the whole: load the base model with "
            "sentence_transformers or transformers, then "
            f"peft.PeftModel.from_pretrained(base_model, {str(folder)!r}).merge_and_unload() and "
            "save_pretrained of a new folder."
        )


def find_unlisted_modules(folder: Path) -> list[str]:
    """Return the folders of modules in a checkpoint without modules.json, which then are not read."""
    if (folder / "modules.json").exists():
        return []
    names = (entry.name for entry in os.scandir(folder) if entry.is_dir())
    return sorted(n for n in names if re.fullmatch(rf"\d+_({'|'.join(MODULES)})", n))


def warn_of_unlisted_modules(folder: Path) -> None:
    """Say that modules are not read because the list of them is missing."""
    if lost := find_unlisted_modules(folder):
        warn(
            f"{folder} has {', '.join(name + '/' for name in lost)} but no modules.json, which says "
            "that they belong to the model: it is read as a plain transformers checkpoint, without "
            "them. Fetch the model again, or remove these folders.",
            CheckpointWarning,
        )


def read_settings(folder: Path, expected_task: str) -> Fields:
    """Read sentence_bert_config.json, by any of its names; empty if there is none."""
    found = (folder / name for name in SETTINGS_FILES if (folder / name).exists())
    settings = read_fields(next(found, folder / SETTINGS_FILES[0]), required=False)
    task = settings.text("transformer_task", default=TEXTS_TASK)
    # A model that embeds sentences has its task told by its architecture.
    if task not in (TEXTS_TASK, expected_task):
        does_not = "score pairs" if expected_task == PAIRS_TASK else "embed sentences"
        raise CheckpointError(
            f"{settings.file} says transformer_task={task!r}: this model does not {does_not}."
        )
    unknown = set(text_processing(settings).content) - _KNOWN_PROCESSING
    if unknown:
        raise CheckpointError(
            f"{settings.file} asks for the text processing {sorted(unknown)}, which is not supported."
        )
    return settings


def text_processing(settings: Fields) -> Fields:
    """Return how the settings of a transformer have texts processed."""
    return settings.object("processing_kwargs").object("text")


def read_entry_config(folder: Path) -> Fields:
    """Read config_sentence_transformers.json; empty if there is none."""
    return read_fields(folder / CONFIG, required=False)
