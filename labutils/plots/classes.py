"""The best classes of photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from labutils.plots.arguments import checked_images, checked_titles
from labutils.plots.figures import BAR, BAR_QUIET, INK, TEXT, TITLE, WIDTH, new_figure, show
from labutils.plots.words import percent, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def predictions(
    images: np.ndarray | Sequence[np.ndarray],
    decoded: Sequence[Sequence[tuple[str, str, float]]],
    *,
    titles: Sequence[str] | None = None,
) -> Figure:
    """The best classes of each photo as bars under it.

    Parameters
    ----------
    images
        ``(n, H, W, 3)``, or a sequence of photos, or one photo.
    decoded
        What ``decode_predictions`` returns: for each photo, a list of ``(class id, name, probability)``.
    titles
        One for each photo.
    """
    photos = checked_images(images)
    titles = checked_titles(titles, len(photos))
    if len(decoded) != len(photos):
        raise ValueError(f"decoded is for {len(decoded)} photos, images holds {len(photos)}.")
    columns = min(len(photos), 4)
    rows = math.ceil(len(photos) / columns)
    most = max(len(best) for best in decoded)
    cell = WIDTH / max(columns, 3)
    heights = [0.9 * cell, 0.42 * most + 0.1] * rows
    figure = new_figure(cell * columns, sum(heights) + 0.45 * rows)
    axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=heights)
    for ax in axes.flat:
        ax.axis("off")
    for index, (photo, best, title) in enumerate(zip(photos, decoded, titles, strict=True)):
        row, column = divmod(index, columns)
        show(axes[2 * row, column], photo)
        axes[2 * row, column].axis("on")
        axes[2 * row, column].set_title(wrapped(title, 30), fontsize=TITLE, parse_math=False)
        _draw_bars(axes[2 * row + 1, column], best, most)
    words = [
        f"{title or f'photo {index + 1}'}: " + ", ".join(f"{name} {percent(share)}" for _, name, share in best)
        for index, (title, best) in enumerate(zip(titles, decoded, strict=True))
    ]
    figure.alt_text = f"The best classes of each photo as bars. {'; '.join(words)}."
    return figure


def _draw_bars(ax: Axes, best: Sequence[tuple[str, str, float]], most: int) -> None:
    """Bars from the top down, the name above each: names of any length stay readable."""
    for place, (_, name, share) in enumerate(best):
        ax.barh(place, 1, height=0.28, color="#eeeeee")
        ax.barh(place, float(share), height=0.28, color=BAR if place == 0 else BAR_QUIET)
        bold = "bold" if place == 0 else "normal"
        text = {"fontsize": TEXT, "color": INK, "va": "bottom", "fontweight": bold, "parse_math": False}
        ax.text(0, place - 0.2, name.replace("_", " "), ha="left", **text)
        ax.text(1, place - 0.2, percent(share), ha="right", **text)
    ax.set_xlim(-0.03, 1.03)
    ax.set_ylim(most - 0.5, -0.8)
