"""Maps and predictions to matplotlib figures: the only place that scales values for display.

Methods return raw values; here they are divided by one number, so **0 stays 0** and keeps its colour. No minimum is
subtracted, which would give the weakest place of every map the look of "no evidence". Maps without negative values take
a perceptually uniform colour map (inferno); maps with negative values a diverging one whose middle is 0. A map that is
zero everywhere is shown as the plain photo and captioned "all zero".

Every figure states its scale. Unless told otherwise, full colour is the absolute value that 99.5 % of a map stay below:
a CAM looks the same as with its maximum, while a gradient, whose few largest pixels tower over the rest, can be seen.

Every function returns a `matplotlib.figure.Figure` that pyplot does not know, so a notebook shows it once and nothing
has to be closed; ``figure.savefig("file.png")`` writes it. ``figure.alt_text`` describes it in words, for the ``alt`` of
an HTML page; a notebook's output carries it in its metadata, as `IPython.display.Image` does. Figures are at most some 10
inches wide, at 100 dots an inch: a notebook's width.
"""

from __future__ import annotations

import io
import math
import operator
import os
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

SEQUENTIAL = "inferno"
"""Colour map for maps without negative values: perceptually uniform, dark at 0."""

DIVERGING = "RdBu_r"
"""Colour map for maps with negative values: blue below 0, white at 0, red above."""

PERCENTILE = 99.5
"""Full colour is the absolute value that this percentage of a map stays below; the rest is drawn in full colour, too."""

WIDTH = 10.0
"""Width of a figure in inches, that of a notebook."""

_DPI = 100
_TITLE, _TEXT = 12, 10
_INK, _QUIET, _BAR, _BAR_QUIET = "#1b1b1b", "#555555", "#1f5f8b", "#9dbfd3"
_MARK = "#00d5ff"  # of marked patches: far from every colour of inferno


# --- values and pixels ----------------------------------------------------------------------------------------------


def normalize(heatmap: np.ndarray) -> np.ndarray:
    """A map, or a stack of maps each on its own, divided by its largest absolute value.

    Parameters
    ----------
    heatmap
        ``(H, W)`` or ``(n, H, W)``, any finite numbers.

    Returns
    -------
    numpy.ndarray
        float32 of the same shape, within [0, 1], or [-1, 1] where there are negative values. Zero stays zero, so a map
        that is zero everywhere stays so.
    """
    values = np.asarray(heatmap)
    if values.ndim not in (2, 3):
        raise ValueError(f"heatmap is (H, W) or (n, H, W); this has shape {values.shape}.")
    values = _checked_values(values, "heatmap")
    largest = np.abs(values).max(axis=(-2, -1), keepdims=True)
    return np.divide(values, largest, out=np.zeros_like(values), where=largest > 0).astype(np.float32)


def display_limit(heatmap: np.ndarray) -> float:
    """The absolute value that gets full colour in a map's figure unless told otherwise; 0 for a map of zeros.

    It is the `PERCENTILE` of the map's absolute values, so a few pixels lie beyond it and are drawn in full colour.
    """
    magnitude = np.abs(_checked_map(heatmap))
    # In a map with few places that are not zero, 99.5 % may be below the smallest of them.
    return float(np.percentile(magnitude, PERCENTILE)) or float(magnitude.max())


def overlay_pixels(
    image: np.ndarray,
    heatmap: np.ndarray,
    *,
    cmap: str | Colormap | None = None,
    alpha: float = 0.5,
    limit: float | None = None,
) -> np.ndarray:
    """The pixels of a photo with a map's colours laid over it: ``(1 - alpha) * photo + alpha * colours``.

    Parameters
    ----------
    image
        ``(H, W, 3)`` or grey ``(H, W)``; uint8, or float within [0, 1] or [0, 255].
    heatmap
        ``(h, w)``, raw; another resolution than the photo's is resized bilinearly.
    cmap
        Name of a matplotlib colour map, such as ``"jet"``; None takes `SEQUENTIAL`, or `DIVERGING` where the map has
        negative values.
    alpha
        0 gives the photo, 1 the colours alone.
    limit
        The value that gets full colour (and its negative the opposite one), to compare several figures or to show
        the plain maximum, ``np.abs(heatmap).max()``. None takes its `display_limit`.

    Returns
    -------
    numpy.ndarray
        ``(H, W, 3)`` uint8. The photo itself where the map is zero everywhere.
    """
    values = _checked_map(heatmap)
    return _blend(_checked_image(image), values, _scale_of([values], cmap, limit), alpha)


