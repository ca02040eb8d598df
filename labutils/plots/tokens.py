"""A transformer's patches and its attention."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from labutils.plots.arguments import checked_image, checked_values
from labutils.plots.figures import MARK, QUIET, TEXT, TITLE, WIDTH, caption, new_figure, panel_grid, show
from labutils.plots.scales import blended, scale_of
from labutils.plots.words import in_words, named, percent, sides, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


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
    photo = checked_image(image)
    rows, columns = _checked_grid(grid)
    row, column = _checked_patch(patch, (rows, columns))
    height, width = photo.shape[:2]
    down, across = window
    seen = photo[down, across]
    if seen.ndim != 3 or seen.size == 0:
        raise ValueError(f"window is two slices of the photo's {height} x {width} pixels; not {window!r}.")
    figure = new_figure(WIDTH * 0.9, 4.6 * min(height / width, 1.4) + 0.6)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    show(left, photo)
    lines = {"colors": "white", "linewidth": 0.6, "alpha": 0.8}
    left.hlines(np.arange(1, rows) * height / rows - 0.5, -0.5, width - 0.5, **lines)
    left.vlines(np.arange(1, columns) * width / columns - 0.5, -0.5, height - 0.5, **lines)
    for corner in sorted({(0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1)}):
        x, y = (corner[1] + 0.5) * width / columns - 0.5, (corner[0] + 0.5) * height / rows - 0.5
        token = 1 + corner[0] * columns + corner[1]
        box = {"boxstyle": "round,pad=0.15", "facecolor": "black", "edgecolor": "none", "alpha": 0.7}
        left.text(x, y, str(token), color="white", fontsize=TEXT - 2, ha="center", va="center", bbox=box)
    _outline(left, (row, column), (rows, columns), (height, width))
    left.set_title(wrapped(title or f"{rows} x {columns} patches", 45), fontsize=TITLE, parse_math=False)
    left.set_xlabel(f"each patch {sides(height / rows, width / columns)} pixels", fontsize=TEXT, color=QUIET)
    show(right, seen)
    token = 1 + row * columns + column
    right.set_title(f"what token {token} sees", fontsize=TITLE)
    right.set_xlabel(f"{sides(*seen.shape[:2])} pixels", fontsize=TEXT, color=QUIET)
    start = down.indices(height)[0], across.indices(width)[0]
    _outline(right, (row, column), (rows, columns), (height, width), start)
    figure.alt_text = (
        f"A photo cut into {rows} x {columns} patches{named(title)}. The patch in row {row} and column {column} is "
        f"outlined; beside the photo, the {sides(*seen.shape[:2])} pixels that its token, number {token}, sees."
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
    photo, grid = checked_image(image), _checked_grid(grid)
    before = heads.shape[-1] - grid[0] * grid[1]
    token, whose = 0, "class token"
    if patch is not None:
        row, column = _checked_patch(patch, grid)
        token, whose = before + row * grid[1] + column, f"patch ({row}, {column})"
    maps = heads[:, token, before:].reshape(-1, *grid)
    figure, places = _panels_beside(photo, len(heads))
    places[0].set_xlabel(f"attention of\nthe {whose}", fontsize=TEXT, color=QUIET)
    for number, (ax, values) in enumerate(zip(places[1:], maps, strict=True)):
        scale = scale_of([values], cmap)
        show(ax, scale.colours(values, grid) if values.any() else np.full((*grid, 3), 0.93))
        ax.set_aspect(grid[1] / grid[0] * photo.shape[0] / photo.shape[1])  # as high and wide as the photo
        ax.set_title(f"head {number}", fontsize=TITLE)
        caption(ax, values, scale, _class_token_share(heads[number, token], before))
    if patch is not None:
        _outline(places[0], patch, grid, photo.shape[:2])
        for ax in places[1:]:
            _outline(ax, patch, grid, grid)
    figure.suptitle(wrapped(title, 90), fontsize=TITLE, parse_math=False)
    words = "; ".join(f"head {number}: {in_words(values)}" for number, values in enumerate(maps))
    figure.alt_text = f"Attention of the {whose} in {len(heads)} heads{named(title)}, each on its own scale. {words}."
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
    photo, grid = checked_image(image), _checked_grid(grid)
    before = len(matrix) - grid[0] * grid[1]
    if len(patches) == 0:
        raise ValueError("patches is empty: give (row, column) of each patch to look at.")
    chosen = [_checked_patch(patch, grid) for patch in patches]
    figure, places = _panels_beside(photo, len(chosen))
    described = []
    for number, (ax, (row, column)) in enumerate(zip(places[1:], chosen, strict=True), start=1):
        attended = matrix[before + row * grid[1] + column]
        values = attended[before:].reshape(grid)
        scale = scale_of([values], cmap)
        show(ax, blended(photo, values, scale, alpha))
        ax.set_title(f"{number}: patch ({row}, {column})", fontsize=TITLE)
        caption(ax, values, scale, _class_token_share(attended, before))
        for marked in (ax, places[0]):
            _outline(marked, (row, column), grid, photo.shape[:2], text=str(number))
        described.append(f"patch ({row}, {column}): {in_words(values)}")
    figure.suptitle(wrapped(title, 90), fontsize=TITLE, parse_math=False)
    figure.alt_text = (
        f"What {len(chosen)} patches of a photo attend to{named(title)}, each on its own scale. {'; '.join(described)}."
    )
    return figure


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
    values = checked_values(values, "attention")
    patches, tokens = rows * columns, values.shape[-1]
    if tokens - patches not in ((1,) if class_token else (0, 1)):
        raise ValueError(
            f"{rows} x {columns} patches and the class token are {patches + 1} tokens; attention has {tokens}."
        )
    return values


def _panels_beside(photo: np.ndarray, count: int) -> tuple[Figure, list[Axes]]:
    """A figure with the photo first and `count` panels of its shape after it, five a row."""
    columns = min(count + 1, 5)
    rows = math.ceil((count + 1) / columns)
    # A title and two lines below for each panel; of the figure's own margin, its title needs only a part.
    figure, axes = panel_grid(rows, columns, photo.shape[0] / photo.shape[1], extra=0.75 - 0.4 / rows)
    places = list(axes.flat)
    show(places[0], photo)
    places[0].set_title("photo", fontsize=TITLE)
    for ax in places[count + 1 :]:
        ax.axis("off")
    return figure, places[: count + 1]


def _class_token_share(row: np.ndarray, before: int) -> str:
    return f"\nclass token {percent(float(row[0]))}" if before else ""


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
    ax.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=MARK, linewidth=1.8, path_effects=dark))
    if text:
        # To the right of the patch, or to its left where the picture ends.
        x, side = (left - 0.3 * width, "right") if patch[1] > 0.8 * grid[1] else (left + 1.3 * width, "left")
        look = {"color": MARK, "fontsize": TEXT, "fontweight": "bold", "path_effects": dark}
        ax.text(x, top + height / 2, text, ha=side, va="center_baseline", **look)
