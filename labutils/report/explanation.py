"""From a photo and a network to predictions, and to every method's map with what it cost."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from labutils import explain, photos
from labutils.explain.surgery import open_model
from labutils.report.methods import Method
from labutils.report.network import Network, at_once, first_line
from labutils.report.scores import Scores, score_maps

Progress = Callable[[str, float], object]
"""Told what is being done, and how much has been done since: a map counts as 1, the scores of a class's maps as 1."""

TOP = 5
"""How many predictions are kept for each photo."""

QUICK = 4
"""Methods of at most so many forward passes are timed on a second run: compiling would hide what they take."""


class Prediction(NamedTuple):
    """One class with its probability; the index is None for what a single output stands for near 0."""

    class_index: int | None
    label: str
    probability: float


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
    """The maps of one class; `probability` is what the network gives that class; no scores where nobody wants them."""

    class_index: int
    label: str
    probability: float
    maps: list[Map]
    scores: Scores | None = None


@dataclass(frozen=True)
class ExplainedPhoto:
    """One photo with all that the network and the methods say of it.

    `picture` is the photo to show, (h, w, 3) uint8 in its own proportions; the maps cover it from edge to edge.
    """

    title: str
    picture: np.ndarray
    predictions: list[Prediction]
    evidence: list[Evidence]


def find_photos(names: Sequence[str]) -> dict[Path, str]:
    """The files that paths, folders and the names of sample photos stand for, each once, with what it is called.

    A folder stands for all photos in it; its subfolders are not read. Any other name is returned as a path.

    Raises
    ------
    labutils.photos.PhotoError
        When there is no photo in a folder.
    """
    found: dict[Path, tuple[Path, str]] = {}
    for name in names:
        for path, called in _files_of(name).items():
            found.setdefault(path.resolve(), (path, called))
    return dict(found.values())


def _files_of(name: str) -> dict[Path, str]:
    path = Path(name).expanduser()
    if path.is_dir():
        found = {entry: str(entry) for entry in sorted(path.iterdir()) if _is_photo(entry)}
        if not found:
            raise photos.PhotoError(f"{path} is a folder without photos; its subfolders are not read")
        return found
    if path.exists():
        return {path: name}
    if "*" in name:  # The command line of Windows leaves this to the program.
        return {entry: str(entry) for entry in sorted(path.parent.glob(path.name))} or {path: name}
    try:
        return {photos.sample_path(name): name}
    except ValueError:
        return {path: name}


def _is_photo(entry: Path) -> bool:
    """Whether a folder's entry is meant as a photo: one that cannot be read is named later, a text is not asked for."""
    from PIL import Image

    suffix = entry.suffix.lower()
    pictures = {".heic", ".heif", *(known for known in Image.registered_extensions() if known not in (".pdf", ".eps"))}
    return entry.is_file() and suffix in pictures and not entry.name.startswith(".")


def work(methods: Sequence[Method], classes: Sequence[int] | None, scores: bool) -> int:
    """How much work one photo is, as `Progress` counts it."""
    return len(classes or [0]) * (len(methods) + scores)


def explain_photo(
    network: Network,
    path: Path,
    methods: Sequence[Method],
    classes: Sequence[int] | None = None,
    layer: str | None = None,
    *,
    title: str | None = None,
    scores: bool = True,
    progress: Progress = lambda what, done: None,
) -> ExplainedPhoto:
    """Predict one photo, run the methods on it, and score their maps.

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
    title : str, optional
        What to call the photo; None takes the file's name.
    scores : bool
        Whether to score the maps.
    progress : callable
        See `Progress`.

    Raises
    ------
    FileNotFoundError, labutils.photos.PhotoError
        When the file is not a photo.
    ArithmeticError
        When the network has no answer to it.
    ValueError
        When `layer` is no layer of the network with maps.
    """
    if layer is not None:
        open_model(network.model).cut(layer)
    image = network.prepare(photos.load(path, network.size)[np.newaxis])
    probabilities = network.probabilities(image)[0]
    evidence = []
    for index in [int(probabilities.argmax())] if classes is None else classes:
        maps = [
            _run(method, network, image, index, layer, _Share(progress, f"{path.name}, {method.title}"))
            for method in methods
        ]
        found = None
        if scores:
            with _Share(progress, f"{path.name}, scores") as share:
                found = score_maps(network, image, index, [each.values for each in maps], share.tell)
        evidence.append(Evidence(index, network.labels[index], float(probabilities[index]), maps, found))
    best = _predictions(network, probabilities)
    return ExplainedPhoto(printable(title or path.name), _picture(path, network.size), best, evidence)


def printable(name: str) -> str:
    """A file's name as text for people: what no screen can show, such as bytes that are no letters, is replaced."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)


def _predictions(network: Network, probabilities: np.ndarray) -> list[Prediction]:
    order = np.argsort(-probabilities, kind="stable")[:TOP]
    found = [Prediction(int(index), network.labels[index], float(probabilities[index])) for index in order]
    if network.otherwise:
        found.append(Prediction(None, network.otherwise, 1 - found[0].probability))
    return sorted(found, key=lambda prediction: -prediction.probability)


class _Share:
    """A piece of work that counts as 1 when it is done, and that is told as it grows."""

    def __init__(self, progress: Progress, what: str):
        self._progress, self._what, self._done = progress, what, 0.0

    def tell(self, done: int, total: int) -> None:
        """As a progress function of `labutils.explain`; one that begins anew is waited for."""
        grown = max(done / total - self._done, 0.0)
        self._done += grown
        self._progress(self._what, grown)

    def __enter__(self) -> _Share:
        self._progress(self._what, 0.0)
        return self

    def __exit__(self, *raised: object) -> None:
        self.tell(1, 1)


def _run(method: Method, network: Network, image: np.ndarray, index: int, layer: str | None, share: _Share) -> Map:
    function = getattr(explain, method.name)
    taken = inspect.signature(function).parameters
    options = {**method.options, **method.options_for(network.size)}
    if method.has_layer and layer is not None:
        options["layer"] = layer
    if method.has_gap:
        options["return_gap"] = True
    if "progress" in taken:
        options["progress"] = share.tell
    if "batch_size" in taken:
        options["batch_size"] = at_once(taken["batch_size"].default, network.size)
    run = partial(function, network.model, image, [index], **options)
    with share, explain.count_passes() as passes:
        try:
            result, seconds = _timed(run)
            counted = passes.forward, passes.backward
            if passes.forward <= QUICK:
                _, seconds = _timed(run)
        except (
            Exception
        ) as error:  # A layer of any kind may stand in one method's way; the others still have their maps.
            return Map(method, None, first_line(error), 0.0, 0, 0)
    values, gap = (result[0][0], float(result[1][0])) if method.has_gap else (result[0], None)
    if not np.isfinite(values).all():
        return Map(method, None, "its map has NaN or infinite values", 0.0, 0, 0)
    return Map(method, values, "", seconds, *counted, gap)


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
