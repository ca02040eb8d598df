"""What a hidden layer makes of its inputs: points that lie near each other or not, and tables of numbers as colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from labutils.plots.arguments import checked_values
from labutils.plots.figures import INK, QUIET, TEXT, TITLE, WIDTH, colour_bar, new_figure
from labutils.plots.scales import scale_of
from labutils.plots.words import named, rounded, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

WRITTEN = 13
"""A matrix of at most so many columns has its numbers written into it."""


def matrix(
    values: np.ndarray,
    *,
    rows: Sequence | None = None,
    columns: Sequence | None = None,
    row_label: str = "",
    column_label: str = "",
    title: str = "",
    cmap: str | Colormap | None = None,
) -> Figure:
    """A table of numbers as colours on one scale; with few columns, the numbers are written into it.

    Parameters
    ----------
    values
        ``(rows, columns)``, any finite numbers. Colours start at 0, as those of maps do: a diverging colour map where there
        are negative values.
    rows, columns
        Their names; None counts from 0.
    row_label, column_label
        What the rows and the columns are.
    title
        Written above.
    cmap
        As for `overlay_pixels`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    table = np.asarray(values)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"values is a table, (rows, columns); this has shape {table.shape}.")
    table = checked_values(table, "values")
    names = [
        _names(given, count, what)
        for given, count, what in zip((rows, columns), table.shape, ("rows", "columns"), strict=True)
    ]
    scale = scale_of([table], cmap, float(np.abs(table).max()) or None)
    height = min(max(0.34 * table.shape[0], 1.5), 8.0)
    figure = new_figure(WIDTH * 0.95 if table.shape[1] > WRITTEN else 7.2, height + 1.6)
    ax = figure.add_subplot()
    shown = np.zeros((*table.shape, 3)) + 0.93 if scale.limit == 0 else scale.colours(table, table.shape)
    ax.imshow(shown, aspect="auto", interpolation="nearest")
    if table.shape[1] <= WRITTEN:
        _write(ax, table, shown)
    for axis, texts in ((ax.yaxis, names[0]), (ax.xaxis, names[1])):
        step = max(1, -(-len(texts) // 40))
        axis.set_ticks(range(0, len(texts), step), labels=texts[::step], fontsize=TEXT)
    ax.set_ylabel(row_label, fontsize=TEXT, parse_math=False)
    ax.set_xlabel(column_label, fontsize=TEXT, parse_math=False)
    ax.set_title(wrapped(title, 90), fontsize=TITLE, parse_math=False)
    colour_bar(figure, ax, scale)
    row, column = np.unravel_index(np.abs(table).argmax(), table.shape)
    figure.alt_text = (
        f"{table.shape[0]} {row_label or 'rows'} by {table.shape[1]} {column_label or 'columns'} as colours{named(title)}. "
        f"From {rounded(table.min())} to {rounded(table.max())}; strongest in {names[0][row]}, {names[1][column]}."
    )
    return figure


def points(
    places: np.ndarray,
    labels: Sequence,
    *,
    marked: Sequence[int] | np.ndarray = (),
    marked_as: str = "marked",
    x_label: str = "",
    y_label: str = "",
    title: str = "",
) -> Figure:
    """Points in a plane, each drawn as the name of its group, with a colour for each group.

    Parameters
    ----------
    places
        ``(n, 2)``: how far to the right, and how far up.
    labels
        ``(n,)``: the group of each, a number or a short text.
    marked
        The numbers of points that get a circle.
    marked_as
        What the circle means.
    x_label, y_label, title
        What the axes show; written above.

    Returns
    -------
    matplotlib.figure.Figure
    """
    values = np.asarray(places)
    if values.ndim != 2 or values.shape[1] != 2 or not len(values):
        raise ValueError(f"places is (n, 2), a point in each row; this has shape {values.shape}.")
    values = checked_values(values, "places")
    names = [str(label) for label in labels]
    if len(names) != len(values):
        raise ValueError(f"There are {len(names)} labels for {len(values)} points.")
    circled = np.asarray(marked, dtype=int)
    if circled.size and not (circled.min() >= 0 and circled.max() < len(values)):
        raise ValueError(f"marked holds numbers of points, 0 to {len(values) - 1}; not {circled.tolist()}.")
    from matplotlib import colormaps

    groups = sorted(set(names))
    # Dark ones of all hues: the letters are thin, and differ by themselves.
    colours = {
        name: colormaps["turbo"](0.05 + 0.9 * place / max(1, len(groups) - 1)) for place, name in enumerate(groups)
    }
    figure = new_figure(WIDTH * 0.8, 6.2)
    ax = figure.add_subplot()
    for place, name in zip(values, names, strict=True):
        colour = tuple(0.72 * part for part in colours[name][:3])
        ax.text(*place, name, color=colour, fontsize=TEXT, ha="center", va="center", parse_math=False, clip_on=True)
    ax.update_datalim(values)
    ax.margins(0.04)
    ax.autoscale_view()
    if circled.size:
        ring = {"facecolors": "none", "edgecolors": INK, "linewidths": 1.4, "label": marked_as}
        ax.scatter(*values[circled].T, s=190, **ring)
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=TEXT)
    ax.set_xlabel(x_label, fontsize=TEXT, parse_math=False)
    ax.set_ylabel(y_label, fontsize=TEXT, parse_math=False)
    ax.set_title(wrapped(title, 80), fontsize=TITLE, parse_math=False)
    ax.tick_params(labelsize=TEXT, colors=QUIET)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    counted = f", {len(circled)} of them {marked_as}" if circled.size else ""
    middles = "; ".join(
        f"{name} around ({', '.join(rounded(part, 2) for part in values[[other == name for other in names]].mean(axis=0))})"
        for name in groups
    )
    figure.alt_text = f"{len(values)} points in {len(groups)} groups{named(title)}{counted}. {middles}."
    return figure


def _names(given: Sequence | None, count: int, what: str) -> list[str]:
    if given is None:
        return [str(number) for number in range(count)]
    if len(given) != count:
        raise ValueError(f"{what} has {len(given)} names for {count} {what}.")
    return [str(name) for name in given]


def _write(ax: Axes, table: np.ndarray, shown: np.ndarray) -> None:
    """The numbers, dark on light and light on dark."""
    light = shown @ [0.299, 0.587, 0.114] > 0.5
    decimals = 0 if np.abs(table).max() >= 100 or not (table % 1).any() else 2
    for (row, column), value in np.ndenumerate(table):
        text = f"{value:.{decimals}f}".replace("-", "\N{MINUS SIGN}")
        ax.text(
            column, row, text, ha="center", va="center", fontsize=TEXT - 2, color=INK if light[row, column] else "white"
        )
