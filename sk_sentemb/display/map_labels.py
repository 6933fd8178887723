"""Labels of the classes of a map: at their points where they fit, else in a legend."""

from typing import Any

import numpy as np

from .classes import NO_LABEL, Classes
from .label_placement import PointCounter, find_densest, place_boxes
from .texts import shorten, wrap_label

FONT_SCALES = (1.1, 1.0, 0.9, 0.8, 0.7)
PADDING = 1.5  # points between labels
LEADER_FROM = 8.0  # points between a label and its anchor
ROWS_OF_LEGEND = 36


class MapLabels:
    """Draws the labels of a map; `texts` and `legend` are what was drawn."""

    def __init__(
        self, ax: Any, points: np.ndarray, classes: Classes, colors: np.ndarray, *, widen: bool
    ) -> None:
        self.ax = ax
        self.figure = ax.get_figure(root=True)
        self.points = points
        self.classes = classes
        self.colors = colors
        self.names = [str(name).replace("_", " ") for name in classes.names]
        self.anchors = find_anchors(points, classes)
        # A color alone identifies a class if no color repeats.
        self.numbered = len(np.unique(colors, axis=0)) < len(colors)
        self.widen = widen  # the figure, by the width of the legend
        self.figure_width = self.figure.get_figwidth()
        self.texts: list[Any] = []
        self.legend: Any = None

    def draw(self, *, on_map: bool) -> None:
        """Draw the labels, all of them in the legend unless `on_map`."""
        every = np.arange(len(self.names))
        nothing = np.empty((0, 2, 2))
        # A legend takes room from the map, so it is drawn before labels are placed.
        self._draw_legend(every[:0] if on_map else every)
        in_legend = np.ones(len(every), dtype=bool)
        taken, scale = nothing, FONT_SCALES[-1]
        if on_map:
            labels = [wrap_label(name) for name in self.names]
            for scale in FONT_SCALES:
                corners = self._place(labels, every, scale, nothing)
                in_legend = np.isnan(corners[:, 0, 0])
                if not in_legend.any():
                    return self._draw_texts(labels, every, corners, scale)
            self._draw_legend(every)
            corners = self._place(labels, every, scale, nothing)
            in_legend = np.isnan(corners[:, 0, 0])
            taken = corners[~in_legend]
            self._draw_texts(labels, every[~in_legend], taken, scale)
        if self.numbered:
            numbers = [str(number) for number in every + 1]
            corners = self._place(numbers, every[in_legend], scale, taken)
            self._draw_texts(numbers, every[in_legend], corners, scale)
        # With fewer entries it leaves the map more room, which separates labels further.
        return self._draw_legend(every[in_legend])

    def _place(
        self, names: list[str], rows: np.ndarray, scale: float, taken: np.ndarray
    ) -> np.ndarray:
        """Return the corners of the labels of some classes in pixels, NaN where there is no room."""
        self.figure.draw_without_rendering()  # so that the layout is final
        probe = self.ax.text(0.5, 0.5, "", transform=self.ax.transAxes, **_font(scale))
        sizes = np.empty((len(rows), 2))
        for i, row in enumerate(rows):
            probe.set_text(names[row])
            sizes[i] = probe.get_window_extent().size
        probe.remove()
        padding = PADDING * self.figure.dpi / 72
        bounds = self.ax.get_window_extent().padded(-padding).get_points()
        to_pixels = self.ax.transData.transform
        centers = place_boxes(
            to_pixels(self.anchors[rows]),
            sizes,
            np.bincount(self.classes.codes[self.classes.codes >= 0])[rows],
            bounds,
            padding,
            PointCounter(to_pixels(self.points), bounds),
            taken,
        )
        return np.stack([centers - sizes / 2, centers + sizes / 2], axis=1)

    def _draw_texts(
        self, names: list[str], rows: np.ndarray, corners: np.ndarray, scale: float
    ) -> None:
        from matplotlib.patheffects import withStroke

        background = self.ax.get_facecolor()
        to_data = self.ax.transData.inverted().transform
        anchors = self.ax.transData.transform(self.anchors[rows])
        # Distance between an anchor and the nearest point of its label.
        gaps = np.linalg.norm(anchors - anchors.clip(corners[:, 0], corners[:, 1]), axis=1)
        for row, box, gap in zip(rows, corners, gaps, strict=True):
            if np.isnan(gap):
                continue
            leader = {"arrowstyle": "-", "color": "0.3", "linewidth": 0.7, "shrinkB": 0}
            text = self.ax.annotate(
                names[row],
                self.anchors[row],
                to_data(box.mean(axis=0)),
                color=_contrasting(self.colors[row], background),
                path_effects=[withStroke(linewidth=2.5, foreground=background)],
                arrowprops=leader if gap > LEADER_FROM * self.figure.dpi / 72 else None,
                zorder=4,
                **_font(scale),
            )
            self.texts.append(text)

    def _draw_legend(self, rows: np.ndarray) -> None:
        """Draw a legend of some classes, and of the rows without a label; replace an earlier one."""
        from matplotlib.lines import Line2D

        if self.legend is not None:
            self.legend.remove()
            self.legend = None
        names = [shorten(self.names[row], 40) for row in rows]
        if self.numbered:
            names = [f"{row + 1}  {name}" for row, name in zip(rows, names, strict=True)]
        colors = [*self.colors[rows]]
        if n_unlabeled := self.classes.n_unlabeled:
            names.append(f"no label ({n_unlabeled:,})")
            colors.append(NO_LABEL)
        if not names:
            return
        marker: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6}
        self.legend = self.ax.legend(
            handles=[
                Line2D([], [], color=color, label=name, **marker)
                for color, name in zip(colors, names, strict=True)
            ],
            # Next to the map; below it, if all classes have their labels on the map.
            loc="upper left",
            bbox_to_anchor=(1.01, 1.01) if len(rows) else (0, 0),
            ncols=1 + (len(names) - 1) // ROWS_OF_LEGEND,
            fontsize=_font(0.9 if len(names) <= ROWS_OF_LEGEND // 2 else 0.8)["fontsize"],
            frameon=False,
            handletextpad=0.2,
            columnspacing=1.2,
        )
        for text in self.legend.get_texts():
            text.set_parse_math(False)
        if self.widen and len(rows):
            self.figure.set_figwidth(self.figure_width)
            width = self.legend.get_window_extent().width / self.figure.dpi
            self.figure.set_figwidth(self.figure_width + width)


def find_anchors(points: np.ndarray, classes: Classes) -> np.ndarray:
    """Return the point of each class that its label names."""
    codes = range(len(classes.names))
    densest = [find_densest(points[classes.codes == code]) for code in codes]
    return np.array(densest).reshape(-1, 2)


def _font(scale: float) -> dict[str, Any]:
    from matplotlib import rcParams

    return {
        "fontsize": scale * rcParams["font.size"],
        "fontweight": "bold",
        "ha": "center",
        "va": "center",
        "linespacing": 0.95,
        "parse_math": False,  # two dollar signs would make a name a formula
    }


def _contrasting(color: np.ndarray, background: tuple[float, ...]) -> np.ndarray:
    """Return a darker color, or a lighter one on a dark background."""
    ink = 0.0 if np.mean(background[:3]) > 0.5 else 1.0
    return 0.6 * color + 0.4 * ink
