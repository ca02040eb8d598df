"""RISE: which random parts of the image, left standing, keep a class's logit up.

Notation, as in the paper: M_i is a mask, (H, W) within [0, 1]; N their number; p the probability that a cell is kept.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.explain.arguments import (
    Classes,
    batches,
    check_classes,
    check_count,
    check_images,
    check_pair,
    check_seed,
    refuse_broken,
    refuse_features,
)
from labutils.explain.progress import Progress, track
from labutils.explain.surgery import TOP_CLASS, open_model

if TYPE_CHECKING:
    import keras


def rise(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    masks: int = 2000,
    cells: int | Sequence[int] = 7,
    keep: float = 0.5,
    centred: bool = False,
    seed: int | None = None,
    batch_size: int = 64,
    progress: Progress = None,
) -> np.ndarray:
    """RISE: the mean of random masks, each weighted by the logit of the image seen through it. No gradients.

    ``map = 1 / (N p) * sum_i S_c(x * M_i) M_i``. Each mask is a grid of cells, each 1 with probability p and else 0,
    upsampled bilinearly to one cell more than the image and cut out at a random shift of its own.

    The paper's score is a probability; here it is the logit, as everywhere in `labutils.explain`. A map is therefore
    about ``E[S_c | pixel shown]``: its level, the mean logit of masked images, says nothing about places, only the
    differences do. The estimate's error falls with 1 / sqrt(N) and grows with that level, because no pixel is covered
    by exactly N p masks.

    ``masks`` forward passes an image (and one where the class is to be found), in batches; memory does not grow with
    the number of masks. With a seed, one image several times in a row, asked for several classes, costs what it costs once.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential; a last softmax or sigmoid is left out. It is not changed.
    images : array_like
        (n, H, W, C) or (H, W, C), as the model takes them (preprocessed), of any number type. "Masked" means pulled
        towards 0 in these units: for VGG16 the mean colour.
    classes : None, int or n ints
        None takes the top class of each whole image.
    masks : int
        N.
    cells : int or (int, int)
        Cells along the height and the width of a mask.
    keep : float
        p, above 0 and at most 1.
    centred : bool
        Weigh each mask by how far its logit is from the mean of all masked images' instead. This takes away the level, and
        with it most of the error that comes from uneven covering: needed where masks are few. Below 0 is worse than
        average. Not in the paper.
    seed : int or None
        The same seed gives the same maps; each image is seen through the masks that it would draw alone, so with a
        seed through the same ones.
    batch_size : int
        Masked images in a pass.
    progress : None, bool or callable
        See `labutils.explain.progress.track`.

    Returns
    -------
    numpy.ndarray
        (n, H, W) float32, raw and signed, in logits.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.

    References
    ----------
    Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018.
    """
    opened = open_model(model)
    images = check_images(opened, images)
    refuse_features(images, "RISE")
    classes = check_classes(opened, classes, len(images))
    masks, batch_size = check_count(masks, "masks"), check_count(batch_size, "batch_size")
    maker = _MaskMaker(images.shape[1:3], check_pair(cells, "cells"), _check_probability(keep))
    seed = check_seed(seed)

    total, level = np.zeros(images.shape[:3]), np.zeros(len(images))
    coverage = np.zeros(images.shape[:3]) if centred else None
    groups = _runs_of_equal(images) if seed is not None else [[index] for index in range(len(images))]
    work = [(group, batch) for group in groups for batch in batches(masks, batch_size)]
    for group, batch in track(work, progress, "RISE"):
        image = images[group[0]]
        if batch.start == 0:
            draw = np.random.default_rng(seed)
            chosen = classes[group]
            if (chosen == TOP_CLASS).any():
                chosen = np.where(chosen == TOP_CLASS, opened.logits(image[np.newaxis])[0].argmax(), chosen)
        some = maker.masks(draw, batch.stop - batch.start)
        scores = opened.logits(image * some[..., np.newaxis])
        for index, class_index in zip(group, chosen, strict=True):
            total[index] += np.tensordot(scores[:, class_index], some, axes=1)
            if centred:
                level[index] += scores[:, class_index].sum() / masks
                coverage[index] += some.sum(axis=0)
    if centred:
        total -= level[:, np.newaxis, np.newaxis] * coverage
    refuse_broken(opened, total)
    return (total / (masks * maker.keep)).astype(np.float32)


def _runs_of_equal(images: np.ndarray) -> list[list[int]]:
    """The places of the images, together where an image follows itself: asked for several classes, it is masked once."""
    groups = [[0]]
    for index in range(1, len(images)):
        if np.array_equal(images[index], images[index - 1]):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _check_probability(keep: Any) -> float:
    if isinstance(keep, bool) or not isinstance(keep, numbers.Real):
        raise TypeError(f"keep: a number above 0 and at most 1 is needed, not {type(keep).__name__} {keep!r}")
    if not 0 < keep <= 1:
        raise ValueError(f"keep: a number above 0 and at most 1 is needed, not {keep}")
    return float(keep)


@dataclass(frozen=True)
class _MaskMaker:
    """Makes masks of one size, (H, W), from grids of some cells, each kept with the probability `keep`."""

    size: tuple[int, int]
    cells: tuple[int, int]
    keep: float

    def masks(self, draw: np.random.Generator, count: int) -> np.ndarray:
        """The next masks that the generator gives, (count, H, W) float32 within [0, 1]."""
        # All that a mask draws comes in one row, so that masks do not depend on how many are asked for at once.
        drawn = draw.random((count, self.cells[0] * self.cells[1] + 2))
        grids = (drawn[:, 2:] < self.keep).reshape(count, *self.cells).astype(np.float32)
        # Bilinear upsampling is linear along each axis: a window of a matrix from the left, and one from the right.
        down, across = (self._upsampling(axis, drawn[:, axis]) for axis in (0, 1))
        return down @ grids @ across.transpose(0, 2, 1)

    def _upsampling(self, axis: int, shares: np.ndarray) -> np.ndarray:
        """For each mask the matrix (pixels, cells) that interpolates along an axis, shifted by a share of a cell."""
        pixels, cells = self.size[axis], self.cells[axis]
        side = -(-pixels // cells)
        shifts = (shares * side).astype(int)
        # Half-pixel centres: where the pixels of one cell more than the image lie among the cells.
        places = np.clip((np.arange((cells + 1) * side) + 0.5) * cells / ((cells + 1) * side) - 0.5, 0, cells - 1)
        matrix = np.maximum(1 - np.abs(places[:, np.newaxis] - np.arange(cells)), 0).astype(np.float32)
        return matrix[shifts[:, np.newaxis] + np.arange(pixels)]
