"""Photos with their maps: one, a gallery of photos by methods, several beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from labutils.plots.arguments import checked_image, checked_images, checked_map, checked_stack, checked_titles
from labutils.plots.figures import QUIET, TEXT, TITLE, caption, colour_bar, new_figure, panel_grid, show
from labutils.plots.scales import PERCENTILE, Scale, blended, scale_of
from labutils.plots.words import in_words, named, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


def overlay(
    image: np.ndarray,
    heatmap: np.ndarray,
    *,
    title: str = "",
    cmap: str | Colormap | None = None,
    alpha: float = 0.5,
    limit: float | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A photo with a map over it, its scale as a colour bar.

    Parameters
    ----------
    image, heatmap, cmap, alpha, limit
        As for `overlay_pixels`.
    title
        Written above.
    ax
        Draw into these axes, with the scale as a caption; None makes a figure.

    Returns
    -------
    matplotlib.figure.Figure
    """
    photo, values = checked_image(image), checked_map(heatmap)
    scale = scale_of([values], cmap, limit)
    figure = new_figure(6, 5) if ax is None else ax.figure
    target = figure.add_subplot() if ax is None else ax
    show(target, blended(photo, values, scale, alpha))
    target.set_title(wrapped(title, 40), fontsize=TITLE, parse_math=False)
    if ax is not None or not values.any():
        caption(target, values, scale)
    else:
        colour_bar(figure, target, scale)
    if ax is None:
        figure.alt_text = f"A photo with a heatmap over it{named(title)}: {in_words(values)}."
    return figure


def gallery(
    images: np.ndarray | Sequence[np.ndarray],
    maps: Mapping[str, np.ndarray],
    *,
    titles: Sequence[str] | None = None,
    cmap: str | Colormap | None = None,
    alpha: float = 0.5,
) -> Figure:
    """Photos by methods: every map over its photo, each on its own scale, which its caption gives.

    Photos are rows and methods columns; with more than six methods and fewer photos it is the other way round, so that
    the figure stays readable at a notebook's width.

    Parameters
    ----------
    images
        ``(n, H, W, 3)``, or a sequence of photos, or one photo.
    maps
        Method (or class, or layer) -> ``(n, h, w)`` raw maps, one for each photo.
    titles
        One for each photo.
    cmap, alpha
        As for `overlay_pixels`.
    """
    photos = checked_images(images)
    titles = checked_titles(titles, len(photos))
    if not maps:
        raise ValueError("maps is empty: give a dict of method names to maps.")
    stacks = {name: checked_stack(stack, name, len(photos)) for name, stack in maps.items()}
    upright = len(stacks) <= 6 or len(photos) >= len(stacks)
    scales = [[scale_of([stack[row]], cmap) for stack in stacks.values()] for row in range(len(photos))]
    two_lines = any(", " in scale.words() for row in scales for scale in row)
    shape = (len(photos), len(stacks) + 1) if upright else (len(stacks) + 1, len(photos))
    figure, axes = panel_grid(
        *shape,
        photos[0].shape[0] / photos[0].shape[1],
        largest=3.2 if upright else 1.9,
        extra=0.6 if two_lines else 0.4,
    )
    axes = axes if upright else axes.T
    for row, photo in enumerate(photos):
        show(axes[row, 0], photo)
        for column, (stack, scale) in enumerate(zip(stacks.values(), scales[row], strict=True), start=1):
            show(axes[row, column], blended(photo, stack[row], scale, alpha))
            caption(axes[row, column], stack[row], scale)
    _label(axes[:, 0], titles, beside=upright)
    _label(axes[0], ["photo", *stacks], beside=not upright)
    _scale_legend(figure, axes, [scale for row in scales for scale in row])
    described = [
        f"{name}{named(title)}: {in_words(stack[row])}"
        for row, title in enumerate(titles)
        for name, stack in stacks.items()
    ]
    figure.alt_text = (
        f"{len(photos)} photos by {len(stacks)} methods, each map on its own scale. {'; '.join(described)}."
    )
    return figure


