"""The scores of a photo's maps, beside those of maps that know nothing: without these, a number says little."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from labutils import evaluate, explain
from labutils.report.network import Network, at_once

STEPS = 10
"""Of each curve: every step is a forward pass for each map, and the order of the maps hardly changes with more."""


@dataclass(frozen=True)
class Score:
    """How the class's probability falls and rises with the pixels in one map's order.

    Attributes
    ----------
    deletion, insertion : float
        The areas of the curves.
    deleted, inserted : numpy.ndarray
        The curves, (`STEPS` + 1,) float32, from 0 % to 100 % of the pixels.
    """

    deletion: float
    insertion: float
    deleted: np.ndarray
    inserted: np.ndarray


@dataclass(frozen=True)
class Scores:
    """The scores of all maps of one class of one photo.

    Attributes
    ----------
    maps : list of Score or None
        One for each map; None for a map that puts the pixels in no order, and for one that is not there.
    controls : dict of str to Score
        Those of maps that have not seen the photo.
    untouched, blurred : float
        The class's probability on the photo itself, and where nothing of it is left but the blur.
    forward : int
        Image-passes that it took.
    seconds : float
        Wall time.
    """

    maps: list[Score | None]
    controls: dict[str, Score]
    untouched: float
    blurred: float
    forward: int
    seconds: float

    def best(self, column: str) -> float | None:
        """The best value of the maps in a column, "deletion" or "insertion"; None where there is nothing to compare."""
        values = [getattr(score, column) for score in self.maps if score]
        return (min if column == "deletion" else max)(values) if len(values) > 1 else None


def control_maps(size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Maps that have not seen the photo: pixels in a random order, and from the centre outwards."""
    down, across = ((np.arange(side) - (side - 1) / 2) / side for side in size)
    return {
        "pixels at random": np.random.default_rng(0).random(size),
        "from the centre outwards": -np.hypot(down[:, np.newaxis], across),
    }


def score_maps(
    network: Network,
    image: np.ndarray,
    class_index: int,
    maps: Sequence[np.ndarray | None],
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Scores:
    """Deletion and insertion of every map of one class, and of the controls.

    Both curves go between the photo and its blurred self, so that they mean the same whatever the preprocessing. The blur
    grows with the photo: the 11 pixels of RISE leave most of a photo of 224 in sight.

    Parameters
    ----------
    network : Network
    image : numpy.ndarray
        (1, H, W, C), as the model takes it.
    class_index : int
    maps : sequence of (H, W) arrays or None
    progress : callable
        Told (pieces done, pieces in all).
    """
    ranked = [values is not None and values.max() > values.min() for values in maps]
    controls = control_maps(network.size)
    all_maps = np.stack([*(values for values, usable in zip(maps, ranked, strict=True) if usable), *controls.values()])
    started = time.perf_counter()
    with explain.count_passes() as passes:
        deleted, inserted = (
            curve(
                network.model,
                np.repeat(image, len(all_maps), axis=0),
                all_maps,
                class_index,
                steps=STEPS,
                baseline=evaluate.blurred(image[0], min(network.size) / 11),
                batch_size=at_once(32, network.size),
                progress=lambda done, total, half=half: progress(half * total + done, 2 * total),
            )
            for half, curve in enumerate((evaluate.deletion_curve, evaluate.insertion_curve))
        )
    found = [
        Score(float(deleted.area[row]), float(inserted.area[row]), deleted.scores[row], inserted.scores[row])
        for row in range(len(all_maps))
    ]
    rest = iter(found)
    return Scores(
        maps=[next(rest) if usable else None for usable in ranked],
        controls=dict(zip(controls, rest, strict=True)),
        untouched=float(deleted.scores[0, 0]),
        blurred=float(deleted.scores[0, -1]),
        forward=passes.forward,
        seconds=time.perf_counter() - started,
    )
