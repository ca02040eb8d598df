"""The figures' own type, and the parts that all of them are made of."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from labutils.plots.scales import Scale
from labutils.plots.words import rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 10.0
"""Width of a figure in inches, that of a notebook."""

DPI = 100
TITLE, TEXT = 12, 10
INK, QUIET, BAR, BAR_QUIET = "#1b1b1b", "#555555", "#1f5f8b", "#9dbfd3"
MARK = "#00d5ff"  # of marked patches: far from every colour of inferno


@cache
def _figure_type() -> type[Figure]:
    """The figures' class, made on first use: `matplotlib` is not imported with this module."""
    from matplotlib.figure import Figure

    class DescribedFigure(Figure):
        """A figure that pyplot does not keep, with a description for those who cannot see it."""

        alt_text = ""

        def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
            # Jupyter's key for an image's alternative text, as IPython.display.Image(alt=...) sets it.
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", metadata={"Description": self.alt_text})
            return {"image/png": buffer.getvalue(), "text/plain": self.alt_text}, {"image/png": {"alt": self.alt_text}}

    return DescribedFigure


def new_figure(width: float, height: float) -> Figure:
    figure = _figure_type()(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.05, h_pad=0.06)
    return figure


def panel_grid(
    rows: int, columns: int, aspect: float, *, largest: float = 3.2, extra: float = 0.4
) -> tuple[Figure, np.ndarray]:
    """A figure of rows x columns panels for pictures whose height is `aspect` times their width.

    No panel is wider than `largest` inches; `extra` is the height of a panel's title, caption and colour bar.
    """
    cell = min(max((WIDTH - 0.2) / columns, 1.4), largest)
    figure = new_figure(cell * columns + 0.2, (cell * aspect + extra) * rows + 0.8)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def show(ax: Axes, pixels: np.ndarray) -> None:
    ax.imshow(pixels)
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ax.spines.values():
        side.set_visible(False)


def caption(ax: Axes, values: np.ndarray, scale: Scale, more: str = "") -> None:
    words = scale.words().replace(", ", ",\n") if values.any() else "all zero"
    ax.set_xlabel(words + more, fontsize=TEXT, color=QUIET)


def colour_bar(figure: Figure, axes: Axes | np.ndarray, scale: Scale, *, visible: bool = True) -> None:
    """A bar with numbers below one panel, or below all of them; an invisible one keeps the space."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    limit = scale.limit or 1.0
    colours = ScalarMappable(Normalize(-limit if scale.signed else 0, limit), scale.colour_map)
    extend = {(True, True): "both", (True, False): "max"}.get((scale.clipped, scale.signed), "neither")
    shape = {"shrink": 0.4, "aspect": 40} if isinstance(axes, np.ndarray) else {"shrink": 0.85, "aspect": 25}
    bar = figure.colorbar(colours, ax=axes, location="bottom", pad=0.02, extend=extend, **shape)
    ticks = [-limit, 0, limit] if scale.signed else [0, limit / 2, limit]
    bar.set_ticks(ticks, labels=[rounded(tick, 2) for tick in ticks], fontsize=TEXT)
    bar.outline.set_visible(False)
    bar.ax.set_visible(visible)
