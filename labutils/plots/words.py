"""Numbers, places and names in words, for captions and alternative texts."""

from __future__ import annotations

import textwrap

import numpy as np


def percent(share: float) -> str:
    """A probability in [0, 1] as "62.3 %"; what rounds to none or all says on which side it is."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def rounded(value: float, digits: int = 3) -> str:
    """A number to so many digits; thousands and more are whole numbers with commas, not powers of ten."""
    whole = 10**digits <= abs(value) < 1e9
    return (f"{value:,.0f}" if whole else f"{value:.{digits}g}").replace("-", "\N{MINUS SIGN}")


def sides(height: float, width: float) -> str:
    return f"{height:g} x {width:g}"


def wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(str(text).replace("_", " "), width))


def named(title: str) -> str:
    return f" ({title})" if title else ""


def in_words(values: np.ndarray) -> str:
    """Where a map is strongest: "strongest at the top left (0.12)"."""
    if not values.any():
        return "all zero"
    place = np.unravel_index(np.abs(values).argmax(), values.shape)
    down, across = (int(3 * index // side) for index, side in zip(place, values.shape, strict=True))
    words = " ".join(filter(None, [("top", "", "bottom")[down], ("left", "", "right")[across]])) or "centre"
    return f"strongest at the {words} ({rounded(values[place])})"