def save_overlay(
    path: str | os.PathLike,
    image: np.ndarray,
    heatmap: np.ndarray,
    *,
    cmap: str | Colormap | None = None,
    alpha: float = 0.5,
    limit: float | None = None,
) -> None:
    """Write `overlay_pixels` as a PNG of exactly the photo's size, without margins or titles."""
    from PIL import Image

    pixels = overlay_pixels(image, heatmap, cmap=cmap, alpha=alpha, limit=limit)
    Image.fromarray(pixels).save(path, format="PNG")


class _Scale(NamedTuple):
    """How values become colours."""

    colour_map: Colormap
    limit: float
    """The value that gets full colour; 0 where all maps are zero."""
    signed: bool
    """0 is the middle of the colour map, not its start."""
    clipped: bool
    """There are values beyond the limit."""

    def colours(self, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """``(height, width, 3)`` float in [0, 1], at `shape`."""
        share = _resized(values / self.limit, shape)
        return self.colour_map((share + 1) / 2 if self.signed else share)[..., :3]

    def words(self) -> str:
        if self.signed:
            return f"{_number(-self.limit)} to {_number(self.limit)}"
        return f"0 to {_number(self.limit)}"


def _scale_of(maps: Sequence[np.ndarray], cmap: str | Colormap | None, limit: float | None = None) -> _Scale:
    """The one scale on which all of `maps` are shown."""
    largest = max(float(np.abs(values).max()) for values in maps)
    if limit is None:
        limit = max(display_limit(values) for values in maps)
    elif not (np.isfinite(limit) and limit > 0):
        raise ValueError(f"limit is the value that gets full colour, above 0; not {limit!r}.")
    signed = any(values.min() < 0 for values in maps)
    return _Scale(_colour_map(cmap, signed), float(limit), signed, clipped=largest > limit)


def _blend(photo: np.ndarray, values: np.ndarray, scale: _Scale, alpha: float) -> np.ndarray:
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is between 0 (the photo) and 1 (the colours alone), not {alpha!r}.")
    if not values.any():
        return photo.copy()
    colours = scale.colours(values, photo.shape[:2])
    return np.rint((1 - alpha) * photo + alpha * 255 * colours).astype(np.uint8)


def _resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The map at (height, width), bilinear with half-pixel centres."""
    from PIL import Image

    if values.shape == tuple(shape):
        return values
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), dtype=float)


def _colour_map(cmap: str | Colormap | None, signed: bool) -> Colormap:
    import matplotlib

    if cmap is None:
        cmap = DIVERGING if signed else SEQUENTIAL
    if not isinstance(cmap, str):
        return cmap
    if cmap not in matplotlib.colormaps:
        raise ValueError(
            f"There is no colour map {cmap!r}. Perceptually uniform are viridis, inferno, magma, plasma and cividis; "
            "RdBu_r suits signed maps; jet is there as well."
        )
    return matplotlib.colormaps[cmap]


# --- checking what comes in -----------------------------------------------------------------------------------------


def _checked_values(values: np.ndarray, name: str) -> np.ndarray:
    """`values` as float64; an error where they are not finite numbers."""
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} holds {values.dtype}, not numbers.")
    if values.size == 0:
        raise ValueError(f"{name} is empty: its shape is {values.shape}.")
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise ValueError(f"{name} has {bad} values of {values.size} that are NaN or infinite, so it has no scale.")
    return values.astype(float)


def _checked_map(heatmap: np.ndarray, name: str = "heatmap") -> np.ndarray:
    values = np.asarray(heatmap)
    if values.ndim != 2:
        hint = f" Take one map of the batch: {name}[0]." if values.ndim == 3 else ""
        raise ValueError(f"{name} is one map, (height, width); this has shape {values.shape}.{hint}")
    return _checked_values(values, name)


def _checked_stack(stack: np.ndarray, name: str, count: int) -> list[np.ndarray]:
    """The maps of one method, one for each photo; a single map goes with a single photo."""
    if isinstance(stack, np.ndarray) and stack.ndim == 2:
        stack = stack[None]
    if len(stack) != count:
        raise ValueError(f"maps[{name!r}] holds {len(stack)} maps for {count} photos.")
    return [_checked_map(heatmap, f"maps[{name!r}][{index}]") for index, heatmap in enumerate(stack)]


def _checked_image(image: np.ndarray, name: str = "image") -> np.ndarray:
    """The photo as ``(H, W, 3)`` uint8."""
    pixels = np.asarray(image)
    if pixels.ndim == 4 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"{name} is (height, width, 3) or (height, width); this has shape {pixels.shape}.")
    if pixels.dtype != np.uint8:
        pixels = _checked_values(pixels, name)
        if pixels.min() < 0 or pixels.max() > 255:
            raise ValueError(
                f"{name} has values from {pixels.min():.3g} to {pixels.max():.3g}; a photo has 0 to 255 (or 0 to 1). "
                "It looks preprocessed: give the photo as it was before preprocess_input (which changes float arrays "
                "in place, so keep a copy)."
            )
        pixels = np.rint(pixels * (255 if pixels.max() <= 1 else 1)).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def _checked_images(images: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """Several photos; one photo alone counts as a batch of one."""
    if isinstance(images, np.ndarray) and images.ndim in (2, 3) and (images.ndim == 2 or images.shape[2] in (1, 3)):
        images = [images]
    if len(images) == 0:
        raise ValueError("images is empty: there is no photo to show.")
    return [_checked_image(image, f"images[{index}]") for index, image in enumerate(images)]


def _checked_titles(titles: Sequence[str] | None, count: int) -> list[str]:
    if titles is None:
        return [""] * count
    if isinstance(titles, str):
        titles = [titles]
    if len(titles) != count:
        raise ValueError(f"There are {len(titles)} titles for {count} photos.")
    return [str(title) for title in titles]


def _checked_grid(grid: tuple[int, int]) -> tuple[int, int]:
    try:
        rows, columns = (operator.index(side) for side in grid)
    except (TypeError, ValueError):
        raise TypeError(f"grid is (rows, columns) of patches, two ints; not {grid!r}.") from None
    if rows < 1 or columns < 1:
        raise ValueError(f"grid is (rows, columns) of patches, both at least 1; not {grid!r}.")
    return rows, columns


def _checked_patch(patch: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    try:
        row, column = (operator.index(place) for place in patch)
    except (TypeError, ValueError):
        raise TypeError(f"A patch is (row, column), two ints; not {patch!r}.") from None
    if not (0 <= row < grid[0] and 0 <= column < grid[1]):
        raise ValueError(
            f"There is no patch {(row, column)}: rows are 0 to {grid[0] - 1} and columns 0 to {grid[1] - 1}."
        )
    return row, column


def _checked_token_attention(
    attention: np.ndarray, axes: int, grid: tuple[int, int], *, class_token: bool
) -> np.ndarray:
    """Attention of tokens of which the last are the patches of `grid`; with the class token before them if asked."""
    values = np.asarray(attention)
    rows, columns = _checked_grid(grid)
    wanted = "(heads, tokens, tokens)" if axes == 3 else "(tokens, tokens)"
    if values.ndim != axes or values.shape[-1] != values.shape[-2]:
        raise ValueError(f"attention is {wanted}, of one layer and one photo; this has shape {values.shape}.")
    values = _checked_values(values, "attention")
    patches, tokens = rows * columns, values.shape[-1]
    if tokens - patches not in ((1,) if class_token else (0, 1)):
        raise ValueError(
            f"{rows} x {columns} patches and the class token are {patches + 1} tokens; attention has {tokens}."
        )
    return values


# --- figures --------------------------------------------------------------------------------------------------------


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
    photo, values = _checked_image(image), _checked_map(heatmap)
    scale = _scale_of([values], cmap, limit)
    figure = _figure(6, 5) if ax is None else ax.figure
    target = figure.add_subplot() if ax is None else ax
    _show(target, _blend(photo, values, scale, alpha))
    target.set_title(_wrapped(title, 40), fontsize=_TITLE, parse_math=False)
    if ax is not None or not values.any():
        _caption(target, values, scale)
    else:
        _colour_bar(figure, target, scale)
    if ax is None:
        figure.alt_text = f"A photo with a heatmap over it{_named(title)}: {_in_words(values)}."
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
    photos = _checked_images(images)
    titles = _checked_titles(titles, len(photos))
    if not maps:
        raise ValueError("maps is empty: give a dict of method names to maps.")
    stacks = {name: _checked_stack(stack, name, len(photos)) for name, stack in maps.items()}
    upright = len(stacks) <= 6 or len(photos) >= len(stacks)
    shape = (len(photos), len(stacks) + 1) if upright else (len(stacks) + 1, len(photos))
    figure, axes = _grid(*shape, photos[0].shape[0] / photos[0].shape[1], largest=3.2 if upright else 1.9)
    axes = axes if upright else axes.T
    for row, photo in enumerate(photos):
        _show(axes[row, 0], photo)
        for column, values in enumerate((stack[row] for stack in stacks.values()), start=1):
            scale = _scale_of([values], cmap)
            _show(axes[row, column], _blend(photo, values, scale, alpha))
            _caption(axes[row, column], values, scale)
    _label(axes[:, 0], titles, beside=upright)
    _label(axes[0], ["photo", *stacks], beside=not upright)
    _scale_legend(figure, axes, [values for stack in stacks.values() for values in stack], cmap)
    described = [
        f"{name}{_named(title)}: {_in_words(stack[row])}"
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
        Written above; the scale is added to it.
    cmap, alpha
        As for `overlay_pixels`.
    """
    if not maps:
        raise ValueError("maps is empty: give a dict of names to maps.")
    values = {name: _checked_map(heatmap, f"maps[{name!r}]") for name, heatmap in maps.items()}
    photo = None if image is None else _checked_image(image)
    panels = len(values) + (photo is not None)
    columns = min(panels, 4)
    height, width = next(iter(values.values())).shape if photo is None else photo.shape[:2]
    figure, axes = _grid(math.ceil(panels / columns), columns, height / width, extra=0.3 if shared else 0.65)
    places = list(axes.flat)
    common = _scale_of(list(values.values()), cmap) if shared else None
    if photo is not None:
        first = places.pop(0)
        _show(first, photo)
        first.set_title("photo", fontsize=_TITLE)
        if not shared:
            # An empty bar, so that the photo is as large as the maps beside it.
            _colour_bar(figure, first, _scale_of([np.zeros((1, 1))], cmap), visible=False)
    for ax, (name, heatmap) in zip(places, values.items(), strict=False):
        scale = common or _scale_of([heatmap], cmap)
        _draw_map(ax, heatmap, scale, photo, alpha)
        if not shared:
            _colour_bar(figure, ax, scale, visible=heatmap.any())
        ax.set_title(_wrapped(name, 26), fontsize=_TITLE, parse_math=False)
    for ax in places[len(values) :]:
        ax.axis("off")
    if common and common.limit > 0:
        _colour_bar(figure, axes, common)
    scales = "one scale for all" if shared else "each on its own scale"
    figure.suptitle(f"{title} ({scales})" if title else scales.capitalize(), fontsize=_TITLE, parse_math=False)
    words = "; ".join(f"{name}: {_in_words(heatmap)}" for name, heatmap in values.items())
    figure.alt_text = f"{len(values)} maps beside each other{_named(title)}, {scales}. {words}."
    return figure


def patch_grid(
    image: np.ndarray,
    grid: tuple[int, int],
    *,
    patch: tuple[int, int],
    window: tuple[slice, slice],
    title: str = "",
) -> Figure:
    """A photo cut into a transformer's patches, and what one of its tokens sees.

    Parameters
    ----------
    image
        As for `overlay_pixels`.
    grid
        ``(rows, columns)`` of patches. The first and the last patch of the first and the last row get the numbers of
        their tokens, counted from 1, since token 0 is the class token.
    patch
        ``(row, column)`` of one patch, counted from 0: outlined.
    window
        The pixels that its token sees, such as `labutils.explain.ReceptiveField.window` gives: shown beside it.
    title
        Written above.
    """
    photo = _checked_image(image)
    rows, columns = _checked_grid(grid)
    row, column = _checked_patch(patch, (rows, columns))
    height, width = photo.shape[:2]
    down, across = window
    seen = photo[down, across]
    if seen.ndim != 3 or seen.size == 0:
        raise ValueError(f"window is two slices of the photo's {height} x {width} pixels; not {window!r}.")
    figure = _figure(WIDTH * 0.9, 4.6 * min(height / width, 1.4) + 0.6)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    _show(left, photo)
    lines = {"colors": "white", "linewidth": 0.6, "alpha": 0.8}
    left.hlines(np.arange(1, rows) * height / rows - 0.5, -0.5, width - 0.5, **lines)
    left.vlines(np.arange(1, columns) * width / columns - 0.5, -0.5, height - 0.5, **lines)
    for corner in sorted({(0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1)}):
        x, y = (corner[1] + 0.5) * width / columns - 0.5, (corner[0] + 0.5) * height / rows - 0.5
        token = 1 + corner[0] * columns + corner[1]
        box = {"boxstyle": "round,pad=0.15", "facecolor": "black", "edgecolor": "none", "alpha": 0.7}
        left.text(x, y, str(token), color="white", fontsize=_TEXT - 2, ha="center", va="center", bbox=box)
    _outline(left, (row, column), (rows, columns), (height, width))
    left.set_title(_wrapped(title or f"{rows} x {columns} patches", 45), fontsize=_TITLE, parse_math=False)
    left.set_xlabel(f"each patch {_sides(height / rows, width / columns)} pixels", fontsize=_TEXT, color=_QUIET)
    _show(right, seen)
    token = 1 + row * columns + column
    right.set_title(f"what token {token} sees", fontsize=_TITLE)
    right.set_xlabel(f"{_sides(*seen.shape[:2])} pixels", fontsize=_TEXT, color=_QUIET)
    start = down.indices(height)[0], across.indices(width)[0]
    _outline(right, (row, column), (rows, columns), (height, width), start)
    figure.alt_text = (
        f"A photo cut into {rows} x {columns} patches{_named(title)}. The patch in row {row} and column {column} is "
        f"outlined; beside the photo, the {_sides(*seen.shape[:2])} pixels that its token, number {token}, sees."
    )
    return figure


def attention_heads(
    attention: np.ndarray,
    image: np.ndarray,
    grid: tuple[int, int],
    *,
    patch: tuple[int, int] | None = None,
    title: str = "",
    cmap: str | Colormap | None = None,
) -> Figure:
    """One layer's heads beside the photo: what one token takes from each patch, head by head.

    Patches are shown as they are, one colour each, on each head's own scale. The caption says how much of the
    attention goes to the class token, which has no place in a map.

    Parameters
    ----------
    attention
        ``(heads, tokens, tokens)``: one layer's attention for one photo, after the softmax; the class token first, where
        there is one, and the patches row by row.
    image
        As for `overlay_pixels`.
    grid
        ``(rows, columns)`` of patches.
    patch
        Whose row of the attention: ``(row, column)`` of a patch, counted from 0, or None for the class token.
    title
        Written above.
    cmap
        As for `overlay_pixels`.
    """
    heads = _checked_token_attention(attention, 3, grid, class_token=patch is None)
    photo, grid = _checked_image(image), _checked_grid(grid)
    before = heads.shape[-1] - grid[0] * grid[1]
    token, whose = 0, "class token"
    if patch is not None:
        row, column = _checked_patch(patch, grid)
        token, whose = before + row * grid[1] + column, f"patch ({row}, {column})"
    maps = heads[:, token, before:].reshape(-1, *grid)
    figure, places = _panels_beside(photo, len(heads))
    places[0].set_xlabel(f"attention of\nthe {whose}", fontsize=_TEXT, color=_QUIET)
    for number, (ax, values) in enumerate(zip(places[1:], maps, strict=True)):
        scale = _scale_of([values], cmap)
        _show(ax, scale.colours(values, grid) if values.any() else np.full((*grid, 3), 0.93))
        ax.set_aspect(grid[1] / grid[0] * photo.shape[0] / photo.shape[1])  # as high and wide as the photo
        ax.set_title(f"head {number}", fontsize=_TITLE)
        _caption(ax, values, scale, _class_token_share(heads[number, token], before))
    if patch is not None:
        _outline(places[0], patch, grid, photo.shape[:2])
        for ax in places[1:]:
            _outline(ax, patch, grid, grid)
    figure.suptitle(_wrapped(title, 90), fontsize=_TITLE, parse_math=False)
    words = "; ".join(f"head {number}: {_in_words(values)}" for number, values in enumerate(maps))
    figure.alt_text = f"Attention of the {whose} in {len(heads)} heads{_named(title)}, each on its own scale. {words}."
    return figure


def attention_of_patches(
    attention: np.ndarray,
    image: np.ndarray,
    grid: tuple[int, int],
    patches: Sequence[tuple[int, int]],
    *,
    title: str = "",
    cmap: str | Colormap | None = None,
    alpha: float = 0.6,
) -> Figure:
    """What chosen patches attend to: each patch outlined on the photo, under the map of its attention.

    Parameters
    ----------
    attention
        ``(tokens, tokens)``: one head's attention for one photo, or the mean over heads, or a rollout; the class token
        first, where there is one, and the patches row by row.
    image, cmap, alpha
        As for `overlay_pixels`.
    grid
        ``(rows, columns)`` of patches.
    patches
        The chosen ones: ``(row, column)`` each, counted from 0.
    title
        Written above.
    """
    matrix = _checked_token_attention(attention, 2, grid, class_token=False)
    photo, grid = _checked_image(image), _checked_grid(grid)
    before = len(matrix) - grid[0] * grid[1]
    if len(patches) == 0:
        raise ValueError("patches is empty: give (row, column) of each patch to look at.")
    chosen = [_checked_patch(patch, grid) for patch in patches]
    figure, places = _panels_beside(photo, len(chosen))
    described = []
    for number, (ax, (row, column)) in enumerate(zip(places[1:], chosen, strict=True), start=1):
        attended = matrix[before + row * grid[1] + column]
        values = attended[before:].reshape(grid)
        scale = _scale_of([values], cmap)
        _show(ax, _blend(photo, values, scale, alpha))
        ax.set_title(f"{number}: patch ({row}, {column})", fontsize=_TITLE)
        _caption(ax, values, scale, _class_token_share(attended, before))
        for marked in (ax, places[0]):
            _outline(marked, (row, column), grid, photo.shape[:2], text=str(number))
        described.append(f"patch ({row}, {column}): {_in_words(values)}")
    figure.suptitle(_wrapped(title, 90), fontsize=_TITLE, parse_math=False)
    figure.alt_text = (
        f"What {len(chosen)} patches of a photo attend to{_named(title)}, each on its own scale. "
        f"{'; '.join(described)}."
    )
    return figure


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
    photos = _checked_images(images)
    titles = _checked_titles(titles, len(photos))
    if len(decoded) != len(photos):
        raise ValueError(f"decoded is for {len(decoded)} photos, images holds {len(photos)}.")
    columns = min(len(photos), 4)
    rows = math.ceil(len(photos) / columns)
    most = max(len(best) for best in decoded)
    cell = WIDTH / max(columns, 3)
    heights = [0.9 * cell, 0.42 * most + 0.1] * rows
    figure = _figure(cell * columns, sum(heights) + 0.45 * rows)
    axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=heights)
    for ax in axes.flat:
        ax.axis("off")
    for index, (photo, best, title) in enumerate(zip(photos, decoded, titles, strict=True)):
        row, column = divmod(index, columns)
        _show(axes[2 * row, column], photo)
        axes[2 * row, column].axis("on")
        axes[2 * row, column].set_title(_wrapped(title, 30), fontsize=_TITLE, parse_math=False)
        _draw_bars(axes[2 * row + 1, column], best, most)
    words = [
        f"{title or f'photo {index + 1}'}: " + ", ".join(f"{name} {_percent(share)}" for _, name, share in best)
        for index, (title, best) in enumerate(zip(titles, decoded, strict=True))
    ]
    figure.alt_text = f"The best classes of each photo as bars. {'; '.join(words)}."
    return figure


