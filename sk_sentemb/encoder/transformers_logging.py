"""transformers without its progress bars and reports."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
from transformers.utils import logging

from .fork_safety import ForkSafeLock

_LOCK = ForkSafeLock()


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Hold back the bars and reports of reading and writing; what they say is checked by callers.

    The settings are those of the process: one thread at a time, and all is put back.
    """
    with _LOCK:
        logger = logging.get_logger("transformers")
        level, had_bar = logger.level, logging.is_progress_bar_enabled()
        hub_had_no_bar = are_progress_bars_disabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logger.setLevel(level)
            if had_bar:
                logging.enable_progress_bar()  # switches the hub's on as well
            if hub_had_no_bar:
                disable_progress_bars()
