"""Mosaics for the grid pointing game: photos that the network is sure of, beside each other or beside textures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.explain.arguments import (
    Classes,
    batches,
    check_classes,
    check_count,
    check_images,
    check_seed,
    check_share,
)
from labutils.explain.surgery import open_model
from labutils.photos import mosaic, mosaic_cells

if TYPE_CHECKING:
    import keras

_PHOTOS_AT_ONCE = 32

TEXTURES = ("brick", "grass", "gravel")
"""Of scikit-image: grey pictures of surfaces, without an object."""


@dataclass(frozen=True, eq=False)
class Mosaics:
    """Mosaics with a question each: does the map for this class lie in this cell?

    From `confident_mosaics` each mosaic is there once for each of its cells, since each cell's class is asked for; from
    `textured_mosaics` there is one question each.

    Attributes
    ----------
    images : numpy.ndarray
        (n, H, W, 3) uint8, to be shown.
    inputs : numpy.ndarray
        The same as the model takes them, preprocessed.
    classes : numpy.ndarray
        (n,) int32: the class to explain.
    cells : numpy.ndarray
        (n,) int: the cell with the photo of that class, row by row; no other photo of the mosaic has it.
    photos : numpy.ndarray
        (n,) int: which of the photos lies in that cell.
    grid : (int, int)
        Rows and columns.
    """

    images: np.ndarray
    inputs: np.ndarray
    classes: np.ndarray
    cells: np.ndarray
    photos: np.ndarray
    grid: tuple[int, int]


def confident_mosaics(
    model: keras.Model,
    photos: Any,
    classes: Classes = None,
    *,
    preprocess: Callable[[np.ndarray], Any] | None = None,
    grid: tuple[int, int] = (2, 2),
    mosaics: int = 8,
    confidence: float = 0.9,
    size: tuple[int, int] | None = None,
    seed: int | None = None,
) -> Mosaics:
    """Mosaics of photos that the network is sure of, for `grid_pointing_game`.

    A map can be blamed for pointing at the wrong photo only if the network itself recognises the right one. So only
    photos count whose class has at least the given probability when the network sees them alone. Each mosaic takes
    ``rows * columns`` of them, all of different classes: classes, photos and places are drawn at random, for each
    mosaic anew. One forward pass a photo.

    The paper puts the photos side by side at their full size, which takes a network for any image size; here they are
    made smaller to fit, unless `size` says otherwise.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential. It is not changed.
    photos : array_like
        (n, H, W, 3) uint8, as `labutils.photos.load` gives them, before preprocessing.
    classes : None, int or n ints
        The photos' true classes. None takes what the network says.
    preprocess : callable or None
        What makes model inputs of photos, such as `labutils.vgg16.preprocess_input`; None where the model takes uint8.
    grid : (int, int)
        Rows and columns of each mosaic.
    mosaics : int
        How many to make.
    confidence : float
        Least probability of a photo's class.
    size : (int, int) or None
        Height and width of the mosaics; None takes the photos'.
    seed : int or None
        The same seed gives the same mosaics.

    Returns
    -------
    Mosaics
        ``mosaics * rows * columns`` images with their class and cell.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit, or too few classes that the network is sure of: how many there are, and how sure.

    Examples
    --------
    >>> made = confident_mosaics(model, photos, preprocess=preprocess_input, seed=0)  # doctest: +SKIP
    >>> maps = grad_cam(model, made.inputs, made.classes)  # doctest: +SKIP
    >>> grid_pointing_game(maps, made.cells, grid=made.grid).mean()  # doctest: +SKIP

    References
    ----------
    Böhle, Fritz & Schiele, Convolutional Dynamic Alignment Networks for Interpretable Classifications, CVPR 2021.
    """
    photos = _checked_photos(photos)
    size = photos.shape[1:3] if size is None else size
    needed = len(mosaic_cells(grid, size))
    mosaics, confidence, seed = check_count(mosaics, "mosaics"), check_share(confidence, "confidence"), check_seed(seed)
    classes, scores = _sure_of(model, _preprocessed(preprocess, photos), classes)
    by_class = {int(c): np.flatnonzero((classes == c) & (scores >= confidence)) for c in np.unique(classes)}
    by_class = {c: found for c, found in by_class.items() if found.size}
    if len(by_class) < needed:
        raise ValueError(_too_few(grid, needed, len(by_class), confidence, classes, scores))

    rng = np.random.default_rng(seed)
    made, chosen = [], []
    for _ in range(mosaics):
        drawn = rng.choice(list(by_class), size=needed, replace=False)
        chosen.append([rng.choice(by_class[int(c)]) for c in drawn])
        made.append(mosaic([photos[index] for index in chosen[-1]], grid, size)[0])
    images, chosen = np.repeat(np.stack(made), needed, axis=0), np.concatenate(chosen)
    inputs = _preprocessed(preprocess, images)
    return Mosaics(images, inputs, classes[chosen], np.tile(np.arange(needed), mosaics), chosen, tuple(grid))


def textured_mosaics(
    model: keras.Model,
    photos: Any,
    classes: Classes = None,
    *,
    preprocess: Callable[[np.ndarray], Any] | None = None,
    grid: tuple[int, int] = (2, 2),
    confidence: float = 0.9,
    size: tuple[int, int] | None = None,
    seed: int | None = None,
) -> Mosaics:
    """Mosaics of one photo that the network is sure of among textures, for `grid_pointing_game`.

    For methods that know no class, such as attention rollout: of a mosaic of several photos, asked once for each cell,
    their mean is one cell's share whatever they show. Here one cell holds something and the others brick, grass and
    gravel, in grey. Each photo lies in each cell in turn, so that a flat map and one that always shows the centre have
    one cell's share as their mean. One forward pass a photo.

    Parameters
    ----------
    model, photos, classes, preprocess, confidence, size
        As for `confident_mosaics`; one class is enough.
    grid : (int, int)
        Rows and columns of each mosaic. With more than three cells beside the photo's, textures return.
    seed : int or None
        The same seed gives the same mosaics: which texture lies where.

    Returns
    -------
    Mosaics
        ``rows * columns`` images for each photo that the network is sure of, photo by photo.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit, or no photo that the network is sure of: how sure it is.
    """
    photos = _checked_photos(photos)
    size = photos.shape[1:3] if size is None else size
    cells = len(mosaic_cells(grid, size))
    confidence, seed = check_share(confidence, "confidence"), check_seed(seed)
    classes, scores = _sure_of(model, _preprocessed(preprocess, photos), classes)
    sure = np.flatnonzero(scores >= confidence)
    if not sure.size:
        raise ValueError(
            f"photos: there is none whose class the network gives a probability of at least {confidence:g}. "
            f"{_surest(classes, scores)}. Give other photos or a lower confidence"
        )

    rng, textures = np.random.default_rng(seed), _textures()
    chosen, places = np.repeat(sure, cells), np.tile(np.arange(cells), len(sure))
    made = []
    for photo, place in zip(chosen, places, strict=True):
        laid = [textures[number] for number in islice(cycle(rng.permutation(len(textures))), cells - 1)]
        laid.insert(place, photos[photo])
        made.append(mosaic(laid, grid, size)[0])
    images = np.stack(made)
    return Mosaics(images, _preprocessed(preprocess, images), classes[chosen], places, chosen, tuple(grid))


def _textures() -> list[np.ndarray]:
    from skimage import data

    return [np.repeat(getattr(data, name)()[..., np.newaxis], 3, axis=-1) for name in TEXTURES]


def _checked_photos(photos: Any) -> np.ndarray:
    array = np.asarray(photos)
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or array.size == 0:
        raise ValueError(
            f"photos: (n, H, W, 3) uint8 is needed, as labutils.photos gives them, before preprocessing; not "
            f"{array.dtype} of shape {array.shape}"
        )
    return array


def _preprocessed(preprocess: Callable[[np.ndarray], Any] | None, photos: np.ndarray) -> np.ndarray:
    # A copy as floats: Keras's preprocessing writes into arrays of floats, and keeps integers whole where it divides.
    return photos if preprocess is None else np.asarray(preprocess(photos.astype(np.float32)))


def _sure_of(model: keras.Model, inputs: np.ndarray, classes: Classes) -> tuple[np.ndarray, np.ndarray]:
    """Each photo's class and its probability, (n,) both."""
    opened = open_model(model)
    inputs = check_images(opened, inputs, name="photos")
    classes = check_classes(opened, classes, len(inputs))
    parts = [opened.probabilities(inputs[batch]) for batch in batches(len(inputs), _PHOTOS_AT_ONCE)]
    probabilities = np.concatenate(parts)
    classes = np.where(classes < 0, probabilities.argmax(axis=-1), classes).astype(np.int32)
    return classes, probabilities[np.arange(len(inputs)), classes]


def _too_few(
    grid: tuple[int, int], needed: int, found: int, confidence: float, classes: np.ndarray, scores: np.ndarray
) -> str:
    return (
        f"photos: a grid of {grid[0]} x {grid[1]} needs photos of {needed} different classes that the network gives a "
        f"probability of at least {confidence:g}; there are {found}. {_surest(classes, scores)}. "
        "Give more photos, a smaller grid or a lower confidence"
    )


def _surest(classes: np.ndarray, scores: np.ndarray) -> str:
    best = sorted({int(c): float(scores[classes == c].max()) for c in classes}.items(), key=lambda item: -item[1])
    return "Surest photo of each class: " + ", ".join(f"class {c} {score:.2f}" for c, score in best[:12])
