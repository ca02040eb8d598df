"""Deletion and insertion: what happens to the class's probability when pixels go, or come, in the map's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.evaluate.arguments import check_maps
from labutils.explain.arguments import (
    Classes,
    batches,
    check_baseline,
    check_classes,
    check_count,
    check_images,
    check_share,
    refuse_features,
)
from labutils.explain.progress import Progress, track
from labutils.explain.surgery import OpenModel, open_model

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class Curve:
    """A class's probability against the share of pixels changed.

    Attributes
    ----------
    fractions : numpy.ndarray
        (steps + 1,) float64, from 0 to 1: the share of pixels deleted, or inserted.
    scores : numpy.ndarray
        (n, steps + 1) float32: the probability of each image's class at each share.
    area : numpy.ndarray
        (n,) float64: the area under each curve by the trapezoid rule, between 0 and 1.
    """

    fractions: np.ndarray
    scores: np.ndarray
    area: np.ndarray


def deletion_curve(
    model: keras.Model,
    images: Any,
    maps: Any,
    classes: Classes = None,
    *,
    steps: int = 50,
    baseline: float | np.ndarray | str = 0.0,
    batch_size: int = 32,
    progress: Progress = None,
) -> Curve:
    """Deletion: replace the pixels by a baseline, those with the highest map value first. A small area is good.

    Pixels go in the order of decreasing map value; those with equal values row by row, from the top left. After step k
    of K, ``k / K`` of all pixels are gone, rounded to whole pixels. The score is a **probability**, not a logit: that of
    the model's own softmax or sigmoid, or the softmax of its logits.

    ``steps + 1`` forward passes an image, in batches; memory does not grow with the steps.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential. It is not changed.
    images : array_like
        (n, H, W, C) or (H, W, C), as the model takes them (preprocessed), of any number type.
    maps : array_like
        (n, H, W) or (H, W), one for each image and of its size; only the order of the values matters.
    classes : None, int or n ints
        None takes the top class of each untouched image, all along its curve.
    steps : int
        Steps between the two ends; more than there are pixels is allowed, and of no use.
    baseline : float, array_like or "blur"
        What replaces a pixel, in the model's input units: a number, one per channel, one image, n images, or "blur",
        the image itself as `blurred` gives it. What 0 means depends on the preprocessing: for VGG16's it is
        the mean colour of ImageNet and not black.
    batch_size : int
        Images in a forward pass.
    progress : None, bool or callable
        See `labutils.explain.progress.track`.

    Returns
    -------
    Curve
        ``fractions``, ``scores`` and ``area``.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model or each other: which, what it was and what is possible.

    References
    ----------
    Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018.
    """
    return curve_of("Deletion", model, images, maps, classes, steps, baseline, batch_size, progress)


def insertion_curve(
    model: keras.Model,
    images: Any,
    maps: Any,
    classes: Classes = None,
    *,
    steps: int = 50,
    baseline: float | np.ndarray | str = "blur",
    batch_size: int = 32,
    progress: Progress = None,
) -> Curve:
    """Insertion: start from a blurred image and put pixels back, those with the highest map value first.

    A large area is good. The blur is that of RISE (see `blurred`). Look at the first score, the probability that is left
    at the start: where it is high the curve can tell little, and needs a stronger blur or another baseline.

    Parameters, returns, errors and the source are those of `deletion_curve`; ``baseline`` is where it starts.
    """
    return curve_of("Insertion", model, images, maps, classes, steps, baseline, batch_size, progress)


def curve_of(
    title: str,
    model: keras.Model,
    images: Any,
    maps: Any,
    classes: Classes,
    steps: int,
    baseline: float | np.ndarray | str,
    batch_size: int,
    progress: Progress,
    ends: tuple[np.ndarray, np.ndarray] | None = None,
) -> Curve:
    """The curve of either title; `ends`, the probabilities (n,) of its first and last images, where they are known."""
    opened = open_model(model)
    images = check_images(opened, images)
    refuse_features(images, title.lower())
    classes = check_classes(opened, classes, len(images))
    steps, batch_size = check_count(steps, "steps"), check_count(batch_size, "batch_size")
    order = _ranks(check_maps(maps), images)
    baselines = baselines_of(opened, baseline, images)
    start, end = (images, baselines) if title == "Deletion" else (baselines, images)

    pixels = order.shape[1]
    counts = np.array([(2 * pixels * step + steps) // (2 * steps) for step in range(steps + 1)])  # halves upwards
    if ends is None:
        whole = [opened.probabilities(images[batch]) for batch in batches(len(images), batch_size)]
        probabilities = np.concatenate(whole)
        classes = np.where(classes < 0, probabilities.argmax(axis=-1), classes)
        known = {0 if title == "Deletion" else steps: probabilities[np.arange(len(images)), classes]}
    else:
        known = dict(zip((0, steps), ends, strict=True))

    scores = np.empty((len(images), steps + 1), np.float32)
    for step, values in known.items():
        scores[:, step] = values
    others = np.delete(np.arange(steps + 1), list(known))
    pairs = [(image, step) for image in range(len(images)) for step in others]
    for batch in track(list(batches(len(pairs), batch_size)), progress, title):
        image, step = np.array(pairs[batch]).T
        changed = (order[image] < counts[step, np.newaxis]).reshape(-1, *images.shape[1:3], 1)
        mixed = np.where(changed, end[image], start[image])
        scores[image, step] = opened.probabilities(mixed)[np.arange(len(image)), classes[image]]

    fractions = counts / pixels
    middles = (scores[:, 1:].astype(np.float64) + scores[:, :-1]) / 2
    return Curve(fractions, scores, middles @ np.diff(fractions))


def _ranks(maps: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Each pixel's place in the order of decreasing map value, (n, H * W); equal values in row-major order."""
    if maps.shape != images.shape[:3]:
        raise ValueError(
            f"maps: shape {maps.shape} does not fit the images; one map for each, {images.shape[:3]}, is needed"
        )
    order = np.argsort(-maps.reshape(len(maps), -1), axis=1, kind="stable")
    ranks = np.empty(order.shape, np.int32)
    np.put_along_axis(ranks, order, np.arange(order.shape[1], dtype=np.int32)[np.newaxis], axis=1)
    return ranks


