"""Rows of a plot by class: names, colors, and rows without a label."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from .._inputs import is_missing

# The colors of Okabe and Ito, which color-blind readers can distinguish, and four more.
PALETTE = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"),
    *("#7A5195", "#A6A600", "#8C564B", "#3FC1B0"),
)
NO_LABEL = "#B8B8B8"


@dataclass(frozen=True)
class Classes:
    """The classes of the rows, the largest first."""

    names: list[Any]
    codes: np.ndarray  # of each row; -1 without a label

    @property
    def n_unlabeled(self) -> int:
        """Number of rows without a label."""
        return int((self.codes < 0).sum())


def read_labels(y: Any, n_rows: int) -> np.ndarray:
    """Return the cells of `y` as an array of objects, with None for missing values."""
    cells = np.array(y, dtype=object)
    if isinstance(y, np.ma.MaskedArray):
        cells[np.ma.getmaskarray(y)] = None
    if cells.shape not in [(n_rows,), (n_rows, 1)]:
        raise ValueError(f"y has the shape {cells.shape}, but there are {n_rows} embeddings.")
    labels = np.empty(n_rows, dtype=object)
    labels[:] = [None if is_missing(cell) else cell for cell in cells.ravel()]
    return labels


def resolve_target_type(labels: np.ndarray, target_type: str) -> str:
    """Return "continuous" or "multiclass"."""
    options = ("auto", "continuous", "multiclass")
    if target_type not in options:
        raise ValueError(f"target_type must be one of {options}, got {target_type!r}.")
    values = [label for label in labels if label is not None]
    # A boolean is a number in Python.
    are_numbers = all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool)
        for value in values
    )
    if target_type == "continuous" and not are_numbers:
        raise ValueError('y has values that are not numbers. Pass target_type="multiclass".')
    if target_type != "auto":
        return target_type
    if (
        values
        and are_numbers
        and (len(set(values)) > 100 or any(value != int(value) for value in values))
    ):
        return "continuous"
    return "multiclass"


def find_classes(labels: np.ndarray) -> Classes:
    """Return the classes, the largest first, then in order of appearance."""
    counts: dict[Any, int] = {}
    for label in labels:
        if label is not None:
            counts[label] = counts.get(label, 0) + 1
    names = sorted(counts, key=lambda name: -counts[name])
    code = {name: i for i, name in enumerate(names)}
    return Classes(names, np.array([-1 if label is None else code[label] for label in labels]))


def choose_colors(colors: Any, centers: np.ndarray) -> np.ndarray:
    """Return an RGB color for each class; colors that repeat are far from each other."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    n_classes = len(centers)
    if isinstance(colors, str):
        if colors not in colormaps:
            raise ValueError(f"multiclass_colors={colors!r} is not the name of a colormap.")
        sampled = colormaps[colors].resampled(n_classes)(np.arange(n_classes))
        return sampled[:, :3]
    if isinstance(colors, dict):
        raise ValueError("multiclass_colors must be a list or the name of a colormap, got a dict.")
    palette = np.array([to_rgb(color) for color in (PALETTE if colors is None else colors)])
    if n_classes <= len(palette):
        return palette[:n_classes]
    distances = cdist(centers, centers)
    chosen = np.zeros(n_classes, dtype=int)
    for i in range(n_classes):
        nearest = [
            distances[i, :i][chosen[:i] == color].min(initial=np.inf)
            for color in range(len(palette))
        ]
        chosen[i] = np.argmax(nearest)
    return palette[chosen]