# --- parts of figures -----------------------------------------------------------------------------------------------


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


def _figure(width: float, height: float) -> Figure:
    figure = _figure_type()(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.05, h_pad=0.06)
    return figure


def _grid(
    rows: int, columns: int, aspect: float, *, largest: float = 3.2, extra: float = 0.4
) -> tuple[Figure, np.ndarray]:
    """A figure of rows x columns panels for pictures whose height is `aspect` times their width.

    No panel is wider than `largest` inches; `extra` is the height of a panel's title, caption and colour bar.
    """
    cell = min(max((WIDTH - 0.2) / columns, 1.4), largest)
    figure = _figure(cell * columns + 0.2, (cell * aspect + extra) * rows + 0.8)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def _panels_beside(photo: np.ndarray, count: int) -> tuple[Figure, list[Axes]]:
    """A figure with the photo first and `count` panels of its shape after it, five a row."""
    columns = min(count + 1, 5)
    figure, axes = _grid(math.ceil((count + 1) / columns), columns, photo.shape[0] / photo.shape[1], extra=0.6)
    places = list(axes.flat)
    _show(places[0], photo)
    places[0].set_title("photo", fontsize=_TITLE)
    for ax in places[count + 1 :]:
        ax.axis("off")
    return figure, places[: count + 1]


