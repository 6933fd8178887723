"""Fits that either complete or leave the estimator unchanged."""

from collections.abc import Callable
from functools import wraps
from typing import Any


def atomic_fit(method: Callable) -> Callable:
    """Run a fit method on a copy, and take over its state at the end."""
    # A fit that raises or is interrupted leaves the estimator as it was, and other threads see the old
    # state until the new one is complete. Apply it below `_fit_context` and above `with_callbacks`.

    @wraps(method)
    def fit_and_swap(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Not `copy.copy`, which an estimator may define: the attributes must be the same objects.
        fresh = object.__new__(type(self))
        fresh.__dict__.update(self.__dict__)
        returned = method(fresh, *args, **kwargs)
        self.__dict__ = fresh.__dict__
        return self if returned is fresh else returned

    return fit_and_swap
