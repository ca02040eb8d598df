"""A league table as a figure: methods by metrics, every column coloured from its best to its worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from labutils.plots.figures import INK, QUIET, TEXT, TITLE, WIDTH, new_figure
from labutils.plots.words import named, rounded, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIRECTIONS = {"higher": "higher is better ↑", "lower": "lower is better ↓"}

MINUS = "\N{MINUS SIGN}"

BEST_TO_WORST = "cividis_r"
"""Colour map of the places: perceptually uniform, and the same to the colour-blind; light is best."""


def league(
    table: Mapping[str, Mapping[str, float]],
    better: Mapping[str, str],
    *,
    controls: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Rows by columns of numbers, each column coloured by its own places: light for the best, dark for the worst.

    Columns have different units, so colours say the place within a column and nothing else; numbers that are written alike share a colour.

    Parameters
    ----------
    table
        Method -> metric -> number, the same metrics for each; NaN where there is none, which is left white.
    better
        Metric -> ``"higher"`` or ``"lower"``: which end is the better one. Its order is that of the columns; metrics of the
        table that it does not name are left out.
    controls
        Methods that are there to be beaten: drawn below a line, in the order of the table.
    title
        Written above.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib
    from matplotlib.patches import Rectangle

    rows, columns, values = _checked(table, better, controls)
    colours = matplotlib.colormaps[BEST_TO_WORST]
    goodness = np.stack([_goodness(values[:, i], better[name] == "higher") for i, name in enumerate(columns)], axis=1)
    figure = new_figure(WIDTH, 1.7 + 0.36 * len(rows))
    ax = figure.add_subplot()
    gap = 0.35 if 0 < len(controls) < len(rows) else 0  # between the methods and the controls
    places = [row + gap * (name in controls) for row, name in enumerate(rows)]
    for i, place in enumerate(places):
        for j in range(len(columns)):
            if np.isnan(values[i, j]):
                fill, ink, text = "white", QUIET, "–"
            else:
                # The ends of the colour map are left out, so that the numbers can be read.
                fill = colours(0.05 + 0.85 * (1 - goodness[i, j]))
                ink = INK if goodness[i, j] > 0.45 else "white"
                text = _written(values[i, j])
            ax.add_patch(Rectangle((j - 0.48, place - 0.46), 0.96, 0.92, facecolor=fill, edgecolor="none"))
            ax.text(j, place, text, ha="center", va="center", color=ink, fontsize=TEXT)
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(places[-1] + 0.5, -0.5)
    heads = [f"{wrapped(name, 14)}\n{wrapped(DIRECTIONS[better[name]], 12)}" for name in columns]
    ax.set_xticks(range(len(columns)), heads, fontsize=TEXT, parse_math=False)
    ax.xaxis.tick_top()
    ax.set_yticks(places, [wrapped(name, 30) for name in rows], fontsize=TEXT, parse_math=False)
    for label, name in zip(ax.get_yticklabels(), rows, strict=True):
        if name in controls:
            label.set(fontstyle="italic", color=QUIET)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    if gap:
        ax.axhline(places[len(rows) - len(controls)] - (1 + gap) / 2, color=QUIET, linewidth=1)
    figure.suptitle(wrapped(title, 90), fontsize=TITLE, parse_math=False)
    key = "Colour: the place within its column, light for the best, dark for the worst."
    figure.supxlabel(key + (" Below the line, in italics: controls." if gap else ""), fontsize=TEXT, color=QUIET)
    figure.alt_text = (
        f"A table of {len(rows)} methods by {len(columns)} metrics{named(title)}. "
        f"{'; '.join(_best_and_worst(rows, name, values[:, i], better[name]) for i, name in enumerate(columns))}."
    )
    return figure


def _checked(
    table: Mapping[str, Mapping[str, float]], better: Mapping[str, str], controls: Sequence[str]
) -> tuple[list[str], list[str], np.ndarray]:
    """Rows, controls last; columns; and their numbers, (rows, columns)."""
    if not table or not better:
        raise ValueError(f"{'table' if not table else 'better'} is empty: there is nothing to show.")
    for name, direction in better.items():
        if direction not in DIRECTIONS:
            raise ValueError(f"better[{name!r}] is 'higher' or 'lower', not {direction!r}.")
    for row, numbers in table.items():
        missing = [name for name in better if name not in numbers]
        if missing:
            raise ValueError(
                f"table[{row!r}] has no {', '.join(map(repr, missing))}; give NaN where there is no number."
            )
    unknown = [name for name in controls if name not in table]
    if unknown:
        raise ValueError(f"controls: {unknown} are not in the table; its rows are {list(table)}.")
    rows = [name for name in table if name not in controls] + [name for name in table if name in controls]
    values = np.array([[float(table[row][name]) for name in better] for row in rows])
    if np.isinf(values).any():
        raise ValueError("table holds infinite numbers, which have no place in a column.")
    return rows, list(better), values


def _goodness(column: np.ndarray, high: bool) -> np.ndarray:
    """1 for the best of a column down to 0 for the worst, by place; the same for what is written alike; NaN for none."""
    from scipy.stats import rankdata

    goodness = np.full(column.shape, np.nan)
    there = ~np.isnan(column)
    seen = np.array([float(_written(value).replace(MINUS, "-").replace(",", "")) for value in column[there]])
    ranks = rankdata(seen if high else -seen) - 1
    goodness[there] = ranks / max(1, there.sum() - 1)
    return goodness


def _written(value: float) -> str:
    """Two decimals, so that a column reads evenly; more where nothing but zeros would be seen."""
    text = (
        f"{value:.2f}" if abs(value) >= 0.01 or value == 0 else f"{value:.1g}" if abs(value) >= 1e-4 else f"{value:.0e}"
    )
    return (rounded(value) if abs(value) >= 10 else text).replace("-", MINUS)


def _best_and_worst(rows: Sequence[str], name: str, column: np.ndarray, better: str) -> str:
    there = np.flatnonzero(~np.isnan(column))
    if not there.size:
        return f"{name}: no numbers"
    order = there[np.argsort(column[there] if better == "lower" else -column[there], kind="stable")]
    best, worst = (f"{rows[index]} ({_written(column[index])})" for index in (order[0], order[-1]))
    return f"{name}, {better} is better: best {best}, worst {worst}"
