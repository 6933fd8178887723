"""Errors of other libraries while a checkpoint is loaded, as CheckpointErrors that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..exceptions import CheckpointError

# An architecture that packing does not fit fails in its own way, or not at all: then the comparison
# of the results tells.
PROBE_ERRORS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


@contextmanager
def wrap_errors(problem: str, advice: str = "") -> Iterator[None]:
    """Raise a CheckpointError with advice instead of any other error, unless memory has run out."""
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
    """Raise a CheckpointError for any error of transformers while it loads a part of a checkpoint."""
    advice = "If a file is cut short or missing, fetch the model again."
    with wrap_errors(f"transformers cannot load {what}", advice):
        yield


def is_out_of_memory(error: Exception) -> bool:
    """Say whether memory ran out, on the processor or on an accelerator."""
    # On the processor torch and oneDNN raise plain RuntimeErrors.
    messages = ("can't allocate memory", "could not create a primitive")
    return isinstance(error, torch.OutOfMemoryError) or any(m in str(error) for m in messages)
