"""Placement of labels next to points, so that no label covers another one."""

import numpy as np
from scipy.spatial import KDTree

# Directions and distances that a label may move, the latter in parts of the diagonal of the axes.
N_DIRECTIONS = 24
N_DISTANCES = 14
MAX_DISTANCE = 0.09
# A label that covers all points of its class costs as much as one at this part of the distance.
COST_OF_COVERED_POINTS = 0.5
CELL = 4.0  # pixels


def find_densest(points: np.ndarray) -> np.ndarray:
    """Return the point that is nearest to a quarter of the others."""
    sample = points[:: max(1, len(points) // 1000)]
    distances, _ = KDTree(sample).query(sample, k=[max(1, len(sample) // 4)])
    return sample[np.argmin(distances)]


class PointCounter:
    """Counts the points in boxes, on a grid of cells."""

    def __init__(self, points: np.ndarray, bounds: np.ndarray) -> None:
        n_cells = np.maximum(1, ((bounds[1] - bounds[0]) / CELL).astype(int))
        counts, *self._edges = np.histogram2d(
            points[:, 0], points[:, 1], bins=n_cells.tolist(), range=bounds.T
        )
        self._sums = np.pad(counts.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))

    def count(self, corners: np.ndarray) -> np.ndarray:
        """Return the number of points in each box of an array of shape (n, 2, 2)."""
        (x1, x2), (y1, y2) = (
            np.searchsorted(edges, corners[:, :, axis].T).clip(0, len(edges) - 1)
            for axis, edges in enumerate(self._edges)
        )
        sums = self._sums
        return sums[x2, y2] - sums[x1, y2] - sums[x2, y1] + sums[x1, y1]


def place_boxes(
    anchors: np.ndarray,
    sizes: np.ndarray,
    n_points: np.ndarray,
    bounds: np.ndarray,
    padding: float,
    counter: PointCounter,
    taken: np.ndarray,
) -> np.ndarray:
    """Return the centers of boxes near their anchors, without overlap; NaN where there is no room.

    All lengths are in pixels: `anchors` and `sizes` (width and height) of shape (n, 2), the most
    important first; `n_points`, the number of points of each class; `bounds`, the lower left and
    upper right corners of the axes; `padding`, the distance between boxes; `taken`, the corners of
    boxes that are already there.
    """
    angles = np.linspace(0, 2 * np.pi, N_DIRECTIONS, endpoint=False)
    longest = np.hypot(*(bounds[1] - bounds[0])) * MAX_DISTANCE
    radii = longest * np.arange(1, N_DISTANCES + 1) / N_DISTANCES
    circles = radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    offsets = np.concatenate([np.zeros((1, 2)), circles.reshape(-1, 2)])

    centers = np.full(anchors.shape, np.nan)
    for i, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
        # A label at the edge of the axes moves inside.
        shifted = np.clip(anchor + offsets, bounds[0] + size / 2, bounds[1] - size / 2)
        corners = np.stack([shifted - size / 2, shifted + size / 2], axis=1)
        cost = np.linalg.norm(shifted - anchor, axis=1) / longest
        cost += COST_OF_COVERED_POINTS * np.minimum(counter.count(corners) / n_points[i], 2)
        cost[find_overlaps(corners, taken, padding)] = np.inf
        best = np.argmin(cost)
        if np.isfinite(cost[best]):
            centers[i] = shifted[best]
            taken = np.concatenate([taken, corners[[best]]])
    return centers


def find_overlaps(first: np.ndarray, second: np.ndarray, padding: float = 0.0) -> np.ndarray:
    """Return for each of the first boxes whether it overlaps one of the second."""
    low, high = first[:, None, 0] - padding, first[:, None, 1] + padding
    overlaps = (low < second[None, :, 1]) & (second[None, :, 0] < high)
    return np.any(np.all(overlaps, axis=2), axis=1)
