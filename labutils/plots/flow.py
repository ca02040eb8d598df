"""A small network with every number in it: what flows up through it, and what is handed down."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from labutils.plots.figures import INK, QUIET, TEXT, TITLE, WIDTH, new_figure
from labutils.plots.scales import DIVERGING
from labutils.plots.words import named, rounded, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST = 6
"""A layer with more units than this would not be readable."""


_NEAR = 0.32


def relevance_flow(
    activations: Sequence[np.ndarray],
    relevance: Sequence[np.ndarray],
    messages: Sequence[np.ndarray],
    *,
    names: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Relevance on its way down through a small network of Dense layers, each number written where it belongs.

    Parameters
    ----------
    activations
        ``(units,)`` of the input and of what each layer gives, the input first; at most 6 units each.
    relevance
        The same shapes: the relevance of each unit.
    messages
        ``(units below, units above)`` for each layer: how much of the relevance of each unit above goes to each below.
    names
        What stands over each column; None numbers them.
    title
        Written above.

    Returns
    -------
    matplotlib.figure.Figure
        A column of units for each layer; lines as wide as what they hand down, red for positive, blue for negative;
        under each column its sum, and what the layer above it has kept.
    """
    columns, values, shares = _checked(activations, relevance, messages)
    headings = [f"layer {number}" if number else "input" for number in range(len(columns))]
    headings = list(names) if names is not None else headings
    if len(headings) != len(columns):
        raise ValueError(f"names has {len(headings)} texts for {len(columns)} columns.")
    tallest = max(map(len, columns))
    figure = new_figure(min(WIDTH, 2.9 * len(columns)), 1.1 * tallest + 1.25)
    ax = figure.add_subplot()
    heights = [(np.arange(len(column)) - (len(column) - 1) / 2) * -1.0 for column in columns]
    widest = max((float(np.abs(share).max()) for share in shares), default=0.0) or 1.0
    for number, share in enumerate(shares):
        for below, above in np.ndindex(share.shape):
            ends = heights[number][below], heights[number + 1][above]
            _draw_share(ax, number, ends, float(share[below, above]), widest)
    for number, (column, value) in enumerate(zip(columns, values, strict=True)):
        for height, activation, own in zip(heights[number], column, value, strict=True):
            words = f"$a$ = {rounded(activation)}\n$R$ = {rounded(own)}"
            box = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": INK, "linewidth": 1.2}
            ax.text(number, height, words, ha="center", va="center", fontsize=TEXT, color=INK, bbox=box, zorder=3)
        ax.text(number, tallest / 2 + 0.12, wrapped(headings[number], 24), ha="center", va="bottom", fontsize=TEXT)
        below_it = f"sum of $R$: {rounded(value.sum())}"
        if number < len(shares):
            below_it += f"\nkept on the way: {rounded(_nothing_as_zero(values[number + 1].sum() - value.sum()))}"
        ax.text(number, -tallest / 2 - 0.1, below_it, ha="center", va="top", fontsize=TEXT, color=QUIET)
    ax.set(xlim=(-0.45, len(columns) - 0.55), ylim=(-tallest / 2 - 0.65, tallest / 2 + 0.4))
    ax.axis("off")
    figure.suptitle(wrapped(title, 90), fontsize=TITLE, parse_math=False)
    words = "; ".join(
        f"{name}: relevance {', '.join(rounded(own) for own in value)}, sum {rounded(value.sum())}"
        for name, value in zip(headings, values, strict=True)
    )
    figure.alt_text = f"A small network with the relevance of every unit{named(title)}. {words}."
    return figure


def _checked(
    activations: Sequence, relevance: Sequence, messages: Sequence
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """The three as lists of arrays that fit each other."""
    columns, values, shares = (
        [np.asarray(v, dtype=float) for v in each] for each in (activations, relevance, messages)
    )
    if len(columns) < 2:
        raise ValueError(f"activations: at least the input and one layer are needed, not {len(columns)} arrays.")
    for column in columns:
        if column.ndim != 1 or not 1 <= len(column) <= LARGEST:
            raise ValueError(f"activations are (units,) with 1 to {LARGEST} units each; one has shape {column.shape}.")
    if [value.shape for value in values] != [column.shape for column in columns]:
        raise ValueError(
            f"relevance has the shapes {[v.shape for v in values]}; those of activations are {[c.shape for c in columns]}."
        )
    wanted = [(len(below), len(above)) for below, above in pairwise(columns)]
    if [share.shape for share in shares] != wanted:
        raise ValueError(f"messages has the shapes {[share.shape for share in shares]}; here they are {wanted}.")
    return columns, values, shares


def _draw_share(ax: Axes, column: int, ends: tuple[float, float], share: float, widest: float) -> None:
    """A line from a unit to the one above it, with what comes down on it; written where lines do not cross yet."""
    import matplotlib

    colours = matplotlib.colormaps[DIVERGING]
    colour = QUIET if share == 0 else colours(0.85 if share > 0 else 0.15)
    width = 0.8 + 5 * abs(share) / widest
    ax.plot(
        (column, column + 1),
        ends,
        color=colour,
        linewidth=width,
        alpha=0.75,
        linestyle=":" if share == 0 else "-",
        zorder=1,
        solid_capstyle="butt",
    )
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
    place = column + _NEAR, ends[0] + _NEAR * (ends[1] - ends[0])
    ax.text(*place, rounded(share), ha="center", va="center", fontsize=TEXT, color=INK, bbox=box, zorder=2)


def _nothing_as_zero(value: float) -> float:
    return 0.0 if abs(value) < 1e-9 else value
