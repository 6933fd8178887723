"""Encoders as plain data, for pickles and skops: the name and fingerprint of a model, or its files."""

import copyreg
import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .._warn import warn
from ..exceptions import DeviceWarning
from ._base import BaseEncoder
from .checkpoint import save_encoder
from .device import select_device, select_dtype
from .image_encoder import ImageEncoder
from .model_files import validate_file_names
from .pair_encoder import PairEncoder
from .registry import LOADERS, get_or_load, load_model
from .text_encoder import TextEncoder

# The attributes, apart from pooling and normalization, that `replace` may have changed.
_SETTINGS = ("max_length", "default_prompt", "truncate_dim")


def encoder_to_state(encoder: Any, *, embed: bool = False) -> dict[str, Any]:
    """Return what restores an encoder, as strings, numbers and bytes."""
    state: dict[str, Any] = {
        "reads": encoder.reads,
        "fingerprint": encoder.fingerprint,
        "device": encoder.device.type,
        "dtype": encoder.dtype,
        "pooling": [*encoder.pooling] if encoder.reads != "images" else encoder.pooling,
        "normalize": encoder.normalizes,
        "settings": {name: getattr(encoder, name) for name in _SETTINGS if hasattr(encoder, name)},
    }
    if not embed and encoder.source is not None:
        return state | {"model": encoder.source.model, "revision": encoder.source.revision}
    # The folder of an image model cannot express every pooling, so the original one is saved.
    saved = encoder.origin or encoder if encoder.reads == "images" else encoder
    return state | {"files": _save_to_memory(saved)}


def encoder_from_state(
    state: dict[str, Any], key: str | None = None, carried: str | None = None
) -> Any:
    """Restore an encoder on its device or, where there is none, on the best one available."""
    reads, fingerprint = state["reads"], state["fingerprint"]
    device = _select_available(state["device"])
    encoder: Any
    if "files" in state:
        # The state may be untrusted: nothing is written before all names are checked.
        validate_file_names(state["files"])
        on = select_device(device)
        dtype = select_dtype(state["dtype"], on)
        if key is None:
            key = carried = _compute_key(state["files"], fingerprint)
        load = partial(LOADERS[reads], device=on, dtype=dtype)
        encoder = get_or_load(
            (key, str(on), str(dtype), reads),
            lambda: _load_from_memory(state["files"], fingerprint, load, carried or ""),
        )
    else:
        encoder = load_model(
            reads,
            state["model"],
            revision=state["revision"],
            device=device,
            dtype=state["dtype"],
            expected_fingerprint=fingerprint,
        )
    encoder = encoder.with_pooling(pooling=state["pooling"], normalize=state["normalize"])
    changed = {
        name: state["settings"][name]
        for name in _SETTINGS
        if name in state["settings"] and getattr(encoder, name) != state["settings"][name]
    }
    return encoder.replace(**changed) if changed else encoder


def _select_available(device: str) -> str | None:
    """Return a device, or None for the best one if it is not available."""
    try:
        select_device(device)
    except ValueError:
        warn(
            f"The pickled encoder was on {device!r}, which is not available; using "
            f"{select_device(None).type!r} instead.",
            DeviceWarning,
        )
        return None
    return device


def _save_to_memory(encoder: Any) -> dict[str, bytes]:
    """Save an encoder, and return the files by relative path."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_encoder(encoder, folder)
        found = sorted(file for file in folder.rglob("*") if file.is_file())
        files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}
    validate_file_names(files)  # fail here rather than in the process that loads them
    return files


def _load_from_memory(
    files: dict[str, bytes], fingerprint: str, load: Callable[[Path], Any], carried: str
) -> Any:
    """Load an encoder from files under its former fingerprint.

    If that is not the fingerprint of the files, embeddings are not cached as those of the model that
    has it.
    """
    with TemporaryDirectory() as scratch:
        for name, content in files.items():
            file = Path(scratch, name)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        encoder = load(Path(scratch))
        is_true = encoder.fingerprint == fingerprint
        return replace(encoder, fingerprint=fingerprint, carried="" if is_true else carried)


def _compute_key(files: dict[str, bytes], fingerprint: str) -> str:
    """Return the key in the registry of a model in a state."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"\n{name} {len(content)}\n".encode())
        digest.update(content)
    return f"{fingerprint} carried {digest.hexdigest()}"


def _reduce(encoder: BaseEncoder) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return how a pickle restores an encoder, which a worker does for each block of texts."""
    state = encoder_to_state(encoder)
    if "files" not in state:
        return encoder_from_state, (state,)
    # A pickle is trusted anyway, so the files need no checksum each time.
    labels = encoder.head.labels if isinstance(encoder, PairEncoder) else None
    modules = encoder._common_params()["modules"]
    settings = [state["pooling"], state["normalize"], modules, labels]
    key = f"{encoder.fingerprint} {encoder.carried} pickled {settings}"
    return encoder_from_state, (state, key, encoder.carried)


# `pickle` and `joblib` meet encoders as the `model` of an estimator.
for _class in (TextEncoder, PairEncoder, ImageEncoder):
    copyreg.pickle(_class, _reduce)
