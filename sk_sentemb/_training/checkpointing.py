"""Checkpoints of a training, from which it is resumed after an interruption."""

import hashlib
import io
import os
import pickle
import platform
import re
import tempfile
from contextlib import suppress
from dataclasses import asdict, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
import transformers

from .. import __version__
from .._warn import warn
from ..encoder import Encoder, text_to_bytes, to_python_scalar
from ..exceptions import FineTuningWarning
from .dataset import TrainingDataset
from .fine_tuner import FineTuner
from .loop import TrainingState
from .step import TrainingStep
from .training_digest import FUNCTIONS, compute_digest

_FILE = "training.pt"
_UNFINISHED = f".{_FILE}-"
_CHECKSUM_BYTES = hashlib.sha256().digest_size

# Parameters that may change when a training is resumed. The dataset has the rows of `validation_data`.
_EXCLUDED = {"checkpoint_dir", "checkpoint_steps", "validation_data", "verbose"}


def checkpoint_folder(
    fine_tuner: FineTuner,
    encoder: Encoder,
    dataset: TrainingDataset,
    encoding_params: dict[str, Any],
    *others: Any,
) -> Path:
    """Return the folder of a training, named by a digest of everything that it depends on."""
    settings = {k: v for k, v in fine_tuner.get_params().items() if k not in _EXCLUDED}
    if not isinstance(fine_tuner.random_state, Integral):
        settings["random_state"] = None  # the seed that was drawn is in the checkpoint
    if callable(settings["metric"]) and not isinstance(settings["metric"], FUNCTIONS):
        # An object may count its calls, which does not make another training.
        without_address = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(settings["metric"]))
        settings["metric"] = type(settings["metric"]), without_address
    texts: Any = [text_to_bytes(text) for text in dataset.texts]
    params = encoder.encoding_params(**encoding_params)
    digest = compute_digest([settings, params, replace(dataset, texts=texts), others])
    return Path(fine_tuner.checkpoint_dir or "").expanduser() / digest[:32]


def save_checkpoint(folder: Path, step: TrainingStep, state: TrainingState) -> None:
    """Write a checkpoint atomically, with a warning instead of an error if that fails."""
    content = {
        "versions": _versions(),
        "seed": step.seed,
        "weights": step.copy_weights(),
        "optimizer": step.optimizer.state_dict(),
        "scheduler": step.scheduler.state_dict(),
        "state": asdict(state),
    }
    unfinished = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=_UNFINISHED)
        os.close(descriptor)
        unfinished = Path(name)
        # As Python scalars, because `weights_only` reads no others.
        torch.save(to_python_scalar(content), unfinished)
        _append_checksum(unfinished)
        unfinished.replace(folder / _FILE)
    except (OSError, RuntimeError) as error:  # torch has errors of its own for a full disk
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink()
        warn(
            f"the checkpoint of step {state.step} could not be saved in checkpoint_dir: {error}. "
            "Training continues.",
            FineTuningWarning,
        )


def load_checkpoint(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """Load a checkpoint if there is one; only tensors and Python scalars are unpickled."""
    file = folder / _FILE
    if not file.exists():
        return None
    try:
        content = torch.load(_verify_checksum(file), map_location=device, weights_only=True)
        if content["versions"] != _versions():
            raise ValueError(f"it was saved with other versions: {content['versions']}")
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        warn(f"{file} cannot be loaded, and training starts again: {error}", FineTuningWarning)
        return None
    return content


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint, and its folder if there is nothing else in it."""
    with suppress(OSError):
        for file in (folder / _FILE, *folder.glob(f"{_UNFINISHED}*")):
            file.unlink(missing_ok=True)
        folder.rmdir()


def restore(step: TrainingStep, content: dict[str, Any]) -> TrainingState:
    """Restore a training from a checkpoint; if the shapes differ, warn and start again."""
    if not _fits(step, content):
        warn(
            "the checkpoint of this training in checkpoint_dir has tensors of other shapes, and "
            "training starts again.",
            FineTuningWarning,
        )
        return TrainingState()
    step.set_weights(content["weights"])
    step.optimizer.load_state_dict(content["optimizer"])
    step.scheduler.load_state_dict(content["scheduler"])
    return TrainingState(**content["state"])


def _versions() -> dict[str, str]:
    """Return the versions that may change the results or the format of the file."""
    return {
        "sk_sentemb": __version__,
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def _append_checksum(file: Path) -> None:
    with file.open("r+b") as stream:
        checksum = hashlib.file_digest(stream, "sha256").digest()
        stream.seek(0, os.SEEK_END)
        stream.write(checksum)


def _verify_checksum(file: Path) -> io.BytesIO:
    """Return the content of a file without its checksum, or raise if that does not match."""
    if not file.is_file():
        raise OSError("it is not a regular file")
    content = memoryview(file.read_bytes())
    inside, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if hashlib.sha256(inside).digest() != checksum:
        raise ValueError("it is damaged: its checksum does not match")
    return io.BytesIO(inside)


def _fits(step: TrainingStep, content: dict[str, Any]) -> bool:
    """Return whether the tensors of a checkpoint have the names and shapes of this training."""
    shapes = {name: tensor.shape for name, tensor in step.trained_tensors()}
    weights = [content["weights"], content["state"]["best_weights"]]
    optimized = [p for group in step.optimizer.param_groups for p in group["params"]]
    return all(
        known is None or {name: tensor.shape for name, tensor in known.items()} == shapes
        for known in weights
    ) and all(
        tensor.ndim == 0 or (at < len(optimized) and tensor.shape == optimized[at].shape)
        for at, moments in content["optimizer"]["state"].items()
        for tensor in moments.values()
    )
