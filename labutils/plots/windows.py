"""What a patch of the image reaches, layer by layer: the window that grows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from labutils.plots.arguments import checked_image
from labutils.plots.figures import BAR, MARK, QUIET, TEXT, TITLE, WIDTH, panel_grid, show
from labutils.plots.words import named, percent, sides, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labutils.explain import Window

COLUMNS = 7
FINEST = 28
"""Maps with more positions than this along a side are drawn without the lines between positions."""

_UNTOUCHED = "#e9eef1"


def reach(windows: Mapping[str, Window], image: np.ndarray | None = None, *, title: str = "") -> Figure:
    """The window that a patch reaches in each layer, all maps drawn at the same size.

    Parameters
    ----------
    windows
        Layer -> its window, as `labutils.explain.reached_windows` gives them: any of them, in any order. What is
        needed of each is `rows`, `columns` (slices) and `size` (rows, columns of the whole map).
    image
        The photo, as for `overlay_pixels`: drawn under the window named ``"image"``.
    title
        Written above.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each layer: coloured what can change, pale what stays as it is; below it the window's sides, the
        map's, and the share.
    """
    if not windows:
        raise ValueError("windows is empty: give a dict of layers to windows, as explain.reached_windows does.")
    photo = None if image is None else checked_image(image)
    sizes = {name: _window_sides(name, window) for name, window in windows.items()}
    columns = min(len(windows), COLUMNS)
    height, width = next(iter(windows.values())).size
    figure, axes = panel_grid(math.ceil(len(windows) / columns), columns, height / width, largest=2.4, extra=0.62)
    words = []
    for ax, (name, window) in zip(axes.flat, windows.items(), strict=False):
        share = percent(math.prod(sizes[name]) / math.prod(window.size))
        _draw(ax, window, photo if name == "image" else None)
        ax.set_aspect(height / width * window.size[1] / window.size[0])  # as high and wide as the first
        ax.set_title(wrapped(name, max(12, int(1.3 * WIDTH / columns * 8))), fontsize=TEXT, parse_math=False)
        ax.set_xlabel(
            f"{sides(*sizes[name])}\nof {sides(*window.size)}\n{share}",
            fontsize=TEXT - 1,
            color=QUIET,
            parse_math=False,
        )
        words.append(f"{name}: {sides(*sizes[name])} of {sides(*window.size)} ({share})")
    for ax in axes.flat[len(windows) :]:
        ax.axis("off")
    figure.suptitle(wrapped(title, 90), fontsize=TITLE, parse_math=False)
    figure.alt_text = f"What a patch of the image reaches, layer by layer{named(title)}. {'; '.join(words)}."
    return figure


def _window_sides(name: str, window: Window) -> tuple[int, int]:
    """Height and width of a window, checked to lie inside its map."""
    pairs = list(zip((window.rows, window.columns), window.size, strict=True))
    if any(not 0 <= side.start <= side.stop <= length for side, length in pairs):
        raise ValueError(f"windows[{name!r}] has {window.rows} and {window.columns} of a map of {sides(*window.size)}.")
    rows, columns = (side.stop - side.start for side, _ in pairs)
    return rows, columns


def _draw(ax: Axes, window: Window, photo: np.ndarray | None) -> None:
    """One map with its window, in the map's own positions."""
    from matplotlib.patches import Rectangle

    rows, columns = window.size
    show(ax, np.full((1, 1, 3), 255, np.uint8) if photo is None else photo)
    ax.images[0].set_extent((0, columns, rows, 0))
    if photo is None:
        ax.add_patch(Rectangle((0, 0), columns, rows, facecolor=_UNTOUCHED, edgecolor="none"))
    corner = window.columns.start, window.rows.start
    across, down = window.columns.stop - window.columns.start, window.rows.stop - window.rows.start
    look = {"facecolor": BAR, "edgecolor": BAR} if photo is None else {"facecolor": QUIET, "edgecolor": MARK}
    ax.add_patch(Rectangle(corner, across, down, linewidth=1.2, **look))
    if photo is None and max(rows, columns) <= FINEST:
        ax.hlines(np.arange(1, rows), 0, columns, colors="white", linewidth=0.6)
        ax.vlines(np.arange(1, columns), 0, rows, colors="white", linewidth=0.6)
    ax.set_xlim(0, columns)
    ax.set_ylim(rows, 0)
