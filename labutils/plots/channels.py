"""All channels of a layer in one figure."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from labutils.plots.arguments import checked_values
from labutils.plots.figures import DPI, QUIET, TEXT, TITLE, WIDTH, new_figure
from labutils.plots.scales import PERCENTILE, Scale, colour_map, scale_of
from labutils.plots.words import named, rounded, sides, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_GAP = 2  # pixels between neighbours
_MARGIN = 46  # pixels to the left, for the numbers of the rows
_ROOM_FOR_NUMBERS = 44  # pixels that a map needs to have its number above it
_LARGEST = 260  # pixels that a map is wide at most
_PAPER, _DEAD, _CROSS = 1.0, 0.86, 0.55  # grey levels: between the maps, of a dead one, and of the cross in it


def channel_grid(
    maps: np.ndarray,
    *,
    title: str = "",
    columns: int | None = None,
    shared: bool = False,
    cmap: str | Colormap | None = None,
) -> Figure:
    """Every channel of a layer, for one image: the maps row by row, those that are zero everywhere crossed out.

    Maps that are small are enlarged with their positions as squares, large ones are reduced by averaging. Where there
    is room, each has its number above it; otherwise the number at the left is that of the row's first map.

    Parameters
    ----------
    maps
        ``(height, width, channels)``, raw: a layer's activations for one image. Any number of channels.
    title
        Written above.
    columns
        How many maps beside each other; None takes what can be read at a notebook's width: 8 for up to 32 channels, 16
        for up to 128, 24 for up to 288, 32 for up to 512.
    shared
        One scale for all the maps, so that weak ones look weak. Otherwise each has its own, and can be seen however
        weak it is; a map without negative values then shows how strong it is by the bar below it: as long as the map
        is wide for the strongest channel.
    cmap
        As for `overlay_pixels`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        Maps of another shape, NaN or infinity among them, or no columns.
    """
    maps = _checked_maps(maps)
    height, width, count = maps.shape
    columns = _checked_columns(columns, count)
    signed = bool(maps.min() < 0)
    scales = _scales(maps, shared, colour_map(cmap, signed), signed)
    limits = np.array([scale.limit for scale in scales])
    panel = _panel_of(height, width, columns)
    numbered = panel.width >= _ROOM_FOR_NUMBERS
    top, bottom = (13 if numbered else 0), (4 if not shared and not signed else 0)
    step = panel.height + top + bottom + _GAP, panel.width + _GAP
    rows = math.ceil(count / columns)
    canvas = np.full((rows * step[0], columns * step[1], 3), _PAPER)
    for channel, scale in enumerate(scales):
        row, column = divmod(channel, columns)
        y, x = row * step[0] + top, column * step[1]
        place = canvas[y : y + panel.height, x : x + panel.width]
        place[...] = panel.colours(maps[..., channel], scale) if maps[..., channel].any() else _crossed(place.shape)
        if bottom:
            length = round(panel.width * limits[channel] / max(limits.max(), 1e-300))
            canvas[y + panel.height + 1 : y + panel.height + 3, x : x + length] = 0.35
    dead = np.flatnonzero(~maps.any(axis=(0, 1)))
    figure, ax = _canvas_figure(canvas, title, _words_below(scales, shared, dead, count, bars=bool(bottom)))
    _number(ax, range(0, count, 1 if numbered else columns), columns, step, panel.height + top, above=numbered)
    figure.alt_text = _in_words(maps, limits, dead, shared, title)
    return figure


class _Panel(NamedTuple):
    """How one map becomes pixels: enlarged by a whole number, or reduced by averaging."""

    height: int
    width: int
    enlarged: int

    def colours(self, values: np.ndarray, scale: Scale) -> np.ndarray:
        if self.enlarged:
            values = values.repeat(self.enlarged, axis=0).repeat(self.enlarged, axis=1)
        else:
            values = _averaged(values, (self.height, self.width))
        return scale.colours(values, values.shape)


def _panel_of(height: int, width: int, columns: int) -> _Panel:
    room = min((1.02 * WIDTH * DPI - _MARGIN) / columns - _GAP, _LARGEST)
    enlarged = int(room // width)
    if enlarged:
        return _Panel(height * enlarged, width * enlarged, enlarged)
    return _Panel(max(1, round(height * room / width)), max(1, int(room)), 0)


def _averaged(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize(shape[::-1], Image.Resampling.BOX), dtype=float)


def _crossed(shape: tuple[int, ...]) -> np.ndarray:
    """Grey with a cross from corner to corner."""
    down, across = np.mgrid[: shape[0], : shape[1]]
    down, across = (down + 0.5) / shape[0], (across + 0.5) / shape[1]
    away = np.minimum(np.abs(down - across), np.abs(down + across - 1))
    cross = away < 0.75 / min(shape[:2])
    return np.where(cross, _CROSS, _DEAD)[..., np.newaxis]


def _scales(maps: np.ndarray, shared: bool, colours: Colormap, signed: bool) -> list[Scale]:
    """Each map's scale: its own, or the one of all; if one has negative values, 0 is the middle of all."""
    each = list(np.moveaxis(maps, 2, 0))
    if shared:
        return [scale_of(each, colours)] * len(each)
    return [scale_of([values], colours)._replace(signed=signed) for values in each]


