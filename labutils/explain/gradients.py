"""Gradients of a class's logit with respect to the input, and what is made of them.

Images, (n, H, W, C), lose their colour axis; feature vectors, (n, features), stay as they are. Values are raw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.explain.arguments import (
    Classes,
    batches,
    check_baseline,
    check_classes,
    check_count,
    check_images,
    check_seed,
    check_share,
    refuse_broken,
)
from labutils.explain.progress import Progress, track
from labutils.explain.surgery import TOP_CLASS, OpenModel, open_model

if TYPE_CHECKING:
    import keras

_IMAGES_AT_ONCE = 8  # a backward pass keeps every layer's output: a VGG16 needs some 120 MB an image


def _largest(attribution: np.ndarray) -> np.ndarray:
    """Images (n, H, W, C): max over colours of |.|. Feature vectors have no colours and stay as they are, signed."""
    reduced = attribution if attribution.ndim == 2 else np.abs(attribution).max(axis=-1)
    return reduced.astype(np.float32)


def _summed(attribution: np.ndarray) -> np.ndarray:
    """Images (n, H, W, C): the signed sum over colours. Feature vectors stay as they are."""
    reduced = attribution if attribution.ndim == 2 else attribution.sum(axis=-1)
    return reduced.astype(np.float32)


def saliency(model: keras.Model, images: Any, classes: Classes = None) -> np.ndarray:
    """Saliency: how strongly the logit reacts to each pixel, ``max over colours of |dS_c/dx|``.

    One forward and one backward pass.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential; a last softmax or sigmoid is left out. It is not changed.
    images : array_like
        (n, H, W, C) or (H, W, C), as the model takes them (preprocessed), of any number type; or feature vectors,
        (n, features) or (features,).
    classes : None, int or n ints
        None takes each image's top class.

    Returns
    -------
    numpy.ndarray
        (n, H, W) float32, raw, in logits per input unit; not negative. For feature vectors the signed gradient,
        (n, features).

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.

    References
    ----------
    Simonyan et al., Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency Maps,
    ICLR Workshop 2014.
    """
    return _largest(_gradient(model, images, classes)[0])


def gradient_times_input(model: keras.Model, images: Any, classes: Classes = None) -> np.ndarray:
    """Gradient times input: ``sum over colours of x dS_c/dx``. One forward and one backward pass.

    In a network without biases, of ReLUs and max-pooling, it sums to S_c exactly.

    Parameters and errors are those of `saliency`.

    Returns
    -------
    numpy.ndarray
        (n, H, W) float32, raw and signed, in logits; (n, features) for feature vectors.

    References
    ----------
    Shrikumar et al., Not Just a Black Box: Learning Important Features Through Propagating Activation Differences,
    arXiv:1605.01713, 2016.
    """
    gradient, images = _gradient(model, images, classes)
    return _summed(gradient.astype(np.float64) * images)


def guided_backprop(model: keras.Model, images: Any, classes: Classes = None) -> np.ndarray:
    """Guided backpropagation: saliency with every negative gradient cut at every ReLU on the way down.

    Beautiful, and nearly blind to the class and even to the weights (Adebayo et al., Sanity Checks for Saliency Maps,
    NeurIPS 2018): offered as a negative control. It acts on ReLUs in every form that the model's graph shows:
    ``activation="relu"``, ``ReLU()`` layers with any ``max_value`` or ``threshold``, ``relu6`` and raw operations.
    Leaky ReLUs and GELUs are left as they are: of a transformer without a ReLU it is the saliency map. One forward and one backward pass.

    Parameters, returns and errors are those of `saliency`; and a `ValueError` where a ReLU is hidden inside a layer.

    References
    ----------
    Springenberg et al., Striving for Simplicity: The All Convolutional Net, ICLR Workshop 2015.
    """
    return _largest(_gradient(model, images, classes, guided=True)[0])


def _gradient(
    model: keras.Model, images: Any, classes: Classes, *, guided: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """dS_c/dx and the checked images it belongs to, both in the images' shape."""
    opened = open_model(model)
    images = check_images(opened, images)
    classes = check_classes(opened, classes, len(images))
    parts = [
        opened.input_gradients(images[batch], classes[batch], guided=guided)
        for batch in batches(len(images), _IMAGES_AT_ONCE)
    ]
    gradient, score = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    refuse_broken(opened, gradient, score)
    return gradient, images


