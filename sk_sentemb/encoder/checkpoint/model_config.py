"""Load the config.json of a transformers checkpoint, after checking it."""

import re
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from ...exceptions import CheckpointError
from ..errors import wrap_loading_errors
from ..model_files import Fields, read_fields, validate_inside
from ..transformers_logging import silence_transformers

# Keys in config.json whose numbers count parts that are created one by one. The deepest models have a
# hundred layers, the widest some hundred experts.
_PARTS = re.compile("layer|depth|group|expert|block|stage|extra_ids")
_MAX_PARTS = 512
_MAX_LABELS = 10**5


def load_config(folder: Path) -> PretrainedConfig:
    """Load config.json."""
    fields = read_fields(folder / "config.json")
    check_names(fields, "configuration_files")
    fields.texts("architectures", default=[])
    if fields.text("transformers_weights", default=None) is not None:
        raise CheckpointError(
            f"{fields.file} has the key transformers_weights, which is not supported. Save the model "
            "again with save_pretrained."
        )
    check_counts(fields.content, fields.file)
    with wrap_loading_errors(f"the model in {folder}"), silence_transformers():
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        for name in ("_attn_implementation", "_experts_implementation"):
            # A checkpoint may name a kernel on the hub here, which is code.
            if hasattr(config, name):
                setattr(config, name, None)
    return config


def check_names(fields: Fields, key: str) -> None:
    """Check that the files named in a configuration are in its folder."""
    for name in fields.texts(key, default=[]):
        validate_inside(name, fields.file)


def check_counts(content: Any, file: Path, key: str = "") -> None:
    """Refuse numbers of layers, labels or tokens that would take too long to create."""
    if isinstance(content, dict):
        for name, value in content.items():
            check_counts(value, file, str(name))
    elif isinstance(content, list):
        for value in content:
            check_counts(value, file, key)
    elif isinstance(content, int | float):
        most = _MAX_LABELS if "label" in key else _MAX_PARTS if _PARTS.search(key) else None
        if most is not None and content > most:
            raise CheckpointError(
                f"{file} has {key}={content}, but at most {most} are supported. Fetch the model again."
            )
