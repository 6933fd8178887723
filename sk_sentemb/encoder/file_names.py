"""The names that files of a saved model can have, for names that come out of a file of somebody else."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from .files import DEFINING_FILES, SAFETENSORS

# Everything that `write_encoder` and `write_image_encoder` write, in the folder or in a module's.
_KNOWN = (
    *DEFINING_FILES,
    *(SAFETENSORS, "generation_config.json", "chat_template.jinja", "*.spm", "*.tiktoken"),
)
_MODULE_FOLDER = re.compile(r"\d+_[A-Za-z]+")
# No separator, drive or control character of any system, and nothing hidden.
_PLAIN = re.compile(r"[^./\\:\x00-\x1f][^/\\:\x00-\x1f]*")


def validate_file_names(names: Iterable[object]) -> None:
    """Raise unless all are names of a saved model's files, relative to its folder."""
    for name in names:
        if not isinstance(name, str) or not is_file_of_model(name):
            raise ValueError(
                f"{str(name)[:200]!r} is not the name of a file of a saved model, so nothing was "
                "written. Do not trust where this model comes from."
            )


def is_file_of_model(name: str) -> bool:
    """Say whether a saved model may have a file of this name, relative to its folder."""
    folder, separator, file = name.rpartition("/")
    if separator and not _MODULE_FOLDER.fullmatch(folder):
        return False
    known = any(fnmatchcase(file, pattern) for pattern in _KNOWN)
    return known and _PLAIN.fullmatch(file) is not None
