"""Explained photos to one HTML page that needs nothing else: pictures, style and script are inside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata, resources

import numpy as np

from labutils import __version__, plots
from labutils.report.explanation import ExplainedPhoto
from labutils.report.network import Network


def render(network: Network, photos: Sequence[ExplainedPhoto], settings: Mapping[str, str]) -> str:
    """The page's HTML.

    Parameters
    ----------
    network : Network
    photos : sequence of ExplainedPhoto
    settings : mapping
        What it takes to make the page again; shown as a list.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "colours": _colours,
        "photo": _photo,
        "png": _png,
        "small": _is_small,
        "percent": _percent,
        "seconds": _seconds,
        "number": _number,
    }
    template = environment.from_string(resources.files(__package__).joinpath("page.html.jinja").read_text("utf-8"))
    return template.render(
        network=network,
        photos=photos,
        settings={**settings, "Versions": _versions()},
        where=_where,
        strip=_strip,
        costs=_costs(photos),
    )


def _colours(values: np.ndarray) -> np.ndarray:
    """A map's colours alone, at the map's own resolution: the page lays them over the photo."""
    return plots.overlay_pixels(np.zeros((*values.shape, 3), "uint8"), values, alpha=1)


def _strip(signed: bool) -> np.ndarray:
    """The colours from the lowest value to the highest, (1, 256, 3)."""
    ramp = np.linspace(-1 if signed else 0, 1, 256)[np.newaxis]
    return plots.overlay_pixels(np.zeros((1, 256, 3), "uint8"), ramp, alpha=1, limit=1)


def _where(values: np.ndarray) -> str:
    """Where a map is strongest, for those who cannot see it."""
    row, column = np.unravel_index(np.abs(values).argmax(), values.shape)
    across, down = (100 * (column + 0.5) / values.shape[1], 100 * (row + 0.5) / values.shape[0])
    return f"strongest {across:.0f} % of the way from left to right and {down:.0f} % from top to bottom"


def _is_small(pixels: np.ndarray) -> bool:
    """Whether a picture is of so few pixels (a digit) that they are shown as squares and not smoothed."""
    return max(pixels.shape[:2]) < 40


def _photo(pixels: np.ndarray) -> str:
    return _png(pixels) if _is_small(pixels) else _data_address(pixels, "JPEG", quality=85)


def _png(pixels: np.ndarray) -> str:
    return _data_address(pixels, "PNG", optimize=True)


def _data_address(pixels: np.ndarray, kind: str, **options: object) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _percent(probability: float) -> str:
    if 0 < probability < 0.001:
        return "< 0.1 %"
    if 0.999 < probability < 1:
        return "> 99.9 %"
    return f"{100 * probability:.1f} %"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _costs(photos: Sequence[ExplainedPhoto]) -> dict[str, dict[str, float]]:
    """Method -> passes and seconds of all its maps; then the sum of all methods."""
    maps = [each for photo in photos for evidence in photo.evidence for each in evidence.maps]
    titles = dict.fromkeys(each.method.title for each in maps)
    groups = {title: [each for each in maps if each.method.title == title] for title in titles} | {"All": maps}
    return {
        title: {what: sum(getattr(each, what) for each in group) for what in ("forward", "backward", "seconds")}
        for title, group in groups.items()
    }


def _versions() -> str:
    versions = [f"labutils {__version__}"]
    for package in ("keras", "tensorflow", "tensorflow-cpu", "numpy"):
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    return ", ".join(versions)