def _show(ax: Axes, pixels: np.ndarray) -> None:
    ax.imshow(pixels)
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ax.spines.values():
        side.set_visible(False)


def _draw_map(ax: Axes, heatmap: np.ndarray, scale: _Scale, photo: np.ndarray | None, alpha: float) -> None:
    """One map of `side_by_side`, over the photo if there is one."""
    if not heatmap.any():
        blank = np.full((*heatmap.shape, 3), 0.93)
        _show(ax, blank if photo is None else photo)
        _caption(ax, heatmap, scale)
    else:
        _show(ax, scale.colours(heatmap, heatmap.shape) if photo is None else _blend(photo, heatmap, scale, alpha))


def _caption(ax: Axes, values: np.ndarray, scale: _Scale, more: str = "") -> None:
    words = scale.words() if values.any() else "all zero"
    ax.set_xlabel(words + more, fontsize=_TEXT, color=_QUIET)


def _class_token_share(row: np.ndarray, before: int) -> str:
    return f"\nclass token {_percent(float(row[0]))}" if before else ""


def _outline(
    ax: Axes,
    patch: tuple[int, int],
    grid: tuple[int, int],
    size: tuple[int, int],
    start: tuple[int, int] = (0, 0),
    text: str = "",
) -> None:
    """Draw a patch's border, and a text beside it, into a picture whose first pixel is `start` of `size` pixels."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    height, width = size[0] / grid[0], size[1] / grid[1]
    top, left = patch[0] * height - start[0] - 0.5, patch[1] * width - start[1] - 0.5
    dark = [withStroke(linewidth=3, foreground="black")]
    ax.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=_MARK, linewidth=1.8, path_effects=dark))
    if text:
        # To the right of the patch, or to its left where the picture ends.
        x, side = (left - 0.3 * width, "right") if patch[1] > 0.8 * grid[1] else (left + 1.3 * width, "left")
        look = {"color": _MARK, "fontsize": _TEXT, "fontweight": "bold", "path_effects": dark}
        ax.text(x, top + height / 2, text, ha=side, va="center_baseline", **look)


def _colour_bar(figure: Figure, axes: Axes | np.ndarray, scale: _Scale, *, visible: bool = True) -> None:
    """A bar with numbers below one panel, or below all of them; an invisible one keeps the space."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    limit = scale.limit or 1.0
    colours = ScalarMappable(Normalize(-limit if scale.signed else 0, limit), scale.colour_map)
    extend = {(True, True): "both", (True, False): "max"}.get((scale.clipped, scale.signed), "neither")
    shape = {"shrink": 0.4, "aspect": 40} if isinstance(axes, np.ndarray) else {"shrink": 0.85, "aspect": 25}
    bar = figure.colorbar(colours, ax=axes, location="bottom", pad=0.02, extend=extend, **shape)
    ticks = [-limit, 0, limit] if scale.signed else [0, limit / 2, limit]
    bar.set_ticks(ticks, labels=[_number(tick, 2) for tick in ticks], fontsize=_TEXT)
    bar.outline.set_visible(False)
    bar.ax.set_visible(visible)


