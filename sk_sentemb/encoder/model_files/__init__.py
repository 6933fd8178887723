"""Single files of a model folder: names, checksums, JSON and tensors."""

from .atomic_folder import new_folder
from .fields import Fields, read_fields
from .names import (
    DEFINING_FILES,
    SAFETENSORS,
    VOCABULARY_FILES,
    compute_sha256,
    find_loaded_files,
    matches_any,
    read_json,
    write_json,
)
from .path_checks import is_inside, validate_file_names, validate_inside
from .weights import find_weight_files, load_tensors, read_tensors

__all__ = [
    "DEFINING_FILES",
    "SAFETENSORS",
    "VOCABULARY_FILES",
    "Fields",
    "compute_sha256",
    "find_loaded_files",
    "find_weight_files",
    "is_inside",
    "load_tensors",
    "matches_any",
    "new_folder",
    "read_fields",
    "read_json",
    "read_tensors",
    "validate_file_names",
    "validate_inside",
    "write_json",
]
