"""Shared by the tests of figures."""

import io

from PIL import Image


def drawn(figure) -> Image.Image:
    """The figure as pixels, RGB, which also runs matplotlib's layout; warnings of it are errors."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")
