"""How values become colours and pixels: the only place that scales values for display."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from labutils.plots.arguments import checked_image, checked_map, checked_values
from labutils.plots.words import rounded

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

SEQUENTIAL = "inferno"
"""Colour map for maps without negative values: perceptually uniform, dark at 0."""

DIVERGING = "RdBu_r"
"""Colour map for maps with negative values: blue below 0, white at 0, red above."""

PERCENTILE = 99.5
"""Full colour is the absolute value that this percentage of a map stays below; the rest is drawn in full colour, too."""

FEW = 1000
"""A map of fewer places has full colour at its largest value: 0.5 % of them would be less than five."""


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
    values = checked_values(values, "heatmap")
    largest = np.abs(values).max(axis=(-2, -1), keepdims=True)
    return np.divide(values, largest, out=np.zeros_like(values), where=largest > 0).astype(np.float32)


def display_limit(heatmap: np.ndarray) -> float:
    """The absolute value that gets full colour in a map's figure unless told otherwise; 0 for a map of zeros.

    It is the `PERCENTILE` of the map's absolute values, so a few pixels lie beyond it and are drawn in full colour; in a
    map of fewer than a thousand places (14 x 14 tokens, say), where these few would be the very places to look at, it is
    the largest.
    """
    magnitude = np.abs(checked_map(heatmap))
    if magnitude.size < FEW:
        return float(magnitude.max())
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

    Under a map with negative values the photo is grey, so that all red and blue is the map's.

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
        0 gives the photo (grey under a map with negative values), 1 the colours alone.
    limit
        The value that gets full colour (and its negative the opposite one), to compare several figures or to show
        the plain maximum, ``np.abs(heatmap).max()``. None takes its `display_limit`.

    Returns
    -------
    numpy.ndarray
        ``(H, W, 3)`` uint8. The photo itself where the map is zero everywhere.
    """
    values = checked_map(heatmap)
    return blended(checked_image(image), values, scale_of([values], cmap, limit), alpha)


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


class Scale(NamedTuple):
    """How values become colours."""

    colour_map: Colormap
    limit: float
    """The value that gets full colour; 0 where all maps are zero."""
    signed: bool
    """0 is the middle of the colour map, not its start."""
    largest: float
    """The largest absolute value, which may lie beyond the limit."""

    @property
    def clipped(self) -> bool:
        """There are values beyond the limit."""
        return self.largest > self.limit

    def colours(self, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """``(height, width, 3)`` float in [0, 1], at `shape`."""
        share = _resized(values / self.limit, shape)
        return self.colour_map((share + 1) / 2 if self.signed else share)[..., :3]

    def words(self) -> str:
        """The values that the colours stand for, and where the largest is far beyond them, how large that is."""
        reach = f"{rounded(-self.limit if self.signed else 0)} to {rounded(self.limit)}"
        return reach + (f", largest {rounded(self.largest)}" if self.largest > 1.2 * self.limit else "")


def scale_of(maps: Sequence[np.ndarray], cmap: str | Colormap | None, limit: float | None = None) -> Scale:
    """The one scale on which all of `maps` are shown."""
    largest = max(float(np.abs(values).max()) for values in maps)
    if limit is None:
        limit = max(display_limit(values) for values in maps)
    elif not (np.isfinite(limit) and limit > 0):
        raise ValueError(f"limit is the value that gets full colour, above 0; not {limit!r}.")
    signed = any(values.min() < 0 for values in maps)
    return Scale(colour_map(cmap, signed), float(limit), signed, largest)


def blended(photo: np.ndarray, values: np.ndarray, scale: Scale, alpha: float) -> np.ndarray:
    """The photo, ``(H, W, 3)`` uint8, under the colours of one map; grey under those of a signed scale."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is between 0 (the photo) and 1 (the colours alone), not {alpha!r}.")
    if not values.any():
        return photo.copy()
    colours = scale.colours(values, photo.shape[:2])
    # A red thing in the photo would look like a place of large values.
    photo = _grey(photo) if scale.signed else photo
    return np.rint((1 - alpha) * photo + alpha * 255 * colours).astype(np.uint8)


def _grey(photo: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.repeat(np.asarray(Image.fromarray(photo).convert("L"))[..., np.newaxis], 3, axis=2)


def _resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The map at (height, width), bilinear with half-pixel centres."""
    from PIL import Image

    if values.shape == tuple(shape):
        return values
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), dtype=float)


def colour_map(cmap: str | Colormap | None, signed: bool) -> Colormap:
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
