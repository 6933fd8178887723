"""The files of a checkpoint: which are read, their JSON and their checksums."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ...exceptions import CheckpointError

SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"

VOCABULARY_FILES = ("tokenizer.json", "vocab*", "*.model", "*.spm", "*.tiktoken", "merges.txt")
TOKENIZER_FILES = (
    *("tokenizer*", *VOCABULARY_FILES, "special_tokens_map.json", "added_tokens.json"),
    *("chat_template*", "*vocab*", "*.tokenizer", "tekken.json", "dict.txt", "bpe.codes"),
    *("emoji.json", "byte_maps.json", "word_*.json", "normalizer.json"),
)

# The files that determine embeddings, apart from weights: without one a model may still load, but as
# another model. Other files, which only some downloads contain, are not read and do not count.
DEFINING_FILES = (
    *("modules.json", "config*.json", "sentence_*_config.json"),
    *(*TOKENIZER_FILES, "*processor_config.json"),
)

# The largest vocabularies have about 50 MB.
_MAX_BYTES = 2**29


def check_regular(file: Path) -> None:
    """Raise unless a path leads to a regular file, of which reads cannot block."""
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        broken = " It is a link to a file that does not exist." if file.is_symlink() else ""
        raise CheckpointError(f"{file} is missing.{broken} Fetch the model again.") from error
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error}. Fetch the model again.") from error
    if not stat.S_ISREG(mode):
        raise CheckpointError(
            f"{file} is not a regular file but a folder, a pipe, a socket or a device. Fetch the model "
            "again."
        )


def find_loaded_files(folder: Path) -> list[Path]:
    """Return the files, apart from weights, that a loader may open; all must be regular."""
    if not folder.is_dir():  # as for modules without settings
        return []
    names = [name for name in os.listdir(folder) if matches_any(name, DEFINING_FILES)]
    files = [folder / name for name in sorted(names) if not (folder / name).is_dir()]
    for file in files:
        check_regular(file)
        _check_size(file)
    return files


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Return whether the name of a file matches one of several patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_size(file: Path) -> None:
    if file.stat().st_size > _MAX_BYTES:
        raise CheckpointError(
            f"{file} has {file.stat().st_size:,} bytes, which is too large for a file of settings or a "
            "vocabulary. Fetch the model again."
        )


def read_json(file: Path, expected: type = dict) -> Any:
    """Read a JSON file of a checkpoint, which must hold an object or a value of another type."""
    check_regular(file)
    _check_size(file)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file} is not valid JSON: {error}. Fetch the model again."
        ) from error
    if not isinstance(content, expected):
        raise CheckpointError(
            f"{file} holds a {type(content).__name__}, not a {expected.__name__}. Fetch the model again."
        )
    return content


def write_json(file: Path, content: dict[str, Any] | list[Any]) -> None:
    """Write a JSON file of a checkpoint, and create its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


# A file is read once per process, as long as its stamp shows that it is unchanged.
_DIGESTS: dict[tuple[str, int, int, int, int], str] = {}


def compute_sha256(file: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    status = file.stat()
    # Copies keep size and modification time, but not the change time and the inode.
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
