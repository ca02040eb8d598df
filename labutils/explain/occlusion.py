"""Occlusion: cover a patch of the image, see how far the logit drops, and do so everywhere.

`occlusion` lays out the patches and averages the drops. The logits of the occluded images come from one of two routes:
`incremental.IncrementalRoute`, which recomputes each layer only where the patch can reach, or, for models whose graph
it does not cover, `FullRoute`, which runs the whole model. They give the same logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.explain.arguments import (
    Classes,
    batches,
    check_baseline,
    check_classes,
    check_count,
    check_images,
    check_pair,
    refuse_broken,
    refuse_features,
)
from labutils.explain.incremental import IncrementalRoute, find_chain
from labutils.explain.progress import Progress, track
from labutils.explain.surgery import TOP_CLASS, OpenModel, count, open_model

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class Route(str):
    """How the logits were computed, ``"incremental"`` or ``"full"``: a string, with the reason as `why`."""

    why: str

    def __new__(cls, name: str, why: str) -> Route:
        route = super().__new__(cls, name)
        route.why = why
        return route


Sides = int | tuple[int, int]
"""One length for both axes, or (height, width)."""


def occlusion(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    patch: Sides = 16,
    stride: Sides = 8,
    fill: float | np.ndarray = 0.0,
    batch_size: int = 64,
    progress: Progress = None,
    return_route: bool = False,
) -> np.ndarray | tuple[np.ndarray, Route]:
    """Occlusion: how far the logit drops when a patch is covered, ``S_c(x) - S_c(x')``, averaged over all patches here.

    A patch of the fill is moved over the image in steps of the stride; a last one is moved back to the border, so that
    the last row and column are covered too. Where patches overlap, a pixel has the mean of the drops of those that
    cover it.

    Chains of convolutions, pooling and element-wise layers that end in any head take the *incremental* route: the
    unoccluded image's feature maps are kept, and of each layer only the window that a patch can reach is computed again
    and pasted into them. All other models (skip connections, branches) take the *full* route, which runs them whole.
    The model's graph decides. Both give the same logits, up to rounding.

    One forward pass an image and one for each patch, in batches. On the incremental route a patch is counted as a pass
    as well, though it costs a fraction of one: about a seventh in a VGG16 with the default patch. Memory does not grow
    with the number of patches: one image's feature maps are kept, and a batch holds at most `batch_size` patches.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential; a last softmax or sigmoid is left out. It is not changed.
    images : array_like
        (n, H, W, C) or (H, W, C), as the model takes them (preprocessed), of any number type.
    classes : None, int or n ints
        None takes each image's top class, that of the image without a patch.
    patch : int or (int, int)
        Side of the patch in pixels, or its height and width; at most the image's.
    stride : int or (int, int)
        Pixels from one patch to the next. With a stride above the patch's side some pixels are under no patch; they
        get 0.
    fill : float or array_like
        What covers the image, in the model's input units: a number, one per channel, one image or n images. What 0
        means depends on the preprocessing: for VGG16's it is the mean colour of ImageNet and not black.
    batch_size : int
        Patches in a pass.
    progress : None, bool or callable
        See `labutils.explain.progress.track`.
    return_route : bool
        Also return which route was taken.

    Returns
    -------
    maps : numpy.ndarray
        (n, H, W) float32, raw and signed, in logits: positive where covering the pixel lowers the score.
    route : Route
        Only with ``return_route``: ``"incremental"`` or ``"full"``, a string whose ``why`` says what decided.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.

    References
    ----------
    Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014. The incremental route: Nakandala
    et al., Incremental and Approximate Inference for Faster Occlusion-based Deep CNN Explanations, SIGMOD 2019.
    """
    opened = open_model(model)
    images = check_images(opened, images)
    refuse_features(images, "occlusion")
    classes = check_classes(opened, classes, len(images))
    patches = lay_patches(images.shape[1:3], check_pair(patch, "patch"), check_pair(stride, "stride"))
    fills = check_baseline(opened, fill, images, name="fill")
    batch_size = check_count(batch_size, "batch_size")

    chain, why = find_chain(opened)
    route = FullRoute(opened, patches) if chain is None else IncrementalRoute(opened, chain, patches)
    drops = np.empty((len(images), patches.count))
    work = [(index, batch) for index in range(len(images)) for batch in route.batches(batch_size)]
    started = None
    for index, batch in track(work, progress, "Occlusion"):
        if index != started:
            logits, kept = route.start(images[index], fills[index])
            count(forward=1)
            chosen = logits.argmax() if classes[index] == TOP_CLASS else classes[index]
            started = index
        with np.errstate(invalid="ignore"):  # infinite logits are refused below
            drops[index, batch] = logits[chosen] - route.logits(kept, batch)[:, chosen]
        count(forward=len(batch))
    refuse_broken(opened, drops)
    maps = np.stack([patches.average(drop) for drop in drops]).astype(np.float32)
    return (maps, Route("full" if chain is None else "incremental", why)) if return_route else maps


@dataclass(frozen=True)
class Patches:
    """Where the patches lie: on a grid of tops and lefts, numbered row by row."""

    size: tuple[int, int]
    sides: tuple[int, int]
    tops: np.ndarray
    lefts: np.ndarray

    @property
    def count(self) -> int:
        return len(self.tops) * len(self.lefts)

    def corners(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tops and lefts of these patches."""
        row, column = np.divmod(numbers, len(self.lefts))
        return self.tops[row], self.lefts[column]

    def average(self, drops: np.ndarray) -> np.ndarray:
        """(count,) drops -> (H, W): the mean over the patches that cover a pixel, 0 where there is none."""
        rows = _covered(self.size[0], self.tops, self.sides[0])
        columns = _covered(self.size[1], self.lefts, self.sides[1])
        total = rows.T @ drops.reshape(len(rows), len(columns)) @ columns
        coverage = np.multiply.outer(rows.sum(axis=0), columns.sum(axis=0))
        return np.divide(total, coverage, out=np.zeros(self.size), where=coverage > 0)


def _covered(size: int, starts: np.ndarray, side: int) -> np.ndarray:
    """Which of the pixels along an axis a patch covers, (patches, size) of 0.0 and 1.0."""
    distance = np.arange(size) - starts[:, np.newaxis]
    return ((distance >= 0) & (distance < side)).astype(np.float64)


def lay_patches(size: tuple[int, int], sides: tuple[int, int], strides: tuple[int, int]) -> Patches:
    """Patches of these sides, so far apart, over an image of this size: (height, width) each."""
    if sides[0] > size[0] or sides[1] > size[1]:
        raise ValueError(f"patch: {sides} (height, width) is larger than the image, {size}")
    return Patches(size, sides, *(_starts(*axis) for axis in zip(size, sides, strides, strict=True)))


def _starts(size: int, side: int, stride: int) -> np.ndarray:
    """Where the patches start along an axis; the last one is moved back to the border."""
    last = size - side
    return np.append(np.arange(0, last, stride), last)


class FullRoute:
    """Occluded images through the whole model, in batches; they are made inside the compiled run, a batch at a time."""

    def __init__(self, opened: OpenModel, patches: Patches):
        self._opened, self._patches = opened, patches

    def batches(self, batch_size: int) -> list[np.ndarray]:
        """The numbers of the patches of each batch."""
        numbers = np.arange(self._patches.count)
        return [numbers[batch] for batch in batches(len(numbers), batch_size)]

    def start(self, image: np.ndarray, fill: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits of the image, (classes,), and what `logits` needs: image and fill."""
        pair = np.stack([image, fill])
        return self._opened.compile(("logits",), self._opened.forward, pair)(pair[:1]).numpy()[0], pair

    def logits(self, pair: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Logits of the image under each of these patches, (patches, classes)."""
        import tensorflow as tf

        def run(pair: tf.Tensor, inside_rows: tf.Tensor, inside_columns: tf.Tensor) -> tf.Tensor:
            inside = inside_rows[:, :, tf.newaxis, tf.newaxis] & inside_columns[:, tf.newaxis, :, tf.newaxis]
            return self._opened.forward(tf.where(inside, pair[1], pair[0]))

        inside = [
            _covered(*axis).astype(bool)
            for axis in zip(self._patches.size, self._patches.corners(numbers), self._patches.sides, strict=True)
        ]
        spec = tf.TensorSpec([None, None], tf.bool)
        return self._opened.compile(("occluded",), run, pair, spec, spec)(pair, *inside).numpy()
