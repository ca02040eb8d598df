"""A picture with a map over it, in the browser: opacity, legend, a place that can be chosen, and what it shows in words.

The browser blends the two pictures, so the opacity follows the slider even while the kernel is busy.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from labutils.plots.arguments import checked_map
from labutils.plots.scales import Scale, blended, scale_of
from labutils.plots.words import in_words, rounded

SMALL = 40
"""Pictures of fewer pixels a side (digits) are shown with their pixels as squares."""


class PictureView(anywidget.AnyWidget):
    """A photo, a map over it, and a caption.

    Set the photo with `show_photo` and the map with `show_map`; the traits are what the browser gets.
    """

    _esm = Path(__file__).with_name("view.js")
    _css = Path(__file__).with_name("view.css")

    photo = traitlets.Bytes().tag(sync=True)
    """The photo as a PNG; without one the map stands alone."""
    map = traitlets.Bytes().tag(sync=True)
    """The map's colours as a PNG."""
    opacity = traitlets.Float(0.55, min=0, max=1).tag(sync=True)
    grey = traitlets.Bool(False).tag(sync=True)
    """Show the photo grey: under a signed map all red and blue is the map's."""
    small = traitlets.Bool(False).tag(sync=True)
    width = traitlets.Int(400, min=1).tag(sync=True)
    """Of the picture, in pixels; less where there is no room."""
    aspect = traitlets.Float(1.0).tag(sync=True)
    """The picture's width by its height."""
    alt = traitlets.Unicode().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    legend = traitlets.Bytes().tag(sync=True)
    """The colours from the lowest value to the highest, a PNG of one row."""
    ends = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """Words under the legend, from left to right."""
    busy = traitlets.Bool(False).tag(sync=True)
    grid = traitlets.List(traitlets.Int()).tag(sync=True)
    """Rows and columns of places that can be chosen by clicking and by arrow keys; empty for none."""
    chosen = traitlets.List(traitlets.Int()).tag(sync=True)
    """Row and column of the chosen place, counted from 0; empty for none."""
    place = traitlets.Unicode("Patch").tag(sync=True)
    """What a place of the grid is called."""
    marks = traitlets.Bool(True).tag(sync=True)
    """Draw lines between the places, and frame the chosen one."""
    box = traitlets.List(traitlets.Float()).tag(sync=True)
    """A frame on the picture: top, left, height and width as shares of it; empty for none."""

    _shape: tuple[int, int] | None = None  # the photo's height and width

    def __init__(self, **traits: Any):
        super().__init__(**{"layout": {"max_width": "100%"}} | traits)

    def show_photo(self, photo: np.ndarray) -> None:
        """Show a photo, (H, W, 3) uint8, without a map."""
        with self.hold_sync():
            self.show_nothing()
            self._shape = photo.shape[:2]
            self.small = max(photo.shape[:2]) < SMALL
            self.aspect = photo.shape[1] / photo.shape[0]
            self.photo = png(photo)
            self.alt = self.alt or "The photo"

    def show_nothing(self) -> None:
        """Take the map away."""
        with self.hold_sync():
            self.map, self.legend, self.ends, self.grey = b"", b"", [], False
            self.caption, self.alt = "", ""

    def show_map(self, values: np.ndarray, caption: str, *, what: str = "", level: bool = False) -> None:
        """Show a map over the photo.

        Parameters
        ----------
        values : numpy.ndarray
            (h, w), raw; scaled as `labutils.plots` does, and resized to the photo as it does.
        caption : str
            Written below.
        what : str
            What the map is, for those who cannot see it; where it is strongest is added.
        level : bool
            Colour from the lowest value and not from 0, for maps whose level says nothing about places.
        """
        values = checked_map(values)
        shown = values - values.min() if level else values
        with self.hold_sync():
            self.caption = caption
            if not shown.any():
                everywhere = f"{rounded(values.min())} everywhere" if values.any() else "all zero"
                self.map, self.legend, self.ends, self.grey = b"", b"", [everywhere], False
                self.alt = f"{what or caption}: {everywhere}"
                return
            self.alt = f"{what or caption}: {in_words(shown)}"
            scale = scale_of([shown], None)
            self.map, self.grey = png(colours(shown, scale, self._shape)), scale.signed
            ramp = np.linspace(-scale.limit if scale.signed else 0, scale.limit, 256)[np.newaxis]
            self.legend = png(colours(ramp, scale))
            lowest = values.min() if level else 0
            if scale.signed:
                self.ends = [f"{rounded(-scale.limit)} against", "0", f"for {rounded(scale.limit)}"]
            else:
                self.ends = [rounded(lowest), rounded(lowest + scale.limit) + (" or more" if scale.clipped else "")]


def colours(values: np.ndarray, scale: Scale, shape: tuple[int, int] | None = None) -> np.ndarray:
    """A map's colours alone, (H, W, 3) uint8, at its own height and width or at another."""
    return blended(np.zeros((*(shape or values.shape), 3), np.uint8), values, scale, 1)


def png(pixels: np.ndarray) -> bytes:
    """Pixels, (H, W, 3) or (H, W) uint8, as the bytes of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
