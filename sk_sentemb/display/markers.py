"""Size and opacity of the points of a scatter plot, so that dense regions remain readable."""

from typing import Any

import numpy as np

INK = 0.45  # sum of the marker areas, as a part of the axes
SIZES = (3.0, 36.0)  # square points
OPACITIES = (0.25, 0.85)


def choose_size(ax: Any, n_points: int) -> float:
    """Return the area of a marker in square points."""
    width, height = _measure(ax)
    return float(np.clip(INK * width * height / max(1, n_points), *SIZES))


def choose_alpha(ax: Any, points: np.ndarray, size: float) -> float:
    """Return an opacity that is lower, the more markers lie on top of each other."""
    if len(points) == 0:
        return OPACITIES[1]
    bins = [max(1, int(length / np.sqrt(size))) for length in _measure(ax)]
    counts, *_ = np.histogram2d(points[:, 0], points[:, 1], bins=bins)
    overlap = (counts**2).sum() / len(points)  # markers in the cell of an average point
    return float(np.clip(1 / np.sqrt(overlap), *OPACITIES))


def _measure(ax: Any) -> tuple[float, float]:
    """Return width and height of the axes in points."""
    box = ax.get_window_extent()
    dpi = ax.get_figure(root=True).dpi
    return 72 * box.width / dpi, 72 * box.height / dpi
