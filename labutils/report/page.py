"""Explained photos to HTML pages that need nothing else: pictures, style and script are inside them."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from labutils import __version__, plots
from labutils.report.explanation import ExplainedPhoto, Map, Prediction
from labutils.report.network import Network
from labutils.report.scores import STEPS

if TYPE_CHECKING:
    import jinja2

OPACITY = 0.55
"""How strongly a map covers the photo at first."""


@dataclass(frozen=True)
class Entry:
    """One photo in the index, with the relative address of its page.

    `photo` and `overlay` are data addresses of a small picture and of it under the first map that finds something;
    `overlay` is empty where none does.
    """

    title: str
    address: str
    predictions: list[Prediction]
    photo: str
    overlay: str
    overlay_alt: str
    is_small: bool


@dataclass(frozen=True)
class Links:
    """Where a photo's page leads to: the address of the index, and the entries beside it."""

    index: str
    previous: Entry | None = None
    following: Entry | None = None


def render(network: Network, photo: ExplainedPhoto, settings: Mapping[str, str], links: Links | None = None) -> str:
    """The HTML of one photo's page.

    Parameters
    ----------
    network : Network
    photo : ExplainedPhoto
    settings : mapping
        What it takes to make the page again; shown as a list.
    links : Links, optional
        Of a page among several.
    """
    return _template("page.html.jinja").render(
        network=network,
        photo=photo,
        settings={**settings, "Versions": versions()},
        links=links,
        strip=_strip,
        costs=_costs(photo),
        score_steps=STEPS,
    )


def render_index(
    network: Network,
    entries: Sequence[Entry],
    failed: Sequence[str],
    count: int,
    folder: str,
    settings: Mapping[str, str],
) -> str:
    """The HTML of the page that leads to those of several photos.

    Parameters
    ----------
    network : Network
    entries : sequence of Entry
        The photos whose pages are there.
    failed : sequence of str
        What is wrong with each of those that cannot be explained.
    count : int
        How many there are in all, those included that are still to come.
    folder : str
        The name of the pages' folder.
    settings : mapping
    """
    return _template("index.html.jinja").render(
        network=network,
        entries=entries,
        failed=failed,
        count=count,
        folder=folder,
        settings={**settings, "Versions": versions()},
    )


def entry_of(photo: ExplainedPhoto, address: str, side: int = 340) -> Entry:
    """What an index shows of a photo whose page has this address."""
    from PIL import Image

    small = Image.fromarray(photo.picture)
    small.thumbnail((side, side))
    picture = np.asarray(small)
    maps = [(evidence, each) for evidence in photo.evidence for each in evidence.maps if each.values is not None]
    evidence, shown = next(((evidence, each) for evidence, each in maps if each.shown.any()), (None, None))
    return Entry(
        title=photo.title,
        address=address,
        predictions=photo.predictions,
        photo=_photo(picture),
        overlay=_photo(plots.overlay_pixels(picture, shown.shown, alpha=OPACITY)) if shown else "",
        overlay_alt=_alternative(shown, evidence.label) if shown else "",
        is_small=_is_small(photo.picture),
    )


@cache
def _template(name: str) -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader(__package__, ""),
    )
    environment.filters |= {
        "alternative": _alternative,
        "area": "{:.2f}".format,
        "colours": _colours,
        "photo": _photo,
        "png": _png,
        "sha256": _sha256,
        "small": _is_small,
        "percent": _percent,
        "seconds": _seconds,
        "number": _number,
    }
    return environment.get_template(name)


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _alternative(shown: Map, label: str) -> str:
    """A map in words, for those who cannot see it."""
    return f"{shown.method.title} for {label}: {_where(shown.shown)}"


def _colours(values: np.ndarray) -> np.ndarray:
    """A map's colours alone, at the map's own resolution: the page lays them over the photo."""
    return plots.overlay_pixels(np.zeros((*values.shape, 3), "uint8"), values, alpha=1)


def _strip(signed: bool) -> np.ndarray:
    """The colours from the lowest value to the highest, (1, 256, 3)."""
    ramp = np.linspace(-1 if signed else 0, 1, 256)[np.newaxis]
    return plots.overlay_pixels(np.zeros((1, 256, 3), "uint8"), ramp, alpha=1, limit=1)


def _where(values: np.ndarray) -> str:
    row, column = strongest(values)
    across, down = (100 * (column + 0.5) / values.shape[1], 100 * (row + 0.5) / values.shape[0])
    return f"strongest {across:.0f} % of the way from left to right and {down:.0f} % from top to bottom"


def strongest(values: np.ndarray) -> tuple[int, int]:
    """Row and column of a map's largest magnitude."""
    row, column = np.unravel_index(np.abs(values).argmax(), values.shape)
    return int(row), int(column)


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


def _costs(photo: ExplainedPhoto) -> dict[str, dict[str, float]]:
    """Method -> passes and seconds of all its maps; then the sum of all methods."""
    maps = [each for evidence in photo.evidence for each in evidence.maps]
    titles = dict.fromkeys(each.method.title for each in maps)
    groups = {title: [each for each in maps if each.method.title == title] for title in titles} | {"All": maps}
    return {
        title: {what: sum(getattr(each, what) for each in group) for what in ("forward", "backward", "seconds")}
        for title, group in groups.items()
    }


def versions() -> str:
    """What the report was made with."""
    versions = [f"labutils {__version__}"]
    for package in ("keras", "tensorflow", "tensorflow-cpu", "numpy"):
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    return ", ".join(versions)
