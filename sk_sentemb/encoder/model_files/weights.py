"""Read the weights in the folder of a module, without unpickling code."""

import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ...exceptions import CheckpointError
from .fields import read_fields
from .names import PICKLED, SAFETENSORS, check_regular
from .path_checks import validate_inside

_INDEX = ".index.json"
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def find_weight_files(folder: Path) -> list[Path]:
    """Return the files of weights that are read: one, or the shards that an index names."""
    # No other file of weights is opened, so a fingerprint has to cover these.
    for name in (SAFETENSORS, SAFETENSORS + _INDEX, PICKLED, PICKLED + _INDEX):
        file = folder / name
        if os.path.lexists(file):
            files = _shards(file) if name.endswith(_INDEX) else [file]
            for each in files:
                _check_file(each)
            return files
    return []


def _check_file(file: Path) -> None:
    """Raise if a file cannot be read, without reading all of it."""
    check_regular(file)
    if file.suffix == ".safetensors":
        try:
            # This compares the header with the size of the file.
            with safe_open(file, "pt"):
                pass
        except SafetensorError as error:
            raise _damaged(file, error) from error


def _shards(index: Path) -> list[Path]:
    """Return the files that an index names, which must be inside its folder."""
    names = read_fields(index).object("weight_map").content.values()
    for name in names:
        validate_inside(name, index)
        if not name.endswith((".safetensors", ".bin")):
            raise CheckpointError(
                f"{index} names {name!r}, which is neither a .safetensors nor a .bin file. Save the "
                "model again with the library that made it."
            )
    return [index.parent / name for name in sorted(set(names))]


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read the weights in the folder of a module, which must be finite."""
    # They are memory-mapped, so that the header of a file does not determine how much is allocated.
    files = find_weight_files(folder)
    if not files:
        raise CheckpointError(
            f"{folder} has neither {SAFETENSORS} nor {PICKLED}. The download may be unfinished: "
            "fetch the model again."
        )
    tensors: dict[str, Tensor] = {}
    for file in files:
        read = _read_file(file)
        _check_finite(read, file)
        tensors |= read
    return tensors


def _read_file(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        is_archive = zipfile.is_zipfile(file)
        if is_archive:
            _check_not_compressed(file)
        read = torch.load(file, map_location="cpu", weights_only=True, mmap=is_archive)
    # Damaged pickles fail in many ways, none of which names the file.
    except CheckpointError:
        raise
    except Exception as error:
        raise _damaged(file, error) from error
    _check_is_state(read, file)
    return read


def _damaged(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{file} cannot be read as weights; it may be cut short or damaged. Fetch the model "
        f"again. ({type(error).__name__}: {error})"
    )


def _check_not_compressed(file: Path) -> None:
    """Refuse a compressed archive, which torch does not write and which may be a bomb."""
    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > file.stat().st_size:
            raise CheckpointError(
                f"{file} is compressed, which torch.save does not do: it could fill the memory. Save "
                "the model again, as safetensors."
            )


def _check_is_state(read: Any, file: Path) -> None:
    """Check that a pickle holds named tensors, none larger than the file itself."""
    if not isinstance(read, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in read.items()
    ):
        raise CheckpointError(
            f"{file} does not hold a dictionary of named tensors, as model.state_dict() gives it. Save "
            "the model again with the library that made it."
        )
    for name, tensor in read.items():
        if tensor.numel() * tensor.element_size() > file.stat().st_size:
            raise CheckpointError(
                f"{file} has the tensor {name!r} of the shape {tuple(tensor.shape)}, which is larger "
                "than the file. Fetch the model again."
            )


def _check_finite(tensors: dict[str, Tensor], file: Path) -> None:
    for name, tensor in tensors.items():
        # A sum takes one pass and no memory. If it is finite, so are all values.
        if tensor.dtype not in _FLOATS or tensor.sum(dtype=torch.float32).isfinite():
            continue
        if not tensor.isfinite().all():
            raise CheckpointError(
                f"{file} has values in {name!r} that are not finite (NaN or infinity). Its training may "
                "have diverged: use an earlier checkpoint, or fetch the model again."
            )


def load_tensors(module: torch.nn.Module, folder: Path) -> None:
    """Load the weights in a folder into a module on the meta device; all must fit."""
    # Copies, because memory-mapped tensors change with their file.
    tensors = {name: t.to(torch.float32, copy=True) for name, t in read_tensors(folder).items()}
    try:
        module.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {folder} do not fit its config.json: {error} Fetch the model again, or "
            "save it again with the library that made it."
        ) from error
