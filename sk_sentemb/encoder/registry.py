"""One copy of each model per process, however many estimators, clones and threads use it."""

import logging
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ..exceptions import ModelChangedError
from ._base import BaseEncoder, Source, to_python_scalar
from .checkpoint import (
    compute_fingerprint,
    load_image_checkpoint,
    load_pair_checkpoint,
    load_text_checkpoint,
    resolve_model,
)
from .device import select_device, select_dtype
from .image_encoder import ImageEncoder
from .isolation import ForkSafeLock, isolated
from .text_encoder import Encoder

logger = logging.getLogger(__name__)

# Functions that load a folder, by what the model reads.
LOADERS: dict[str, Callable[..., Any]] = {
    "texts": load_text_checkpoint,
    "pairs": load_pair_checkpoint,
    "images": load_image_checkpoint,
}

# The fingerprint of the files, the device, the dtype, and what the model reads.
Key = tuple[str, str, str, str]

# The models in use, and those used last, even if they are not in use: a grid search drops each
# candidate before it makes the next one. The last two stay whatever their size, and more of them as
# long as they fit into a number of bytes.
_in_use: WeakValueDictionary[Key, BaseEncoder] = WeakValueDictionary()
_recent: OrderedDict[Key, BaseEncoder] = OrderedDict()
_N_RECENT = 2
_RECENT_BYTES = 2 * 10**9
_LOCK = ForkSafeLock()


def load_encoder(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "float32",
    pairs: bool = False,
    expected_fingerprint: str | None = None,
) -> Encoder:
    """Load a model of texts, or return the copy of it that the process has.

    Parameters
    ----------
    model : str or path-like
        A folder, or the name of a model on the Hugging Face hub; see :ref:`model-resolution`.
    revision : str, default=None
        A branch, tag or commit of the repository on the hub.
    device : str, default=None
        ``"cpu"``, ``"cuda"``, ``"mps"``, …. If None, use the fastest available device.
    dtype : {"float32", "bfloat16", "float16", "auto"}, default="float32"
        The dtype of the transformer. ``"auto"`` selects the fastest that the device supports natively.
    pairs : bool, default=False
        Whether to load the model as a cross-encoder, whose :meth:`Encoder.encode` takes pairs of texts
        and returns logits.
    expected_fingerprint : str, default=None
        If given, refuse a model with another fingerprint.

    Returns
    -------
    Encoder
        The loaded model.

    Raises
    ------
    ModelNotFoundError
        If the model is not found.
    NoHeadError
        If ``pairs`` is True and the model has no classification head.
    CheckpointError
        If a file of the model is missing, damaged or not supported.
    ModelChangedError
        If the fingerprint is not the expected one.

    Examples
    --------
    >>> from sk_sentemb import load_encoder
    >>> encoder = load_encoder("all-MiniLM-L6-v2", device="cpu")
    >>> encoder.encode(["A text.", "Another one."]).vectors.shape
    (2, 384)
    """
    reads = "pairs" if pairs else "texts"
    return load_model(
        reads,
        model,
        revision=revision,
        device=device,
        dtype=dtype,
        expected_fingerprint=expected_fingerprint,
    )


def load_image_encoder(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "float32",
    expected_fingerprint: str | None = None,
) -> ImageEncoder:
    """Load a model of images, or return the copy of it that the process has.

    The text encoder and the image encoder of a CLIP share one model in memory.

    Parameters
    ----------
    model : str or path-like
        A folder, or the name of a model on the Hugging Face hub; see :ref:`model-resolution`.
    revision : str, default=None
        A branch, tag or commit of the repository on the hub.
    device : str, default=None
        ``"cpu"``, ``"cuda"``, ``"mps"``, …. If None, use the fastest available device.
    dtype : {"float32", "bfloat16", "float16", "auto"}, default="float32"
        The dtype of the transformer. ``"auto"`` selects the fastest that the device supports natively.
    expected_fingerprint : str, default=None
        If given, refuse a model with another fingerprint.

    Returns
    -------
    ImageEncoder
        The loaded model.

    Raises
    ------
    ModelNotFoundError
        If the model is not found.
    CheckpointError
        If a file of the model is missing, damaged or not supported.
    ModelChangedError
        If the fingerprint is not the expected one.
    ImportError
        If Pillow is not installed.
    """
    return load_model(
        "images",
        model,
        revision=revision,
        device=device,
        dtype=dtype,
        expected_fingerprint=expected_fingerprint,
    )


def load_model(
    reads: str,
    model: str | os.PathLike[str],
    *,
    revision: str | None,
    device: str | None,
    dtype: str,
    expected_fingerprint: str | None,
) -> Any:
    """Load a model by name, as one of texts, pairs or images."""
    model, revision, device, dtype = to_python_scalar((model, revision, device, dtype))
    folder = resolve_model(model, revision)
    fingerprint = compute_fingerprint(folder)
    if expected_fingerprint is not None and fingerprint != expected_fingerprint:
        raise ModelChangedError(
            f"the files of the model {os.fspath(model)!r} in {folder} have changed: its fingerprint is "
            f"{fingerprint}, expected {expected_fingerprint}. Restore the files, or fit again."
        )
    on = select_device(device)
    torch_dtype = select_dtype(dtype, on)
    source = Source(_make_name_absolute(model), revision)

    def load() -> Any:
        encoder = LOADERS[reads](folder, on, torch_dtype, source)
        # If another process is writing the folder, weights get a wrong fingerprint, under which a
        # disk cache would keep their embeddings.
        if encoder.fingerprint != fingerprint:
            raise ModelChangedError(
                f"the model in {folder} changed while it was loaded. Try again."
            )
        return encoder

    encoder = get_or_load((fingerprint, str(on), str(torch_dtype), reads), load)
    # Equal files under two names are one model, but a pickle stores the name that was requested.
    return encoder if encoder.source == source else encoder.replace(source=source)


def get_or_load(key: Key, load: Callable[[], Any]) -> Any:
    """Return the copy of a model that the process has, loaded now if there is none."""
    with _LOCK:
        encoder = _in_use.get(key)
        if encoder is None:
            logger.info("loading the model %s for %s as %s, for %s", *key)
            encoder = _in_use[key] = isolated(load)()
        _recent[key] = encoder
        _recent.move_to_end(key)
        while len(_recent) > _N_RECENT and _count_recent_bytes() > _RECENT_BYTES:
            _recent.popitem(last=False)
    return encoder


def release_models() -> None:
    """Free the memory of models that are no longer referenced.

    The two models used last, and more of them up to two gigabytes, stay loaded after their last
    estimator is gone, because a grid search drops each candidate before it makes the next one.

    Examples
    --------
    >>> from sk_sentemb import release_models
    >>> release_models()
    """
    with _LOCK:
        _recent.clear()


def _count_recent_bytes() -> int:
    # The encoders of the texts and the images of a CLIP have one network.
    return sum({id(e.network): e.n_bytes for e in _recent.values()}.values())


def _make_name_absolute(model: str | os.PathLike[str]) -> str:
    """Return a name that leads to the model from any working directory."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else os.fspath(model)
