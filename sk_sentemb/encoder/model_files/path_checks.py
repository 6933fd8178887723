"""Check names of files that come from a checkpoint or a saved state, which may be untrusted."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ...exceptions import CheckpointError
from .names import DEFINING_FILES, SAFETENSORS, matches_any

# All that `save_encoder` writes, in the folder or in the folder of a module.
_WRITTEN = (*DEFINING_FILES, SAFETENSORS, "generation_config.json", "chat_template.jinja")
_MODULE_FOLDER = re.compile(r"\d+_[A-Za-z]+")
# No separator, drive or control character of any system, and nothing hidden.
_PLAIN = re.compile(r"[^./\\:\x00-\x1f][^/\\:\x00-\x1f]*")


def validate_file_names(names: Iterable[object]) -> None:
    """Raise unless all are names of files of a saved model, relative to its folder."""
    for name in names:
        if not isinstance(name, str) or not is_model_file(name):
            raise ValueError(
                f"{str(name)[:200]!r} is not the name of a file of a saved model, so nothing was "
                "written. Do not trust the origin of this model."
            )


def is_model_file(name: str) -> bool:
    """Return whether a saved model may have a file of this name, relative to its folder."""
    folder, separator, file = name.rpartition("/")
    if separator and not _MODULE_FOLDER.fullmatch(folder):
        return False
    return matches_any(file, _WRITTEN) and _PLAIN.fullmatch(file) is not None


def validate_inside(name: object, source: Path) -> None:
    """Raise unless a file named in a checkpoint is inside its folder."""
    if not isinstance(name, str) or not is_inside(name):
        raise CheckpointError(
            f"{source} names the file {name!r}, which is outside the folder of the checkpoint. That is "
            "refused, because it could be any file. Put it into the folder, and its new name there."
        )


def is_inside(name: str) -> bool:
    """Return whether a relative path stays inside its folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(name) and not path.is_absolute() and ".." not in path.parts and ":" not in name
