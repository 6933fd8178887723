"""The files of a checkpoint: JSON and tensors, read without unpickling anything."""

import hashlib
import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"

# What decides a model's vectors beside its weights: without one of these it may load all the same,
# and be another model.
DEFINING_FILES = (
    *("modules.json", "config*.json", "sentence_*_config.json"),
    *("tokenizer*", "vocab*", "merges.txt", "*.model", "special_tokens_map.json"),
    *("added_tokens.json", "*processor_config.json"),
)


class CheckpointError(ValueError):
    """A checkpoint's file is missing, damaged or not what this package reads."""


class NoHeadError(CheckpointError):
    """A model that shall score pairs has no head for that."""


def read_json(file: Path, kind: type = dict) -> Any:
    """Read a JSON file of a checkpoint, which must hold an object, or another kind of value."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing. Fetch the model again.") from error
    except ValueError as error:
        raise CheckpointError(
            f"{file} is not valid JSON: {error}. Fetch the model again."
        ) from error
    if not isinstance(content, kind):
        raise CheckpointError(
            f"{file} holds a {type(content).__name__}, not a {kind.__name__}. Fetch the model again."
        )
    return content


def write_json(file: Path, content: dict[str, Any] | list[Any]) -> None:
    """Write a JSON file of a checkpoint, and its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def require(config: dict[str, Any], folder: Path, *names: str) -> Any:
    """Return the value of the first of several names of a key that a config.json has."""
    for name in names:
        if name in config:
            return config[name]
    raise CheckpointError(f"{folder / 'config.json'} lacks the key {names[0]!r}.")


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a module's folder: safetensors first, else ``pytorch_model.bin``."""
    for name in (SAFETENSORS, PICKLED):
        file = folder / name
        if file.is_file():
            return _read_file(file)
    raise CheckpointError(
        f"{folder} has neither {SAFETENSORS} nor {PICKLED}. The download may be unfinished: "
        "fetch the model again."
    )


def _read_file(file: Path) -> dict[str, torch.Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, UnpicklingError) as error:
        raise CheckpointError(
            f"{file} cannot be read as weights; it may be cut short or damaged. Fetch the model "
            f"again. ({type(error).__name__}: {error})"
        ) from error


def load_tensors(module: torch.nn.Module, folder: Path) -> None:
    """Fill a module with the weights in its folder; every name and shape must fit."""
    tensors = read_tensors(folder)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {folder} do not fit its config.json: {error} Fetch the model again, or "
            "save it anew with the library that made it."
        ) from error


# A file is read once per process however many models are resolved: the stamp says it is unchanged.
_DIGESTS: dict[tuple[str, int, int, int, int], str] = {}


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file's content, as hexadecimal digits."""
    status = file.stat()
    # Copies keep sizes and times of modification; the time of change and the inode they cannot keep.
    stamp = (
        str(file.resolve()),
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )
    if stamp not in _DIGESTS:
        with file.open("rb") as stream:
            _DIGESTS[stamp] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _DIGESTS[stamp]
