"""A fit that happens as a whole or not at all."""

from collections.abc import Callable
from functools import wraps
from typing import Any


def atomic_fit(method: Callable) -> Callable:
    """Let a fit method write into a copy, whose state the estimator takes over at the end.

    A fit that raises, whether for bad data or for an interruption, leaves every attribute of the
    estimator as it was, so that it goes on to predict what it predicted before. Other threads see the
    old state until the new one is complete. Goes inside of ``_fit_context`` and outside of
    ``with_callbacks``.
    """

    @wraps(method)
    def fit_and_swap(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Not `copy`: the attributes shall be the same objects, whatever an estimator says of copies.
        fresh = object.__new__(type(self))
        fresh.__dict__.update(self.__dict__)
        returned = method(fresh, *args, **kwargs)
        self.__dict__ = fresh.__dict__
        return self if returned is fresh else returned

    return fit_and_swap
