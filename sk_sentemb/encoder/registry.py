"""One copy of each model per process, however many embedders, clones and threads use it."""

import logging
import os
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import torch

from ..exceptions import ModelChangedError
from .checkpoint import fingerprint, read_encoder, read_image_encoder, resolve_model
from .device import select_device, select_dtype
from .fork_safety import ForkSafeLock
from .image_encoder import ImageEncoder
from .python_scalars import to_python_scalar
from .text_encoder import Encoder, Source
from .torch_state import isolated

E = TypeVar("E", Encoder, ImageEncoder)

logger = logging.getLogger(__name__)

# What a model in memory is of: the fingerprint of its files, device, number format, and how it is read.
Key = tuple[str, str, str, str]

# Every model that somebody uses, and the latest few even while nobody does: a grid search drops each
# candidate before it makes the next, and goes round all its models for each value of what it varies
# beside them. Two stay whatever their size, and as many as have room in so many bytes.
_ALIVE: WeakValueDictionary[Key, Encoder | ImageEncoder] = WeakValueDictionary()
_LATEST: OrderedDict[Key, Encoder | ImageEncoder] = OrderedDict()
_N_LATEST = 2
_LATEST_BYTES = 2 * 10**9
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
    """Load a model, or return the copy of it that the process has.

    Parameters
    ----------
    model : str or path-like
        A folder or a hub id; see :ref:`model-resolution`.
    revision : str, default=None
        A branch, tag or commit of the hub's repository.
    device : str, default=None
        ``"cpu"``, ``"cuda"``, ``"mps"``, …; None for the fastest that is there.
    dtype : {"float32", "bfloat16", "float16", "auto"}, default="float32"
        The number format of the transformer; ``"auto"`` for the fastest that the device runs
        natively.
    pairs : bool, default=False
        Whether to read it as a cross-encoder, whose :meth:`Encoder.encode` takes pairs of texts and
        gives logits.
    expected_fingerprint : str, default=None
        Refuse a model with another fingerprint.

    Returns
    -------
    Encoder
        Ready to run.

    Raises
    ------
    ModelNotFoundError
        If no place has the model.
    NoHeadError
        With ``pairs``, if it has no head that scores pairs.
    CheckpointError
        If a file of it is missing, damaged or not supported.
    ModelChangedError
        If its fingerprint is not the expected one.

    Examples
    --------
    >>> from sk_sentemb import load_encoder
    >>> encoder = load_encoder("all-MiniLM-L6-v2", device="cpu")
    >>> encoder.encode(["A text.", "Another one."]).vectors.shape
    (2, 384)
    """
    how = "pairs" if pairs else "texts"
    read = partial(read_encoder, pairs=pairs)
    return _load(model, revision, device, dtype, expected_fingerprint, how, read)


def load_image_encoder(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "float32",
    expected_fingerprint: str | None = None,
) -> ImageEncoder:
    """Load a model that reads images, or return the copy of it that the process has.

    With the encoder of its texts, a CLIP shares one model in memory.

    Parameters
    ----------
    model : str or path-like
        A folder or a hub id; see :ref:`model-resolution`.
    revision : str, default=None
        A branch, tag or commit of the hub's repository.
    device : str, default=None
        ``"cpu"``, ``"cuda"``, ``"mps"``, …; None for the fastest that is there.
    dtype : {"float32", "bfloat16", "float16", "auto"}, default="float32"
        The number format of the transformer; ``"auto"`` for the fastest that the device runs
        natively.
    expected_fingerprint : str, default=None
        Refuse a model with another fingerprint.

    Returns
    -------
    ImageEncoder
        Ready to run.

    Raises
    ------
    ModelNotFoundError
        If no place has the model.
    CheckpointError
        If a file of it is missing, damaged or not supported.
    ModelChangedError
        If its fingerprint is not the expected one.
    ImportError
        If Pillow is not installed.
    """
    return _load(model, revision, device, dtype, expected_fingerprint, "images", read_image_encoder)


def _load(
    model: str | os.PathLike[str],
    revision: str | None,
    device: str | None,
    dtype: str,
    expected_fingerprint: str | None,
    how: str,
    read_folder: Callable[[Path, torch.device, torch.dtype, Source], E],
) -> E:
    model, revision, device, dtype = to_python_scalar((model, revision, device, dtype))
    folder = resolve_model(model, revision)
    found = fingerprint(folder)
    if expected_fingerprint is not None and found != expected_fingerprint:
        raise ModelChangedError(
            f"the model {os.fspath(model)!r} in {folder} has the fingerprint {found}, expected "
            f"{expected_fingerprint}: its files have changed. Bring the old ones back, or fit again."
        )
    on = select_device(device)
    number_format = select_dtype(dtype, on)
    source = Source(_lasting_name(model), revision)

    def read() -> E:
        encoder = read_folder(folder, on, number_format, source)
        # A folder that is being written would give weights under the wrong fingerprint, for good where
        # their vectors are kept on disk.
        if encoder.fingerprint != found:
            raise ModelChangedError(f"the model in {folder} changed while it was read; try again.")
        return encoder

    encoder = shared((found, str(on), str(number_format), how), read)
    # Equal files under two names are one model, but a pickle says the name that was asked for.
    return encoder if encoder.source == source else encoder.replace(source=source)


def shared(key: Key, read: Callable[[], E]) -> E:
    """Return the process's copy of a model, read now if there is none."""
    with _LOCK:
        encoder: Any = _ALIVE.get(key)
        if encoder is None:
            logger.info("reading the model %s for %s as %s, for %s", *key)
            encoder = _ALIVE[key] = isolated(read)()
        _LATEST[key] = encoder
        _LATEST.move_to_end(key)
        while len(_LATEST) > _N_LATEST and _bytes_of_latest() > _LATEST_BYTES:
            _LATEST.popitem(last=False)
    return encoder


def release_models() -> None:
    """Forget the models that nobody uses, so that their memory can be used for something else.

    The latest two models, and more of them up to two gigabytes, stay loaded after their last embedder
    is gone, because a grid search drops each candidate before it makes the next.

    Examples
    --------
    >>> from sk_sentemb import release_models
    >>> release_models()
    """
    with _LOCK:
        _LATEST.clear()


def _bytes_of_latest() -> int:
    # That of the texts of a CLIP and that of its images have one network.
    return sum({id(e.network): e.n_bytes for e in _LATEST.values()}.values())


def _lasting_name(model: str | os.PathLike[str]) -> str:
    """Return a name that leads to the model from another working directory too."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else os.fspath(model)
