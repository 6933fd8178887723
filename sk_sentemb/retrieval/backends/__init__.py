"""Approximate nearest neighbors by the libraries of the field."""

from ._base import Backend

__all__ = ["Backend"]