def _canvas_figure(canvas: np.ndarray, title: str, below: str) -> tuple[Figure, Axes]:
    """A figure that shows the canvas pixel for pixel, between a title and a caption."""
    heading, caption = wrapped(title, 90), wrapped(below, 125)
    above = 30 * (heading.count("\n") + 1) if heading else 6
    under = 12 + 17 * (caption.count("\n") + 1)
    high, wide = canvas.shape[0] + above + under, max(canvas.shape[1] + _MARGIN + 6, 420)
    figure = new_figure(wide / DPI, high / DPI)
    figure.set_layout_engine("none")
    box = (_MARGIN / wide, under / high, canvas.shape[1] / wide, canvas.shape[0] / high)
    ax = figure.add_axes(box)
    ax.imshow(canvas, interpolation="none")
    ax.set_axis_off()
    figure.text(_MARGIN / wide, 1 - 6 / high, heading, fontsize=TITLE, va="top", parse_math=False)
    figure.text(_MARGIN / wide, 6 / high, caption, fontsize=TEXT - 1, color=QUIET, va="bottom", parse_math=False)
    return figure, ax


def _number(ax: Axes, channels: range, columns: int, step: tuple[int, int], height: int, *, above: bool) -> None:
    """The channels' numbers, above each map or to the left of each row."""
    for channel in channels:
        row, column = divmod(channel, columns)
        y, x = row * step[0] - 0.5, column * step[1] - 0.5
        if above:
            ax.text(x, y, f"{channel}", fontsize=7.5, color=QUIET, va="top")
        else:
            ax.text(x - 5, y + height / 2, f"{channel}", fontsize=TEXT - 1, color=QUIET, va="center", ha="right")


def _words_below(scales: list[Scale], shared: bool, dead: np.ndarray, count: int, *, bars: bool) -> str:
    if dead.size == count:
        return f"{count} of {count} zero everywhere (crossed out)."
    clipped = any(scale.clipped for scale in scales)
    if shared:
        text = f"One scale for all: {scales[0].words()}."
    else:
        text = f"Each map on its own scale{f' ({100 - PERCENTILE:g} % of it may lie beyond)' if clipped else ''}."
        if bars:
            text += " The bar below a map: how strong its channel is beside the strongest."
    return text + (
        f" {dead.size} of {count} zero everywhere (crossed out)." if dead.size else " None is zero everywhere."
    )


def _in_words(maps: np.ndarray, limits: np.ndarray, dead: np.ndarray, shared: bool, title: str) -> str:
    height, width, count = maps.shape
    all_of_them = "The one channel" if count == 1 else f"All {count} channels"
    text = f"{all_of_them} of a layer as maps of {sides(height, width)}{named(title)}, "
    text += "on one scale." if shared else "each on its own scale."
    if dead.size:
        numbers = ", ".join(str(channel) for channel in dead[:10]) + (", ..." if dead.size > 10 else "")
        text += f" {dead.size} of {count} zero everywhere: {numbers}."
    else:
        text += " None is zero everywhere."
    if dead.size < count:
        peaks = np.abs(maps).max(axis=(0, 1))
        strongest = int(peaks.argmax())
        text += f" The largest value, {rounded(float(peaks[strongest]))}, is in channel {strongest}."
    return text


def _checked_maps(maps: np.ndarray) -> np.ndarray:
    values = np.asarray(maps)
    if values.ndim != 3:
        hint = " Take one image of the batch: maps[0]." if values.ndim == 4 else ""
        raise ValueError(f"maps is (height, width, channels), of one image; this has shape {values.shape}.{hint}")
    return checked_values(values, "maps")


def _checked_columns(columns: int | None, count: int) -> int:
    if columns is None:
        wanted = next(
            (wide for most, wide in ((8, 8), (32, 8), (128, 16), (288, 24), (512, 32)) if count <= most), None
        )
        # Beyond 512, about twice as wide as high.
        return min(count, wanted or 8 * math.ceil(math.sqrt(2 * count) / 8))
    try:
        columns = operator.index(columns)
    except TypeError:
        raise TypeError(f"columns is how many maps stand beside each other, an int; not {columns!r}.") from None
    if columns < 1:
        raise ValueError(f"columns is how many maps stand beside each other, at least 1; not {columns}.")
    return min(columns, count)
