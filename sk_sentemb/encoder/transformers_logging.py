"""Silence progress bars and reports of transformers."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from transformers.utils import logging

from .isolation import ForkSafeLock

_LOCK = ForkSafeLock()


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Suppress progress bars and reports of loading and saving, which callers check themselves."""
    # The settings are those of the process, so one thread at a time changes and restores them.
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
                logging.enable_progress_bar()
            # transformers switches the hub's bars along with its own.
            (disable_progress_bars if hub_had_no_bar else enable_progress_bars)()
