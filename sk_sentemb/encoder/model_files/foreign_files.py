"""Refuse to save a model next to files of another program that would be loaded as part of it."""

import shutil
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoTokenizer

from .names import DEFINING_FILES, TOKENIZER_FILES, matches_any

_MODEL_FILES = (*DEFINING_FILES, "adapter_*", "*.safetensors.index.json")


def validate_foreign_files(fresh: Path, target: Path, known: Collection[str]) -> None:
    """Raise if a folder holds files that would change the model that is moved there."""
    folders = [fresh, *(path for path in fresh.iterdir() if path.is_dir())]
    for folder in folders:
        inside = folder.relative_to(fresh)
        there = target / inside
        found = [
            file
            for file in (sorted(there.iterdir()) if there.is_dir() else [])
            if (inside / file.name).as_posix() not in known and matches_any(file.name, _MODEL_FILES)
        ]
        other = [file for file in found if not matches_any(file.name, TOKENIZER_FILES)]
        if not other and found and not _is_same_tokenizer(folder, found):
            other = found
        if other:
            names = [(inside / file.name).as_posix() for file in other]
            raise FileExistsError(
                f"{target} holds {names[:5]}, which this package did not write and would "
                "load as part of the saved model. Remove them, or pass a new folder."
            )


def _is_same_tokenizer(fresh: Path, foreign: list[Path]) -> bool:
    """Return whether a tokenizer stays the same if files of another one are added."""
    if not (fresh / "tokenizer_config.json").is_file():
        return True  # only tokenizer.json is read
    with TemporaryDirectory() as scratch:
        both = Path(scratch)
        for file in fresh.iterdir():
            if file.name == "config.json" or matches_any(file.name, TOKENIZER_FILES):
                shutil.copy(file, both)
        alone = _describe_tokenizer(both)
        for file in foreign:
            if not file.is_file():
                return False
            shutil.copy(file, both)
        return alone == _describe_tokenizer(both)


def _describe_tokenizer(folder: Path) -> tuple[object, ...] | None:
    """Return what determines token ids; None for a tokenizer that cannot be loaded."""
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return None
    names = ("special_tokens_map", "model_max_length", "padding_side", "chat_template")
    return tokenizer.backend_tokenizer.to_str(), *(getattr(tokenizer, name) for name in names)