def _scale_legend(figure: Figure, axes: np.ndarray, maps: Sequence[np.ndarray], cmap: str | Colormap | None) -> None:
    """What a gallery's colours mean: a strip of each colour map in use, and how each map is scaled."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    for signed in sorted({bool(values.min() < 0) for values in maps if values.any()}):
        colours = ScalarMappable(Normalize(-1 if signed else 0, 1), _colour_map(cmap, signed))
        bar = figure.colorbar(colours, ax=axes, location="bottom", shrink=0.4, aspect=45, pad=0.015)
        labels = ["\N{MINUS SIGN}limit", "0", "limit"] if signed else ["0", "limit"]
        bar.set_ticks([-1, 0, 1] if signed else [0, 1], labels=labels, fontsize=_TEXT)
        bar.outline.set_visible(False)
    text = f"Each map on its own scale, given below it; {100 - PERCENTILE:g} % of a map may lie beyond its limit."
    figure.supxlabel(text, fontsize=_TEXT, color=_QUIET)


def _label(axes: np.ndarray, texts: Sequence[str], *, beside: bool) -> None:
    """Titles of a gallery's rows (beside them) or columns (above them)."""
    for ax, text in zip(axes, texts, strict=True):
        if beside:
            ax.set_ylabel(_wrapped(text, 16), fontsize=_TITLE, parse_math=False)
        else:
            ax.set_title(_wrapped(text, 16), fontsize=_TITLE, parse_math=False)


