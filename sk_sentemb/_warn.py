"""Warnings that point at the line of the user."""

import sys
import warnings

# Packages with frames between the user's line and the line that raises a warning.
_SKIPPED = frozenset({"sk_sentemb", "sklearn", "joblib", "torch", "contextlib"})


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the innermost frame outside of this package and of those that call it."""
    frame = sys._getframe()
    level = 1
    while (frame.f_globals.get("__name__") or "").partition(".")[0] in _SKIPPED:
        if frame.f_back is None:  # a thread of a worker
            break
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