def smooth_grad(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    samples: int = 50,
    noise: float = 0.2,
    seed: int | None = None,
    batch_size: int = _IMAGES_AT_ONCE,
    progress: Progress = None,
) -> np.ndarray:
    """SmoothGrad: the **signed** gradients of noisy copies, averaged; then ``max over colours of |.|``.

    The class is the clean image's. ``samples`` forward and backward passes an image (and one forward pass where the
    class is to be found), in batches; memory does not grow with the samples.

    Parameters
    ----------
    model, images, classes
        As for `saliency`.
    samples : int
        Noisy copies of each image.
    noise : float
        Standard deviation of the Gaussian noise, as a share of the image's own value range, ``max(x) - min(x)``.
    seed : int or None
        The same seed gives the same maps; each image draws the noise that it would draw alone.
    batch_size : int
        Noisy copies in a pass.
    progress : None, bool or callable
        See `labutils.explain.progress.track`.

    Returns
    -------
    numpy.ndarray
        (n, H, W) float32, raw, in logits per input unit; not negative. For feature vectors the signed mean,
        (n, features).

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.

    References
    ----------
    Smilkov et al., SmoothGrad: removing noise by adding noise, arXiv:1706.03825, 2017.
    """
    opened = open_model(model)
    images = check_images(opened, images)
    samples, batch_size = check_count(samples, "samples"), check_count(batch_size, "batch_size")
    noise, seed = check_share(noise, "noise"), check_seed(seed)
    classes = check_classes(opened, classes, len(images))
    if (classes == TOP_CLASS).any():
        classes = _top_where_unknown(_logits(opened, images), classes)

    total = np.zeros(images.shape, np.float64)
    draws = [np.random.default_rng(seed) for _ in images]
    work = [(index, batch) for index in range(len(images)) for batch in batches(samples, batch_size)]
    for index, batch in track(work, progress, "SmoothGrad"):
        copies = draws[index].standard_normal((batch.stop - batch.start, *images.shape[1:]), dtype=np.float32)
        copies *= noise * np.ptp(images[index])
        copies += images[index]
        gradient, _ = opened.input_gradients(copies, np.repeat(classes[index], len(copies)))
        total[index] += gradient.sum(axis=0, dtype=np.float64)
    refuse_broken(opened, total)
    return _largest(total / samples)


