"""A fit that happens as a whole or not at all."""

from collections.abc import Callable
from functools import wraps
from typing import Any


def atomic_fit(method: Callable) -> Callable:
    """Let a fit method write into a copy, whose state the estimator takes over at the end.

    A fit that raises, whether for bad data or for an interruption, leaves every attribute of the
    estimator as it was, so that its predictions stay the same. Other threads see the old state until
    the new one is complete. Apply it below ``_fit_context`` and above ``with_callbacks``.
    """

    @wraps(method)
    def fit_and_swap(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Not `copy.copy`: an estimator may define how it is copied, and the attributes must be the same.
        fresh = object.__new__(type(self))
        fresh.__dict__.update(self.__dict__)
        returned = method(fresh, *args, **kwargs)
        self.__dict__ = fresh.__dict__
        return self if returned is fresh else returned

    return fit_and_swap
