"""An encoder of images as plain data, for pickles, as `portable` has it for one of texts."""

import copyreg
from functools import partial
from typing import Any

from .checkpoint import read_image_encoder, write_image_encoder
from .device import select_device, select_dtype
from .image_encoder import ImageEncoder
from .pickling import available, compute_key, from_files, to_files
from .registry import load_image_encoder, shared


def image_encoder_to_state(encoder: ImageEncoder, *, embed: bool = False) -> dict[str, Any]:
    """Return what is needed to get an encoder again, as strings, numbers and bytes."""
    state: dict[str, Any] = {
        "fingerprint": encoder.fingerprint,
        "device": encoder.device.type,
        "dtype": encoder.dtype,
        "pooling": encoder.pooling,
        "normalize": encoder.normalizes,
        "truncate_dim": encoder.truncate_dim,
    }
    if embed or encoder.source is None:
        # As the checkpoint has it, which such files can say.
        whole = encoder.origin or encoder
        return state | {"files": to_files(partial(write_image_encoder, whole))}
    return state | {"model": encoder.source.model, "revision": encoder.source.revision}


def image_encoder_from_state(state: dict[str, Any]) -> ImageEncoder:
    """Get an encoder again, on the device it was on or, where there is none, on the best there is."""
    device = available(state["device"])
    if "files" in state:
        on = select_device(device)
        dtype = select_dtype(state["dtype"], on)
        folder_reader = partial(read_image_encoder, device=on, dtype=dtype)
        key = compute_key(state["files"], state["fingerprint"])
        read = from_files(state["files"], state["fingerprint"], folder_reader, carried=key)
        encoder = shared((key, str(on), str(dtype), "images"), read)
    else:
        encoder = load_image_encoder(
            state["model"],
            revision=state["revision"],
            device=device,
            dtype=state["dtype"],
            expected_fingerprint=state["fingerprint"],
        )
    encoder = encoder.with_pooling(pooling=state["pooling"], normalize=state["normalize"])
    if encoder.truncate_dim != state["truncate_dim"]:
        encoder = encoder.replace(truncate_dim=state["truncate_dim"])
    return encoder


# `pickle` and `joblib` meet an ImageEncoder as the `model` of an estimator.
copyreg.pickle(
    ImageEncoder,
    lambda encoder: (image_encoder_from_state, (image_encoder_to_state(encoder),)),
)
