"""Warnings that point at the line of the user."""

import sys
import warnings

# Packages whose frames stand between a user's line and the place where a warning is raised.
_SKIPPED = frozenset({"sk_sentemb", "sklearn", "joblib", "torch", "contextlib"})


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the innermost frame that is not of this package or of one that calls it."""
    frame = sys._getframe()
    level = 1
    while frame.f_globals.get("__name__", "").partition(".")[0] in _SKIPPED:
        if frame.f_back is None:  # a thread of a worker, which no line of the user started
            break
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