def baselines_of(opened: OpenModel, baseline: float | np.ndarray | str, images: np.ndarray) -> np.ndarray:
    if not isinstance(baseline, str):
        return check_baseline(opened, baseline, images)
    if baseline != "blur":
        raise ValueError(
            f"baseline: a number, one per channel, an image, n images or 'blur' is needed, not {baseline!r}"
        )
    return blurred(images)


def blurred(images: np.ndarray, sigma: float = 5.0) -> np.ndarray:
    """Images blurred within each colour, continued by their mirror image: a baseline for the curves.

    The blur is a Gaussian cut off one standard deviation to either side; at the default of 5 pixels that is the 11 x 11
    window of RISE. Whether it hides what the network needs depends on photo and network: see the first score of the
    insertion curve, and take a larger one where that is high (``baseline=blurred(images, 20)``).

    Parameters
    ----------
    images : array_like
        (n, H, W, C) or (H, W, C), preprocessed or not.
    sigma : float
        Standard deviation, in pixels.

    Returns
    -------
    numpy.ndarray
        float32, in the images' shape.
    """
    from scipy.ndimage import gaussian_filter

    images = np.asarray(images, np.float32)
    if images.ndim not in (3, 4):
        raise ValueError(f"images: (n, H, W, C) or (H, W, C) is needed, not shape {images.shape}")
    return gaussian_filter(images, check_share(sigma, "sigma"), mode="reflect", truncate=1.0, axes=(-3, -2))
