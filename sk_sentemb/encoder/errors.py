"""Convert errors of other libraries while a checkpoint is loaded into CheckpointErrors with advice."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..exceptions import CheckpointError

# The errors of architectures that packing does not support, unless their results differ.
PROBE_ERRORS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


@contextmanager
def wrap_errors(problem: str, advice: str = "") -> Iterator[None]:
    """Raise a CheckpointError with advice instead of any error but out of memory."""
    try:
        yield
    except CheckpointError:
        raise
    # Malformed files raise errors of every class; the tokenizers library raises plain Exceptions.
    except Exception as error:
        if is_out_of_memory(error):
            raise
        message = f"{problem}: {type(error).__name__}: {error} {advice}"
        raise CheckpointError(message.rstrip()) from error


@contextmanager
def wrap_loading_errors(what: str) -> Iterator[None]:
    """Raise a CheckpointError for any error of transformers while it loads part of a checkpoint."""
    advice = "If a file is truncated or missing, fetch the model again."
    with wrap_errors(f"transformers cannot load {what}", advice):
        yield


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that the memory of the CPU or GPU ran out."""
    # On CPUs, torch and oneDNN raise plain RuntimeErrors.
    messages = ("can't allocate memory", "could not create a primitive")
    return isinstance(error, torch.OutOfMemoryError) or any(m in str(error) for m in messages)
