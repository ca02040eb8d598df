"""The league table: every method by every metric, on the same images and the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.evaluate.arguments import check_masks
from labutils.evaluate.curves import baselines_of, curve_of
from labutils.evaluate.mosaics import Mosaics
from labutils.evaluate.pointing import grid_pointing_game, pointing_game
from labutils.evaluate.randomization import checked_result, randomized, rank_correlation
from labutils.explain import count_passes
from labutils.explain.arguments import Classes, batches, check_classes, check_count, check_images, check_seed
from labutils.explain.progress import Progress, track
from labutils.explain.surgery import open_model

if TYPE_CHECKING:
    import keras

LEAGUE = {
    "deletion": "lower",
    "insertion": "higher",
    "pointing": "higher",
    "grid": "higher",
    "randomisation": "lower",
    "seconds": "lower",
}
"""The columns of a league table, and whether lower or higher is better."""

QUICK = 4
"""Methods of at most so many forward passes an image are timed on a second run: compiling would hide what they take."""

_IMAGES_AT_ONCE = 32


def league_table(
    methods: Mapping[str, Callable[..., Any]],
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    mosaics: Mosaics | None = None,
    masks: Any = None,
    tolerance: float = 15,
    steps: int = 20,
    baseline: float | np.ndarray | str = "blur",
    randomized_images: int = 1,
    randomized_layers: Sequence[str] | None = None,
    seed: int | None = 0,
    progress: Progress = None,
) -> dict[str, dict[str, float]]:
    """Every method by every metric of `labutils.evaluate`, on the same images: one row each.

    No column is the truth, and their units have nothing to do with each other: read them one by one, each beside its
    controls. So give controls as methods: a map of noise, one of the image's centre, one of its edges.

    - ``deletion``, ``insertion``: mean area of the curves on `images`, both with the given baseline.
    - ``pointing``: share of hits on `mosaics`, where `masks` says where the object is.
    - ``grid``: mean share of the positive attribution in the right cell of `mosaics`.
    - ``randomisation``: `rank_correlation` of the first maps with those of a network with random weights, one step of
      `weight_randomization` (its end, unless `randomized_layers` says otherwise), without its sign: how far from 0, where
      a method that explains the network ends.
    - ``seconds``: wall time for one of `images`, without compiling where that would hide the rest.

    Each method runs once on the images (methods of few passes twice, to time them), once on the mosaics and once on the
    random network; the curves cost ``2 * (steps - 1)`` forward
    passes an image more, and their two ends one each for all methods together.

    Parameters
    ----------
    methods : mapping of str to callable
        Name -> ``method(model, images, classes) -> (n, H, W)``, such as `labutils.explain.grad_cam`; for options a lambda
        or `functools.partial`. Give randomised methods a seed.
    model : keras.Model
        Functional or Sequential, of layers that Keras can copy. It is not changed.
    images : array_like
        (n, H, W, C), as the model takes them (preprocessed).
    classes : None, int or n ints
        None takes the model's top class of each image.
    mosaics : Mosaics or None
        From `confident_mosaics` or `textured_mosaics`; None leaves out what needs them.
    masks : array_like or None
        (n, H, W), for each of the mosaics where the object of its class is: bool, or ints. None leaves out ``pointing``.
    tolerance : float
        Of `pointing_game`, in pixels.
    steps, baseline
        Of `deletion_curve` and `insertion_curve`.
    randomized_images : int
        How many of the images (the first) are explained on the random network as well.
    randomized_layers : sequence of str or None
        Which layers of it are random, as for `randomized`; None takes all. The layers above the last convolution alone
        make the stricter test: most maps change when the lowest layers do, whatever they show.
    seed : int or None
        Of the random network.
    progress : None, bool or callable
        See `labutils.explain.progress.track`; one step a method.

    Returns
    -------
    dict of str to dict
        Method -> column -> number, the columns in the order of `LEAGUE`.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit each other, or a method that gives something else than one finite map an image: which.
    """
    if not methods:
        raise ValueError("methods: it is empty; give a dict of names to functions")
    if masks is not None and mosaics is None:
        raise ValueError("masks: they say where things are in mosaics, and there are no mosaics")
    opened = open_model(model)
    images = check_images(opened, images)
    classes = check_classes(opened, classes, len(images))
    few = check_count(randomized_images, "randomized_images")
    # What every curve begins or ends with is the same for every method.
    baselines = baselines_of(opened, baseline, images)
    whole, gone = (
        np.concatenate([opened.probabilities(inputs[batch]) for batch in batches(len(images), _IMAGES_AT_ONCE)])
        for inputs in (images, baselines)
    )
    classes = np.where(classes < 0, whole.argmax(axis=-1), classes).astype(np.int32)
    whole, gone = (values[np.arange(len(images)), classes] for values in (whole, gone))
    curves = {"deletion": ("Deletion", (whole, gone)), "insertion": ("Insertion", (gone, whole))}
    forgetful = randomized(model, randomized_layers, seed=check_seed(seed))
    if masks is not None:
        masks = check_masks(masks)

    def scores_of(method: Callable[..., Any]) -> dict[str, float]:
        maps, seconds = _timed(method, model, images, classes)
        found = {
            name: curve_of(
                title, model, images, maps, classes, steps, baselines, _IMAGES_AT_ONCE, False, ends
            ).area.mean()
            for name, (title, ends) in curves.items()
        }
        if mosaics is not None:
            on_mosaics = checked_result(method, model, mosaics.inputs, mosaics.classes)
            if masks is not None:
                found["pointing"] = pointing_game(on_mosaics, masks, tolerance=tolerance).mean()
            found["grid"] = grid_pointing_game(on_mosaics, mosaics.cells, grid=mosaics.grid).mean()
        forgotten = checked_result(method, forgetful, images[:few], classes[:few])
        found["randomisation"] = np.abs(rank_correlation(maps[:few], forgotten)).mean()
        found["seconds"] = seconds / len(images)
        return {name: float(value) for name, value in found.items()}

    table = {}
    for name, method in track(list(methods.items()), progress, "League table"):
        try:
            table[name] = scores_of(method)
        except ValueError as error:
            raise ValueError(f"methods[{name!r}]: {error}") from error
    return table


def _timed(
    method: Callable[..., Any], model: keras.Model, images: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, float]:
    with count_passes() as passes:
        started = time.perf_counter()
        maps = checked_result(method, model, images, classes)
        seconds = time.perf_counter() - started
    if passes.forward <= QUICK * len(images):
        started = time.perf_counter()
        maps = checked_result(method, model, images, classes)
        seconds = time.perf_counter() - started
    return maps, seconds
