"""The folder of a checkpoint: its modules, their settings, and its fingerprint."""

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

# The module type of a CLIP in sentence-transformers.
CLIP = "CLIPModel"
_BACKBONES = ("Transformer", "StaticEmbedding", CLIP)

# The tasks of bi-encoders and cross-encoders in sentence-transformers.
TEXTS_TASK, PAIRS_TASK = "feature-extraction", "sequence-classification"

_KNOWN_PROCESSING = {"add_special_tokens", "padding", "return_tensors", "truncation"}


@dataclass(frozen=True)
class Entry:
    """A module in modules.json: its type and its folder."""

    kind: str
    folder: Path


def compute_fingerprint(folder: Path) -> str:
    """Return a checksum of everything that determines the embeddings of a model."""
    # It covers the weights and every other file that a loader may open. Other files do not count, so
    # that it does not depend on the library that downloaded the model.
    digest = hashlib.sha256()
    for module_folder in dict.fromkeys([folder, *(entry.folder for entry in read_entries(folder))]):
        files = {*find_loaded_files(module_folder), *find_weight_files(module_folder)}
        for file in sorted(files):
            name = os.path.relpath(file, folder).replace(os.sep, "/")
            digest.update(f"{name} {compute_sha256(file)}\n".encode())
    return digest.hexdigest()


def read_entries(folder: Path) -> list[Entry]:
    """Read modules.json; a folder without it is a checkpoint of transformers."""
    listing = folder / "modules.json"
    if not os.path.lexists(listing):
        _refuse_adapter(folder)
        if not os.path.lexists(folder / "config.json"):
            raise CheckpointError(
                f"{folder} has neither modules.json nor config.json, so it does not hold a model of "
                "sentence-transformers or transformers."
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
            f"{listing} names {path!r}, which is outside the folder of the checkpoint. That is refused, "
            "because it could be any file."
        )
    return Entry(kind, folder / path)


def _refuse_adapter(folder: Path) -> None:
    """Refuse a peft adapter, which depends on a base model elsewhere."""
    file = folder / ADAPTER
    if os.path.lexists(file):
        base = read_fields(file).text("base_model_name_or_path", default="its base model")
        raise CheckpointError(
            f"{folder} holds an adapter of peft ({ADAPTER}) for {base!r}, which cannot be loaded. "
            "Merge it into the base model and save the result: load the base model with "
            "sentence_transformers or transformers, then "
            f"peft.PeftModel.from_pretrained(base_model, {str(folder)!r}).merge_and_unload() and "
            "save_pretrained of a new folder."
        )


def find_unlisted_modules(folder: Path) -> list[str]:
    """Return the module folders that are not loaded because modules.json is missing."""
    if (folder / "modules.json").exists():
        return []
    names = (entry.name for entry in os.scandir(folder) if entry.is_dir())
    return sorted(n for n in names if re.fullmatch(rf"\d+_({'|'.join(MODULES)})", n))


def warn_unlisted_modules(folder: Path) -> None:
    """Warn of modules that are not loaded because modules.json is missing."""
    if lost := find_unlisted_modules(folder):
        warn(
            f"{folder} has {', '.join(name + '/' for name in lost)} but no modules.json that lists "
            "them: it is loaded as a plain transformers checkpoint, without them. Fetch the model "
            "again, or remove these folders.",
            CheckpointWarning,
        )


def read_settings(folder: Path, expected_task: str) -> Fields:
    """Read sentence_bert_config.json, by any of its names; empty if it is missing."""
    found = (folder / name for name in SETTINGS_FILES if (folder / name).exists())
    settings = read_fields(next(found, folder / SETTINGS_FILES[0]), required=False)
    task = settings.text("transformer_task", default=TEXTS_TASK)
    if task not in (TEXTS_TASK, expected_task):
        does_not = "score pairs" if expected_task == PAIRS_TASK else "embed sentences"
        raise CheckpointError(
            f"{settings.file} says transformer_task={task!r}: this model does not {does_not}."
        )
    unknown = set(text_processing(settings).content) - _KNOWN_PROCESSING
    if unknown:
        raise CheckpointError(
            f"{settings.file} has the text processing {sorted(unknown)}, which is not supported."
        )
    return settings


def text_processing(settings: Fields) -> Fields:
    """Return the settings of a transformer for processing texts."""
    return settings.object("processing_kwargs").object("text")


def read_entry_config(folder: Path) -> Fields:
    """Read config_sentence_transformers.json; empty if it is missing."""
    return read_fields(folder / CONFIG, required=False)
