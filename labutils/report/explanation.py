"""From a photo and a network to predictions, and to every method's map with what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from labutils import explain, photos
from labutils.report.methods import Method
from labutils.report.network import Network

TOP = 5
"""How many predictions are kept for each photo."""

QUICK = 4
"""Methods of at most so many forward passes are timed on a second run: compiling would hide what they take."""


@dataclass(frozen=True)
class Map:
    """What one method gave for one class of one photo.

    Attributes
    ----------
    method : Method
    values : numpy.ndarray or None
        The raw map, (H, W) float32; None where the method cannot be used on this network.
    problem : str
        Why not, in that case.
    seconds : float
        Wall time; without compiling where that would hide the rest (`QUICK`).
    forward, backward : int
        Image-passes through the network.
    gap : float or None
        How far the map's sum is from what it should add up to, of methods that promise a sum.
    """

    method: Method
    values: np.ndarray | None
    problem: str
    seconds: float
    forward: int
    backward: int
    gap: float | None = None

    @property
    def shown(self) -> np.ndarray:
        """The values as the page colours them: above the lowest one where their level says nothing."""
        return self.values - self.values.min() if self.method.has_level else self.values


@dataclass(frozen=True)
class Evidence:
    """The maps of one class; `probability` is what the network gives that class."""

    class_index: int
    label: str
    probability: float
    maps: list[Map]


@dataclass(frozen=True)
class ExplainedPhoto:
    """One photo with all that the network and the methods say of it.

    `picture` is the photo to show, (h, w, 3) uint8 in its own proportions; the maps cover it from edge to edge.
    """

    title: str
    picture: np.ndarray
    predictions: list[tuple[str, float]]
    evidence: list[Evidence]


def find_photo(name: str) -> Path:
    """The file that a path or the name of a sample photo stands for; any other name is returned as a path."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    try:
        return photos.sample_path(name)
    except ValueError:
        return path


def explain_photo(
    network: Network,
    path: Path,
    methods: Sequence[Method],
    classes: Sequence[int] | None = None,
    layer: str | None = None,
    step: Callable[[], object] = lambda: None,
) -> ExplainedPhoto:
    """Predict one photo and run the methods on it.

    Parameters
    ----------
    network : Network
    path : Path
        A photo file.
    methods : sequence of Method
    classes : sequence of int, optional
        The outputs to explain; None takes the most probable one.
    layer : str, optional
        For the methods that look at a layer; None leaves it to them.
    step : callable
        Called after each map.

    Raises
    ------
    FileNotFoundError, labutils.photos.PhotoError
        When the file is not a photo.
    ValueError
        When `layer` is no layer of the network.
    """
    image = network.prepare(photos.load(path, network.size)[np.newaxis])
    probabilities = network.probabilities(image)[0]
    order = np.argsort(-probabilities, kind="stable")
    evidence = []
    for index in [int(order[0])] if classes is None else classes:
        maps = []
        for method in methods:
            maps.append(_run(method, network, image, index, layer))
            step()
        evidence.append(Evidence(index, network.labels[index], float(probabilities[index]), maps))
    best = [(network.labels[index], float(probabilities[index])) for index in order[:TOP]]
    return ExplainedPhoto(path.name, _picture(path, network.size), best, evidence)


def _run(method: Method, network: Network, image: np.ndarray, index: int, layer: str | None) -> Map:
    options = {**method.options, **method.options_for(network.size)}
    if method.has_layer and layer is not None:
        options["layer"] = layer
    if method.has_gap:
        options["return_gap"] = True
    run = partial(getattr(explain, method.name), network.model, image, [index], **options)
    with explain.count_passes() as passes:
        try:
            result, seconds = _timed(run)
        except ValueError as error:
            # A network without spatial layers has no class activation maps; the other methods still have theirs.
            if "layer" in options:
                raise
            return Map(method, None, str(error), 0.0, 0, 0)
    if passes.forward <= QUICK:
        _, seconds = _timed(run)
    values, gap = (result[0][0], float(result[1][0])) if method.has_gap else (result[0], None)
    return Map(method, values, "", seconds, passes.forward, passes.backward, gap)


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return run(), time.perf_counter() - started


def _picture(path: Path, size: tuple[int, int], longest: int = 640) -> np.ndarray:
    """The photo in its own proportions, made smaller where it is larger than a page needs."""
    from PIL import Image

    try:
        whole = photos.load(path, size=None)
    except photos.PhotoError:  # Too large to unpack whole; then show what the network saw.
        return photos.load(path, size)
    picture = Image.fromarray(whole)
    picture.thumbnail((longest, longest))
    return np.asarray(picture)
