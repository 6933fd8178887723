"""An encoder of images as plain data, for pickles, as `portable` has it for one of texts."""

import copyreg
from functools import partial
from typing import Any

from .checkpoint import read_image_encoder, write_image_encoder
from .device import pick_device, pick_dtype
from .image_encoder import ImageEncoder
from .pickling import available, compute_key, from_files, to_files
from .registry import load_image_encoder, shared


def dismantle_images(encoder: ImageEncoder, *, embed: bool = False) -> dict[str, Any]:
    """Return what is needed to get an encoder again, as strings, numbers and bytes.

    Parameters
    ----------
    encoder : ImageEncoder
        What to take apart.
    embed : bool, default=False
        Whether to carry the weights. An encoder that no name leads to always carries them.

    Returns
    -------
    dict
        For :func:`assemble_images`.
    """
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


def assemble_images(state: dict[str, Any]) -> ImageEncoder:
    """Get an encoder again, on the device it was on or, where there is none, on the best there is.

    Parameters
    ----------
    state : dict
        From :func:`dismantle_images`.

    Returns
    -------
    ImageEncoder
        The process's own copy, if it has one.

    Raises
    ------
    ModelNotFoundError
        If the name leads nowhere here.
    ModelChangedError
        If the weights are not those that were taken apart.
    """
    device = available(state["device"])
    if "files" in state:
        on = pick_device(device)
        dtype = pick_dtype(state["dtype"], on)
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
    encoder = encoder.configured(pooling=state["pooling"], normalize=state["normalize"])
    if encoder.truncate_dim != state["truncate_dim"]:
        encoder = encoder.derived(truncate_dim=state["truncate_dim"])
    return encoder


# `pickle` and `joblib` meet an ImageEncoder as the `model` of an estimator.
copyreg.pickle(ImageEncoder, lambda encoder: (assemble_images, (dismantle_images(encoder),)))
