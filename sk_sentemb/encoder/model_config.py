"""The config.json of a transformers checkpoint, checked before anything is made of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from .fields import Fields, read_fields
from .files import CheckpointError, is_inside
from .quiet import quiet_transformers
from .running import is_out_of_memory

# Numbers of a config.json under such names count parts that are made one by one. The deepest models have
# a hundred layers, the widest some hundred experts.
_PARTS = re.compile("layer|depth|group|expert|block|stage|extra_ids")
_MOST_PARTS = 512
_MOST_LABELS = 10**5


def read_config(folder: Path) -> PretrainedConfig:
    """Read config.json."""
    fields = read_fields(folder / "config.json")
    check_names(fields, "configuration_files")
    fields.texts("architectures", default=[])
    if fields.text("transformers_weights", default=None) is not None:
        raise CheckpointError(
            f"{fields.file} names other weights than the usual ones (transformers_weights), which is "
            "not supported. Save the model anew with save_pretrained."
        )
    check_counts(fields.content, fields.file)
    with reading(f"the model in {folder}"), quiet_transformers():
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        for name in ("_attn_implementation", "_experts_implementation"):
            # What a checkpoint names here may be a kernel on the hub, which is code.
            if hasattr(config, name):
                setattr(config, name, None)
    return config


def check_names(fields: Fields, key: str) -> None:
    """Make sure that the files that a configuration refers to are in its folder."""
    for name in fields.texts(key, default=[]):
        if not is_inside(name):
            raise CheckpointError(
                f"{fields.file} names the file {name!r}, outside the checkpoint's folder. That is "
                "refused: it could read any file."
            )


def check_counts(content: Any, file: Path, key: str = "") -> None:
    """Refuse numbers of layers, labels or tokens that would take forever to make."""
    if isinstance(content, dict):
        for name, value in content.items():
            check_counts(value, file, str(name))
    elif isinstance(content, list):
        for value in content:
            check_counts(value, file, key)
    elif isinstance(content, int | float):
        most = _MOST_LABELS if "label" in key else _MOST_PARTS if _PARTS.search(key) else None
        if most is not None and content > most:
            raise CheckpointError(
                f"{file} has {key}={content}, but at most {most} are supported. Fetch the model again."
            )


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Say in one way what transformers and tokenizers say in many."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise CheckpointError(
            f"transformers cannot load {what}: {type(error).__name__}: {error} If a file is cut short "
            "or missing, fetch the model again."
        ) from error
