"""NumPy scalars, as they occur in parameter grids, converted to Python scalars."""

from typing import Any

import numpy as np


def to_python_scalar(value: Any) -> Any:
    """Return a value with its NumPy scalars, also those in containers, as Python scalars."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {to_python_scalar(key): to_python_scalar(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(map(to_python_scalar, value))
    return value
