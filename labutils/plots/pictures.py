"""Pictures in a grid: photos, digits, images that excite a channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from labutils.plots.arguments import checked_images, checked_titles
from labutils.plots.figures import QUIET, TEXT, TITLE, WIDTH, new_figure, show
from labutils.plots.words import named, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures(
    images: np.ndarray | Sequence[np.ndarray],
    *,
    titles: Sequence[str] | None = None,
    captions: Sequence[str] | None = None,
    columns: int | None = None,
    title: str = "",
) -> Figure:
    """Pictures beside each other, row by row.

    Parameters
    ----------
    images
        ``(n, H, W, 3)`` or ``(n, H, W, 1)``, or a sequence of pictures of any sizes, or one picture; uint8, or float within
        [0, 1] or [0, 255]. Small ones (digits) are shown with their pixels as squares.
    titles, captions
        One for each picture, above and below it.
    columns
        How many beside each other; None takes up to five, or up to ten of pictures smaller than 40 pixels.
    title
        Written above all.

    Returns
    -------
    matplotlib.figure.Figure
    """
    photos = checked_images(images)
    above, below = checked_titles(titles, len(photos)), checked_titles(captions, len(photos))
    if columns is None:
        columns = min(len(photos), 10 if max(photo.shape[0] for photo in photos) < 40 else 5)
    elif columns < 1:
        raise ValueError(f"columns is how many pictures stand beside each other, at least 1; not {columns!r}.")
    aspect = max(photo.shape[0] / photo.shape[1] for photo in photos)
    rows = math.ceil(len(photos) / columns)
    cell = min((WIDTH - 0.2) / max(columns, 3), 2.6)
    texts = (0.28 if any(above) else 0) + (0.2 * max(text.count("\n") + 1 for text in below) if any(below) else 0)
    figure = new_figure(cell * columns + 0.2, rows * (cell * aspect + texts + 0.05) + (0.4 if title else 0.1))
    axes = figure.subplots(rows, columns, squeeze=False)
    widest = max(8, int(13 * WIDTH / max(columns, 4)))  # letters above one picture
    for ax, photo, head, foot in zip(axes.flat, photos, above, below, strict=False):
        show(ax, photo)
        ax.images[0].set_interpolation("nearest" if photo.shape[0] < 40 else "antialiased")
        ax.set_title(wrapped(head, widest), fontsize=TITLE if columns <= 5 else TEXT, parse_math=False)
        ax.set_xlabel(foot, fontsize=TEXT, color=QUIET, parse_math=False)
    for ax in axes.flat[len(photos) :]:
        ax.axis("off")
    figure.suptitle(wrapped(title, 90), fontsize=TITLE, parse_math=False)
    words = "; ".join(", ".join(filter(None, texts)) for texts in zip(above, below, strict=True) if any(texts))
    count = "A picture" if len(photos) == 1 else f"{len(photos)} pictures"
    figure.alt_text = f"{count}{named(title)}" + (f": {words}." if words else ".")
    return figure