def _draw_bars(ax: Axes, best: Sequence[tuple[str, str, float]], most: int) -> None:
    """Bars from the top down, the name above each: names of any length stay readable."""
    for place, (_, name, share) in enumerate(best):
        ax.barh(place, 1, height=0.28, color="#eeeeee")
        ax.barh(place, float(share), height=0.28, color=_BAR if place == 0 else _BAR_QUIET)
        bold = "bold" if place == 0 else "normal"
        text = {"fontsize": _TEXT, "color": _INK, "va": "bottom", "fontweight": bold, "parse_math": False}
        ax.text(0, place - 0.2, name.replace("_", " "), ha="left", **text)
        ax.text(1, place - 0.2, _percent(share), ha="right", **text)
    ax.set_xlim(-0.03, 1.03)
    ax.set_ylim(most - 0.5, -0.8)


# --- words ----------------------------------------------------------------------------------------------------------


def _percent(share: float) -> str:
    """A probability in [0, 1] as "62.3 %"; what rounds to none or all says on which side it is."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def _sides(height: float, width: float) -> str:
    return f"{height:g} x {width:g}"


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(str(text).replace("_", " "), width))


def _named(title: str) -> str:
    return f" ({title})" if title else ""


def _in_words(values: np.ndarray) -> str:
    """Where a map is strongest: "strongest at the top left (0.12)"."""
    if not values.any():
        return "all zero"
    place = np.unravel_index(np.abs(values).argmax(), values.shape)
    down, across = (int(3 * index // side) for index, side in zip(place, values.shape, strict=True))
    words = " ".join(filter(None, [("top", "", "bottom")[down], ("left", "", "right")[across]])) or "centre"
    return f"strongest at the {words} ({_number(values[place])})"