def integrated_gradients(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    baseline: float | np.ndarray = 0.0,
    steps: int = 64,
    return_gap: bool = False,
    batch_size: int = _IMAGES_AT_ONCE,
    progress: Progress = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Integrated gradients: ``(x - x0) * integral of dS_c/dx`` along the straight line from a baseline x0 to x.

    Completeness: the attributions sum to ``S_c(x) - S_c(x0)``. How far they are from that is the gap.

    The gradient of a ReLU network jumps along the line: with equal weights, 64 points miss completeness by several per
    cent in a deep one. But one integral along the line is known exactly, that of the slope (the derivative along it):
    ``S_c(x) - S_c(x0)``. It serves as a control variate: the weights of the points, equal at first, are tilted towards
    steep or flat points (never below zero) until the slope is integrated right. The gap says what that left over. It
    is no measure of each pixel's error; for that, compare with more steps.

    ``steps`` forward and backward passes an image, and two forward passes for the ends, in batches; memory does not
    grow with the steps.

    Parameters
    ----------
    model, images, classes
        As for `saliency`.
    baseline : float or array_like
        x0, in the model's input units: a number, one per channel, one image or n images. What 0 means depends on the
        preprocessing: for VGG16's it is the mean colour of ImageNet and not black.
    steps : int
        Points on the line, at the middles of equal intervals.
    return_gap : bool
        Also return the completeness gap.
    batch_size : int
        Points in a pass.
    progress : None, bool or callable
        See `labutils.explain.progress.track`.

    Returns
    -------
    maps : numpy.ndarray
        (n, H, W) float32, raw and signed, in logits: summed over colours. (n, features) for feature vectors.
    gap : numpy.ndarray
        Only with ``return_gap``: (n,) float32, sum of the map minus ``S_c(x) - S_c(x0)``, in logits.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.

    References
    ----------
    Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017. The weights: the regression estimator of
    survey sampling and Monte Carlo, e.g. Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section 4.1.
    """
    opened = open_model(model)
    images = check_images(opened, images)
    baselines = check_baseline(opened, baseline, images)
    steps, batch_size = check_count(steps, "steps"), check_count(batch_size, "batch_size")
    classes = check_classes(opened, classes, len(images))
    logits = _logits(opened, images)
    classes = _top_where_unknown(logits, classes)
    each = np.arange(len(images))
    increase = logits[each, classes] - _logits(opened, baselines)[each, classes]

    points = (np.arange(steps, dtype=np.float64) + 0.5) / steps
    difference = images.astype(np.float64) - baselines
    slopes = np.empty((len(images), steps))  # of S_c along the line, at each point
    total, tilted = np.zeros(images.shape), np.zeros(images.shape)  # sums of the gradient and of slope * gradient
    work = [(index, batch) for index in range(len(images)) for batch in batches(steps, batch_size)]
    for index, batch in track(work, progress, "Integrated gradients"):
        line = baselines[index] + np.multiply.outer(points[batch], difference[index])
        gradient, _ = opened.input_gradients(line.astype(np.float32), np.repeat(classes[index], len(line)))
        gradient = gradient.reshape(len(line), -1).astype(np.float64)
        slopes[index, batch] = gradient @ difference[index].ravel()
        total[index] += gradient.sum(axis=0).reshape(images.shape[1:])
        tilted[index] += (slopes[index, batch] @ gradient).reshape(images.shape[1:])

    mean, tilt = slopes.mean(axis=1), _tilt(slopes, increase)
    # The sum over points of the gradient times its weight, 1/steps * (1 + tilt * (slope - mean slope)).
    along = _per_image(1 - tilt * mean, total) * total + _per_image(tilt, total) * tilted
    attributions = difference * along / steps
    refuse_broken(opened, attributions)
    maps = _summed(attributions)
    gap = attributions.reshape(len(images), -1).sum(axis=1) - increase
    return (maps, gap.astype(np.float32)) if return_gap else maps


def _tilt(slopes: np.ndarray, increase: np.ndarray) -> np.ndarray:
    """How far to tilt the points' weights towards steep or flat points, (n,), so that the slopes average to the increase.

    Weights are ``1 + tilt * (slope - mean slope)``; the tilt is held back where a weight would fall below zero.
    """
    deviation = slopes - slopes.mean(axis=1, keepdims=True)
    variance, largest = (deviation**2).mean(axis=1), np.abs(deviation).max(axis=1)
    # Slopes that differ by rounding only (a line without a bend) say nothing about where the error lies.
    bends = largest > 1e-5 * np.abs(slopes).max(axis=1)
    tilt = np.divide(increase - slopes.mean(axis=1), variance, out=np.zeros(len(slopes)), where=bends)
    limit = np.divide(1.0, largest, out=np.zeros(len(slopes)), where=bends)
    return np.clip(tilt, -limit, limit)


def _per_image(values: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(n,) -> (n, 1, 1, 1), or whatever the images' axes ask for."""
    return values.reshape(-1, *(1,) * (images.ndim - 1))


def _logits(opened: OpenModel, images: np.ndarray) -> np.ndarray:
    parts = [opened.logits(images[batch]) for batch in batches(len(images), _IMAGES_AT_ONCE)]
    logits = np.concatenate(parts).astype(np.float64)
    refuse_broken(opened, logits)
    return logits


def _top_where_unknown(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return np.where(classes == TOP_CLASS, logits.argmax(axis=-1), classes).astype(np.int32)
