"""Charts of numbers: lines over an axis, and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from labutils.plots.arguments import checked_values
from labutils.plots.figures import BAR, INK, QUIET, TEXT, TITLE, WIDTH, new_figure
from labutils.plots.words import named, rounded, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1b1b1b")
"""Okabe and Ito's colours, told apart by the colour-blind; with `STYLES` in step, also in grey."""

STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def lines(
    series: Mapping[str, Sequence[float] | np.ndarray],
    x: Sequence | np.ndarray | None = None,
    *,
    x_label: str = "",
    y_label: str = "",
    title: str = "",
    level: tuple[float, str] | None = None,
    y_range: tuple[float, float] | None = None,
    fill: bool = False,
) -> Figure:
    """Lines over one axis, told apart by colour, dashes and marks.

    Parameters
    ----------
    series
        Name -> ``(n,)`` values, all of the same length; NaN leaves a gap.
    x
        ``(n,)`` numbers, or texts (the names of layers, say); None counts from 0.
    x_label, y_label, title
        What the axes show, with the unit; written above.
    level
        A value and what it is, such as ``(0.25, "chance")``: a thin line across.
    y_range
        The lowest and the highest value shown; None takes what fits.
    fill
        Shade the area under each line.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not series:
        raise ValueError("series is empty: give a dict of names to values.")
    values = {}
    for name, line in series.items():
        try:
            values[name] = np.asarray(line, dtype=float)
        except (TypeError, ValueError):
            raise TypeError(f"series[{name!r}] is (n,) numbers; this holds something else: {line!r}") from None
    count = len(next(iter(values.values())))
    for name, line in values.items():
        if line.shape != (count,) or count == 0:
            raise ValueError(f"series[{name!r}] has shape {line.shape}; every line is (n,), here ({count},).")
        if not np.isfinite(line).any():
            raise ValueError(f"series[{name!r}] holds no finite number, so there is no line to draw.")
    places = list(range(count)) if x is None else list(x)
    if len(places) != count:
        raise ValueError(f"x has {len(places)} places for lines of {count} values.")
    in_words = any(isinstance(place, str) for place in places)
    where = np.arange(count) if in_words else np.asarray(places, dtype=float)
    figure = new_figure(WIDTH * 0.9, 4.2)
    ax = figure.add_subplot()
    for number, (name, line) in enumerate(values.items()):
        look = {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number % len(STYLES)], "linewidth": 2}
        mark = MARKERS[number % len(MARKERS)] if count <= 30 else None
        ax.plot(where, line, label=str(name), marker=mark, markersize=5, **look)
        if fill:
            ax.fill_between(where, line, color=look["color"], alpha=0.12, linewidth=0)
    if level is not None:
        ax.axhline(level[0], color=QUIET, linewidth=1)
        ax.annotate(
            level[1],
            (1, level[0]),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            color=QUIET,
            fontsize=TEXT,
            parse_math=False,
        )
    if in_words:
        tilted = count > 8 or max(map(len, map(str, places))) * count > 90
        ax.set_xticks(
            where, [str(place) for place in places], rotation=40 if tilted else 0, ha="right" if tilted else "center"
        )
    if y_range is not None:
        ax.set_ylim(*y_range)
    _dress(ax, x_label, y_label, title)
    if len(values) > 1:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=TEXT)
    described = "; ".join(
        f"{name}: from {rounded(line[np.isfinite(line)][0])} to {rounded(line[np.isfinite(line)][-1])}"
        for name, line in values.items()
    )
    across = f" over {x_label}" if x_label else ""
    figure.alt_text = (
        f"{y_label.capitalize() or 'Values'}{across} as {_count(len(values), 'line')}{named(title)}. {described}."
    )
    return figure


def bars(
    values: Mapping[str, float] | Mapping[str, Mapping[str, float]],
    *,
    x_label: str = "",
    title: str = "",
    level: tuple[float, str] | None = None,
) -> Figure:
    """Horizontal bars with their numbers, from the top down in the order given.

    Parameters
    ----------
    values
        Name -> number, negative ones as well. Or group -> {name -> number}: the bars of a group stand together, one
        colour for each name (the same names in every group).
    x_label, title
        What the numbers are, with the unit; written above.
    level
        A number and what it is, such as ``(0.25, "chance")``: a thin line down.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not values:
        raise ValueError("values is empty: give a dict of names to numbers.")
    grouped = all(isinstance(group, Mapping) for group in values.values())
    groups = values if grouped else {name: {"": number} for name, number in values.items()}
    names = list(next(iter(groups.values())))
    for group, members in groups.items():
        if list(members) != names or not names:
            raise ValueError(f"values[{group!r}] has the bars {list(members)}; every group needs the same, {names}.")
    heights = {name: checked_values(np.asarray([group[name] for group in groups.values()]), "values") for name in names}
    thick = 0.8 / len(names)
    figure = new_figure(WIDTH * 0.9, max(1.8, 0.9 + len(groups) * max(0.34, 0.24 * len(names))))
    ax = figure.add_subplot()
    middle = np.arange(len(groups))
    for place, (name, numbers) in enumerate(heights.items()):
        colour = COLOURS[place % len(COLOURS)] if grouped else BAR
        drawn = ax.barh(middle + (place - (len(names) - 1) / 2) * thick, numbers, thick * 0.9, color=colour, label=name)
        labels = ax.bar_label(drawn, [rounded(number) for number in numbers], padding=3, fontsize=TEXT - 1, color=INK)
        if level is not None:
            for label in labels:  # or the level's line would run through the numbers
                label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    ax.set_yticks(middle, [wrapped(group, 32) for group in groups], fontsize=TEXT, parse_math=False)
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.axvline(0, color=INK, linewidth=0.8)
    if level is not None:
        ax.axvline(level[0], color=QUIET, linewidth=1, linestyle="--")
        above = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": TEXT, "color": QUIET}
        ax.annotate(level[1], (level[0], 1), xytext=(0, 2), ha="center", va="bottom", parse_math=False, **above)
        title = f"{title}\n" if title else title
    _dress(ax, x_label, "", title)
    if grouped and len(names) > 1:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=TEXT)
    described = "; ".join(
        f"{group}: " + ", ".join(f"{name} {rounded(number)}".strip() for name, number in members.items())
        for group, members in groups.items()
    )
    figure.alt_text = f"{x_label.capitalize() or 'Values'} as bars{named(title.strip())}. {described}."
    return figure


def _dress(ax: Axes, x_label: str, y_label: str, title: str) -> None:
    ax.set_xlabel(x_label, fontsize=TEXT, parse_math=False)
    ax.set_ylabel(y_label, fontsize=TEXT, parse_math=False)
    ax.set_title(title, fontsize=TITLE, loc="left", parse_math=False)
    ax.tick_params(labelsize=TEXT)
    ax.grid(axis="both", color="#e6e6e6", linewidth=0.8)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