def side_by_side(
    maps: Mapping[str, np.ndarray],
    image: np.ndarray | None = None,
    *,
    shared: bool = False,
    title: str = "",
    cmap: str | Colormap | None = None,
    alpha: float = 0.5,
) -> Figure:
    """Maps of one photo beside each other, with colour bars.

    Parameters
    ----------
    maps
        Name -> ``(h, w)`` raw map.
    image
        The photo: shown first, and under each map. None shows the maps alone.
    shared
        True gives all maps one scale, so that colours compare between them (right where the unit is the same: one method,
        several classes). False gives each its own.
    title
        Written above; with two maps or more, followed by whether they share a scale.
    cmap, alpha
        As for `overlay_pixels`.
    """
    if not maps:
        raise ValueError("maps is empty: give a dict of names to maps.")
    values = {name: checked_map(heatmap, f"maps[{name!r}]") for name, heatmap in maps.items()}
    photo = None if image is None else checked_image(image)
    panels = len(values) + (photo is not None)
    columns = min(panels, 4)
    height, width = next(iter(values.values())).shape if photo is None else photo.shape[:2]
    figure, axes = panel_grid(math.ceil(panels / columns), columns, height / width, extra=0.3 if shared else 0.65)
    places = list(axes.flat)
    common = scale_of(list(values.values()), cmap) if shared else None
    if photo is not None:
        first = places.pop(0)
        show(first, photo)
        first.set_title("photo", fontsize=TITLE)
        if not shared:
            # An empty bar, so that the photo is as large as the maps beside it.
            colour_bar(figure, first, scale_of([np.zeros((1, 1))], cmap), visible=False)
    for ax, (name, heatmap) in zip(places, values.items(), strict=False):
        scale = common or scale_of([heatmap], cmap)
        _draw_map(ax, heatmap, scale, photo, alpha)
        if not shared:
            colour_bar(figure, ax, scale, visible=heatmap.any())
        ax.set_title(wrapped(name, 26), fontsize=TITLE, parse_math=False)
    for ax in places[len(values) :]:
        ax.axis("off")
    if common and common.limit > 0:
        colour_bar(figure, axes, common)
    scales = "one scale for all" if shared else "each on its own scale"
    several = f"{title} ({scales})" if title else scales.capitalize()
    figure.suptitle(several if len(values) > 1 else title, fontsize=TITLE, parse_math=False)
    words = "; ".join(f"{name}: {in_words(heatmap)}" for name, heatmap in values.items())
    shown = (
        f"{len(values)} maps beside each other{named(title)}, {scales}" if len(values) > 1 else f"A map{named(title)}"
    )
    figure.alt_text = f"{shown}. {words}."
    return figure


def _draw_map(ax: Axes, heatmap: np.ndarray, scale: Scale, photo: np.ndarray | None, alpha: float) -> None:
    """One map of `side_by_side`, over the photo if there is one."""
    if not heatmap.any():
        blank = np.full((*heatmap.shape, 3), 0.93)
        show(ax, blank if photo is None else photo)
        caption(ax, heatmap, scale)
    else:
        show(ax, scale.colours(heatmap, heatmap.shape) if photo is None else blended(photo, heatmap, scale, alpha))


def _scale_legend(figure: Figure, axes: np.ndarray, scales: Sequence[Scale]) -> None:
    """What a gallery's colours mean: a strip of each colour map in use, and how each map is scaled."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    for signed, colours in sorted({scale.signed: scale.colour_map for scale in scales if scale.limit}.items()):
        strip = ScalarMappable(Normalize(-1 if signed else 0, 1), colours)
        bar = figure.colorbar(strip, ax=axes, location="bottom", shrink=0.4, aspect=45, pad=0.015)
        labels = ["\N{MINUS SIGN}limit", "0", "limit"] if signed else ["0", "limit"]
        bar.set_ticks([-1, 0, 1] if signed else [0, 1], labels=labels, fontsize=TEXT)
        bar.outline.set_visible(False)
    text = "Each map on its own scale, given below it"
    if any(scale.clipped for scale in scales):
        text += f"; {100 - PERCENTILE:g} % of a map may lie beyond its limit"
    figure.supxlabel(f"{text}.", fontsize=TEXT, color=QUIET)


def _label(axes: np.ndarray, texts: Sequence[str], *, beside: bool) -> None:
    """Titles of a gallery's rows (beside them) or columns (above them)."""
    for ax, text in zip(axes, texts, strict=True):
        if beside:
            ax.set_ylabel(wrapped(text, 16), fontsize=TITLE, parse_math=False)
        else:
            ax.set_title(wrapped(text, 16), fontsize=TITLE, parse_math=False)
