"""A training on the disk, so that it can go on after a kill."""

import hashlib
import os
import pickle
import re
import warnings
from contextlib import suppress
from dataclasses import asdict
from numbers import Integral
from pathlib import Path
from typing import Any

import torch

from ..encoder import bytes_of
from .examples import Examples
from .fine_tuner import FineTuner
from .loop import FineTuningWarning, Progress
from .trainer import Trainer

_FILE = "training.pt"

# Parameters that do not change what a training is: it can be gone on with others.
_NOT_PART = {"checkpoint_dir", "checkpoint_steps", "validation_data", "verbose"}


def folder_of(
    fine_tuner: FineTuner,
    examples: Examples,
    n_rows: int,
    fingerprint: str,
    of_embedder: dict[str, Any],
) -> Path:
    """Return the folder of one training, by all that it depends on.

    Parameters
    ----------
    fine_tuner : FineTuner
        With a `checkpoint_dir`.
    examples : Examples
        What is learnt from and validated on.
    n_rows : int
        How many rows `X` has.
    fingerprint : str
        Of the model.
    of_embedder : dict
        The embedder's parameters that make it another training.

    Returns
    -------
    Path
        Another one for other data, models or settings, so that searches and folds do not mix.
    """
    settings = {k: v for k, v in fine_tuner.get_params().items() if k not in _NOT_PART}
    if not isinstance(fine_tuner.random_state, Integral):
        settings["random_state"] = None  # it goes on with the seed that was drawn
    named = {k: _name_of(v) for k, v in (settings | of_embedder).items()}
    digest = hashlib.sha256(f"{fingerprint} {n_rows} {sorted(named.items())}".encode())
    for text in examples.texts:
        digest.update(bytes_of(text) + b"\0")
    for array in (
        examples.columns,
        examples.rows,
        examples.target,
        examples.weight,
        examples.lists,
        examples.features,
    ):
        digest.update(b"-" if array is None else array.tobytes())
    assert fine_tuner.checkpoint_dir is not None
    return Path(fine_tuner.checkpoint_dir).expanduser() / digest.hexdigest()[:16]


def _name_of(value: Any) -> str:
    """Return what stands for a value in every process: nothing with an address in memory."""
    return getattr(value, "__qualname__", re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value)))


def save_training(folder: Path, trainer: Trainer, progress: Progress) -> None:
    """Write all that is needed to go on, in one step; where that fails, say so and train on."""
    content = {
        "seed": trainer.seed,
        "weights": weights_of(trainer),
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": trainer.scheduler.state_dict(),
        "progress": asdict(progress),
    }
    unfinished = folder / f".{_FILE}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(content, unfinished)
        os.replace(unfinished, folder / _FILE)
    except (OSError, RuntimeError) as error:  # torch has errors of its own for a full disk
        with suppress(OSError):
            unfinished.unlink()
        warnings.warn(
            f"step {progress.step} could not be kept in checkpoint_dir: {error}. Training goes on.",
            FineTuningWarning,
            stacklevel=2,
        )


def load_training(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """Read what `save_training` wrote, if it did; nothing is unpickled but tensors and numbers."""
    file = folder / _FILE
    if not file.exists():
        return None
    try:
        return torch.load(file, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        warnings.warn(
            f"{file} cannot be read, and the training begins anew: {error}",
            FineTuningWarning,
            stacklevel=2,
        )
        return None


def resume(trainer: Trainer, content: dict[str, Any]) -> Progress:
    """Put a training where it was."""
    set_weights(trainer, content["weights"])
    trainer.optimizer.load_state_dict(content["optimizer"])
    trainer.scheduler.load_state_dict(content["scheduler"])
    return Progress(**content["progress"])


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Copy the weights that are trained."""
    return {name: p.detach().clone() for name, p in _trained(trainer)}


def set_weights(trainer: Trainer, weights: dict[str, torch.Tensor]) -> None:
    """Put weights back."""
    with torch.no_grad():
        for name, parameter in _trained(trainer):
            parameter.copy_(weights[name])


def _trained(trainer: Trainer) -> list[tuple[str, torch.Tensor]]:
    found: list[tuple[str, torch.Tensor]] = list(trainer.model.named_parameters())
    if trainer.head is not None:
        # What a normalisation counts is no parameter, but learnt as well.
        found += [*trainer.head.named_parameters("head"), *trainer.head.named_buffers("head")]
    return found
