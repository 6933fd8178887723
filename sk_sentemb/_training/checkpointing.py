"""A training on the disk, so that it can go on after a kill."""

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
_SEAL_BYTES = hashlib.sha256().digest_size

# Parameters that do not change what a training is: it can be gone on with others. The rows of
# `validation_data` are among the examples.
_NOT_PART = {"checkpoint_dir", "checkpoint_steps", "validation_data", "verbose"}


def folder_of(
    fine_tuner: FineTuner,
    encoder: Encoder,
    examples: TrainingDataset,
    *,
    prompt: str,
    max_length: int | None,
    long_text: str,
    **others: Any,
) -> Path:
    """Return the folder of one training, by all that it depends on."""
    settings = {k: v for k, v in fine_tuner.get_params().items() if k not in _NOT_PART}
    if not isinstance(fine_tuner.random_state, Integral):
        settings["random_state"] = None  # it goes on with the seed that was drawn
    if callable(settings["metric"]) and not isinstance(settings["metric"], FUNCTIONS):
        # An object may count its calls, which makes no other training.
        settings["metric"] = type(settings["metric"]), _repr_of(settings["metric"])
    recipe = encoder.encoding_params(prompt=prompt, max_length=max_length, long_text=long_text)
    texts: Any = [text_to_bytes(text) for text in examples.texts]
    digest = compute_digest([settings, recipe, replace(examples, texts=texts), others])
    assert fine_tuner.checkpoint_dir is not None
    return Path(fine_tuner.checkpoint_dir).expanduser() / digest[:32]


def _repr_of(value: Any) -> str:
    """Return a value's repr without addresses in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def save_checkpoint(folder: Path, trainer: TrainingStep, progress: TrainingState) -> None:
    """Write all that is needed to go on, in one step; where that fails, say so and train on."""
    content = {
        "versions": _versions(),
        "seed": trainer.seed,
        "weights": weights_of(trainer),
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": trainer.scheduler.state_dict(),
        "progress": asdict(progress),
    }
    unfinished = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=_UNFINISHED)
        os.close(descriptor)
        unfinished = Path(name)
        # As plain numbers, because `weights_only` reads nothing else.
        torch.save(to_python_scalar(content), unfinished)
        _seal(unfinished)
        unfinished.replace(folder / _FILE)
    except (OSError, RuntimeError) as error:  # torch has errors of its own for a full disk
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink()
        warn(
            f"step {progress.step} could not be kept in checkpoint_dir: {error}. Training goes on.",
            FineTuningWarning,
        )


def load_checkpoint(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """Read what `save_checkpoint` wrote, if it did; nothing is unpickled but tensors and numbers."""
    file = folder / _FILE
    if not file.exists():
        return None
    try:
        content = torch.load(_unsealed(file), map_location=device, weights_only=True)
        if content["versions"] != _versions():
            raise ValueError(f"it is of other versions: {content['versions']}")
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        warn(f"{file} cannot be read, and the training starts again: {error}", FineTuningWarning)
        return None
    return content


def remove_checkpoint(folder: Path) -> None:
    """Remove what `save_checkpoint` wrote, and its folder if nothing else is in it."""
    with suppress(OSError):
        for file in (folder / _FILE, *folder.glob(f"{_UNFINISHED}*")):
            file.unlink(missing_ok=True)
        folder.rmdir()


def resume(trainer: TrainingStep, content: dict[str, Any]) -> TrainingState:
    """Restore the state of a training; if it does not fit, warn and start again."""
    if not _fits(trainer, content):
        warn(
            "what checkpoint_dir holds of this training has tensors of other shapes, and the training "
            "starts again.",
            FineTuningWarning,
        )
        return TrainingState()
    set_weights(trainer, content["weights"])
    trainer.optimizer.load_state_dict(content["optimizer"])
    trainer.scheduler.load_state_dict(content["scheduler"])
    return TrainingState(**content["progress"])


def _versions() -> dict[str, str]:
    """Return the versions of all that may change the results or the format of the file."""
    return {
        "sk_sentemb": __version__,
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def _seal(file: Path) -> None:
    """Append a checksum to a file."""
    with file.open("r+b") as stream:
        checksum = hashlib.file_digest(stream, "sha256").digest()
        stream.seek(0, os.SEEK_END)
        stream.write(checksum)


def _unsealed(file: Path) -> io.BytesIO:
    """Return the content of a file without its checksum, which must be right."""
    if not file.is_file():
        raise OSError("it is not a regular file")
    content = memoryview(file.read_bytes())
    inside, checksum = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    if hashlib.sha256(inside).digest() != checksum:
        raise ValueError("it is damaged: its checksum does not match")
    return io.BytesIO(inside)


def _fits(trainer: TrainingStep, content: dict[str, Any]) -> bool:
    """Return whether the tensors of a saved training have the names and shapes of this one."""
    shapes = {name: tensor.shape for name, tensor in _trained(trainer)}
    states = [content["weights"], content["progress"]["best_state"]]
    optimized = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    return all(
        state is None or {name: tensor.shape for name, tensor in state.items()} == shapes
        for state in states
    ) and all(
        tensor.ndim == 0 or (at < len(optimized) and tensor.shape == optimized[at].shape)
        for at, state in content["optimizer"]["state"].items()
        for tensor in state.values()
    )


def weights_of(trainer: TrainingStep) -> dict[str, torch.Tensor]:
    """Copy the weights that are trained."""
    return {name: p.detach().clone() for name, p in _trained(trainer)}


def set_weights(trainer: TrainingStep, weights: dict[str, torch.Tensor]) -> None:
    """Put weights back."""
    with torch.no_grad():
        for name, parameter in _trained(trainer):
            parameter.copy_(weights[name])


def _trained(trainer: TrainingStep) -> list[tuple[str, torch.Tensor]]:
    found: list[tuple[str, torch.Tensor]] = list(trainer.model.named_parameters())
    if trainer.head is not None:
        # What a normalisation counts is no parameter, but learnt as well.
        found += [*trainer.head.named_parameters("head"), *trainer.head.named_buffers("head")]
    return found
