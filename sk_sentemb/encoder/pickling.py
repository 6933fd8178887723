"""An encoder as plain data, for pickles: the name and fingerprint of its weights, or the weights."""

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
from .checkpoint import read_encoder, write_encoder
from .device import select_device, select_dtype
from .model_files import validate_file_names
from .registry import E, load_encoder, shared
from .text_encoder import Encoder

# What `Encoder.replace` may have changed, beside pooling and normalisation.
_SETTINGS = ("max_length", "default_prompt", "truncate_dim")


def encoder_to_state(encoder: Encoder, *, embed: bool = False) -> dict[str, Any]:
    """Return what is needed to get an encoder again, as strings, numbers and bytes."""
    state: dict[str, Any] = {
        "fingerprint": encoder.fingerprint,
        "device": encoder.device.type,
        "dtype": encoder.dtype,
        "pooling": list(encoder.pooling),
        "normalize": encoder.normalizes,
        "modules": encoder.encoding_params()["modules"],
        "labels": encoder.head.labels if encoder.head is not None else None,
        "pairs": encoder.head is not None,
        "settings": {name: getattr(encoder, name) for name in _SETTINGS},
    }
    if embed or encoder.source is None:
        return state | {"files": to_files(partial(write_encoder, encoder))}
    return state | {"model": encoder.source.model, "revision": encoder.source.revision}


def encoder_from_state(
    state: dict[str, Any], key: str | None = None, carried: str | None = None
) -> Encoder:
    """Get an encoder again, on the device it was on or, where there is none, on the best there is."""
    device = available(state["device"])
    pairs = state.get("pairs", False)  # not in those of earlier versions
    if "files" in state:
        on = select_device(device)
        dtype = select_dtype(state["dtype"], on)
        folder_reader = partial(read_encoder, device=on, dtype=dtype, pairs=pairs)
        if key is None:
            key = carried = compute_key(state["files"], state["fingerprint"])
        read = from_files(state["files"], state["fingerprint"], folder_reader, carried or "")
        encoder = shared((key, str(on), str(dtype), "pairs" if pairs else "texts"), read)
    else:
        encoder = load_encoder(
            state["model"],
            revision=state["revision"],
            device=device,
            dtype=state["dtype"],
            pairs=pairs,
            expected_fingerprint=state["fingerprint"],
        )
    encoder = encoder.with_pooling(pooling=state["pooling"], normalize=state["normalize"])
    settings = {name: state["settings"][name] for name in _SETTINGS}
    changed = {k: v for k, v in settings.items() if getattr(encoder, k) != v}
    return encoder.replace(**changed) if changed else encoder


def available(device: str) -> str | None:
    """Return a device, or None for the best there is where it is not here."""
    try:
        select_device(device)
    except ValueError:
        warn(
            f"this encoder was on {device!r}, which is not here; it goes on the best device there is.",
            DeviceWarning,
        )
        return None
    return device


def to_files(write: Callable[[Path], object]) -> dict[str, bytes]:
    """Return what is written to an empty folder, by path."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder)
        found = sorted(file for file in folder.rglob("*") if file.is_file())
        files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}
    validate_file_names(files)  # rather than in the process that loads them
    return files


def from_files(
    files: dict[str, bytes], fingerprint: str, read_folder: Callable[[Path], E], carried: str
) -> Callable[[], E]:
    """Return a function that reads an encoder from such files, under its old fingerprint.

    The source may be untrusted: nothing is written unless all are named like files of a model, and the
    embeddings are not kept as those of another model that has the fingerprint.
    """
    validate_file_names(files)

    def read() -> E:
        with TemporaryDirectory() as scratch:
            for name, content in files.items():
                file = Path(scratch, name)
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(content)
            encoder: Any = read_folder(Path(scratch))
            is_true = encoder.fingerprint == fingerprint
            return replace(encoder, fingerprint=fingerprint, carried="" if is_true else carried)

    return read


def compute_key(files: dict[str, bytes], fingerprint: str) -> str:
    """Return the registry's key for a model that a state carries: a digest of its files."""
    validate_file_names(files)
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"\n{name} {len(content)}\n".encode())
        digest.update(content)
    return f"{fingerprint} carried {digest.hexdigest()}"


def _reduce(encoder: Encoder) -> tuple[Callable[..., Encoder], tuple[Any, ...]]:
    """Return how a pickle restores an encoder, which a worker does for each block of texts."""
    state = encoder_to_state(encoder)
    # A pickle is trusted anyway, and need not be digested each time.
    settings = [state[name] for name in ("pooling", "normalize", "modules", "labels")]
    key = f"{encoder.fingerprint} {encoder.carried} pickled {settings}"
    return encoder_from_state, ((state, key, encoder.carried) if "files" in state else (state,))


# `pickle` and `joblib` meet an Encoder as the `model` of an estimator.
copyreg.pickle(Encoder, _reduce)
