"""Embedders as JSON and the files of a checkpoint, without a pickle."""

import os
from pathlib import Path
from typing import Any

from sklearn.frozen import FrozenEstimator

from ..cache import DiskCache, MemoryCache, load_fitted
from ..embedder import SentenceEmbedder
from ..encoder import encoder_from_state, encoder_to_state, to_python_scalar
from ..exceptions import IndexFileError, ModelChangedError
from .search_prompts import find_text_embedder, with_parameters
from .text_embedding import compute_fingerprint

# Parameters that select the model, which the stored encoder replaces, or that only train it.
_OF_THE_MODEL = ("model", "revision", "device", "dtype", "fine_tuner", "warm_start")


def save_embedder(embedder: Any, folder: Path) -> dict[str, Any]:
    """Return what restores an embedder, as JSON; write weights that no name leads to into a folder."""
    stored: dict[str, Any] = {
        "type": _name_type(embedder),
        "fingerprint": compute_fingerprint(embedder),
        "side": get_side_params(embedder),
        "frozen": isinstance(embedder, FrozenEstimator),
    }
    stored = to_python_scalar(stored)
    embedder = _unwrap(embedder)
    if type(embedder) is not SentenceEmbedder:
        return stored
    encoder = encoder_to_state(embedder.encoder_, embed=embedder.store_weights_in_pickle)
    files = encoder.pop("files", {})
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    params = embedder.get_params(deep=False)
    by_name = not files and isinstance(params["model"], str | os.PathLike)
    kept = {name: value for name, value in params.items() if name not in _OF_THE_MODEL}
    kept["cache"] = _describe_cache(params["cache"])
    if by_name:
        # As absolute as the encoder's, so that it leads to the model from any working directory.
        kept |= {"model": encoder["model"], "revision": encoder["revision"]}
        kept |= {name: params[name] for name in ("device", "dtype")}
    return stored | to_python_scalar(
        {
            "params": kept,
            "encoder": encoder,
            "files": sorted(files),
            "encoding": _encoding_params(embedder),
        }
    )


def load_embedder(stored: dict[str, Any], folder: Path, embedder: Any = None) -> Any:
    """Return the embedder that `save_embedder` stored, or the user's if it is the same model."""
    if embedder is not None:
        return _check_given(embedder, stored)
    if "encoder" not in stored:
        raise ValueError(
            f"the index was built with an embedder of type {stored['type']}, of which only the "
            "fingerprint is saved. Pass that embedder, fitted as it was: load(folder, embedder=...)."
        )
    state = dict(stored["encoder"])
    if stored["files"]:
        state["files"] = {name: (folder / name).read_bytes() for name in stored["files"]}
    encoder = encoder_from_state(state)
    params = {"model": encoder} | stored["params"]
    if encoder.device.type != state["device"]:
        params["device"] = None  # a warning has said so
    restored = SentenceEmbedder(**params).fit([""])
    if _encoding_params(restored) != stored["encoding"]:
        raise IndexFileError(
            f"the embedder is restored as {_encoding_params(restored)}, and the index was built with "
            f"{stored['encoding']}. Pass the embedder: load(folder, embedder=...)."
        )
    return FrozenEstimator(restored) if stored["frozen"] else restored


def _unwrap(embedder: Any) -> Any:
    return embedder.estimator if isinstance(embedder, FrozenEstimator) else embedder


def _check_given(embedder: Any, stored: dict[str, Any]) -> Any:
    """Return a user's embedder as it was for documents; raise if its model is known to be another."""
    if isinstance(_unwrap(embedder), SentenceEmbedder):
        embedder = load_fitted(embedder, [""])
    embedder = with_parameters(embedder, **stored["side"])
    own = _unwrap(embedder)
    if "encoding" in stored:
        if not isinstance(own, SentenceEmbedder):
            raise ModelChangedError(
                "the index was built with a SentenceEmbedder, and the embedder that was passed is of "
                f"type {_name_type(own)}. Pass the same model, or fit an index with the new one."
            )
        for name, value in _encoding_params(own).items():
            if value != stored["encoding"][name]:
                raise ModelChangedError(
                    f"the index was built with an embedder whose {name} is "
                    f"{stored['encoding'][name]!r}, and that of the embedder that was passed is "
                    f"{value!r}. Pass the same one, or fit an index with the new one."
                )
    return embedder


def _name_type(embedder: Any) -> str:
    return f"{type(embedder).__module__}.{type(embedder).__qualname__}"


def get_side_params(embedder: Any) -> dict[str, Any]:
    """Return the parameters that an index sets in the SentenceEmbedder of documents or queries."""
    of_text = find_text_embedder(embedder)
    names = ("prompt", "prompt_name", "n_jobs", "verbose")
    return {} if of_text is None else {name: getattr(of_text, name) for name in names}


def _describe_cache(cache: Any) -> Any:
    """Return a value of ``cache`` for JSON; a cache of the process's own is not stored."""
    if isinstance(cache, DiskCache):
        return str(cache.path.parent)
    if isinstance(cache, MemoryCache):
        return "memory"
    return os.fspath(cache) if isinstance(cache, os.PathLike) else cache


def _encoding_params(embedder: SentenceEmbedder) -> dict[str, Any]:
    """Return all that determines an embedding apart from the text, as JSON."""
    params = embedder.encoder_.encoding_params(
        prompt=embedder.prompt,
        prompt_name=embedder.prompt_name,
        max_length=embedder.max_length,
        long_text=embedder.long_text,
    )
    # Another device may run the model in another dtype, and `carried` says where weights come from.
    del params["dtype"]
    params["fingerprint"] = embedder.fingerprint_
    return params | {"embedding_dim": embedder.embedding_dim_}
