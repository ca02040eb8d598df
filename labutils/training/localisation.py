"""Whether a ViT's maps point at what is there: the sample photos, each in every cell of a mosaic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labutils import photos, vit
from labutils.training.card import SAMPLE_CLASSES

if TYPE_CHECKING:
    import keras

GRID = (2, 2)


def localisation(network: keras.Model, vgg16: keras.Model) -> dict[str, dict[str, float]]:
    """Scores of the ViT's maps, of the other network's Grad-CAM, and of the centre.

    Sample photos lie off the centre here, in a cell of a mosaic: on the photos as they are the centre always hits.

    Parameters
    ----------
    network : keras.Model
        A `labutils.vit.ViT`.
    vgg16 : keras.Model
        A `labutils.vgg16.VGG16`, to compare with.

    Returns
    -------
    dict of dict
        Map -> ``"object hit"``, ``"share, textures"`` and ``"share, photos"``, from 0 to 1.
    """
    from labutils import explain
    from labutils import vgg16 as vgg
    from labutils.evaluate import (
        centre_baseline,
        confident_mosaics,
        grid_pointing_game,
        pointing_game,
        textured_mosaics,
    )

    names = list(SAMPLE_CLASSES)
    samples = np.stack([photos.sample(name) for name in names])
    classes = [vit.class_names(network).index(SAMPLE_CLASSES[name]) for name in names]
    options = {"preprocess": vit.preprocess_input, "grid": GRID, "confidence": 0.0}
    textured = textured_mosaics(network, samples, classes, **options)
    mixed = confident_mosaics(network, samples, classes, seed=0, **options)
    masks = _masks(textured, names)

    def scores(maps_of, prepared) -> dict[str, float]:
        alone = maps_of(prepared(textured), textured.classes)
        together = maps_of(prepared(mixed), mixed.classes)
        return {
            "object hit": pointing_game(alone, masks).mean(),
            "share, textures": grid_pointing_game(alone, textured.cells, grid=GRID).mean(),
            "share, photos": grid_pointing_game(together, mixed.cells, grid=GRID).mean(),
        }

    def own(mosaics):
        return mosaics.inputs

    def others(mosaics):
        return vgg.preprocess_input(mosaics.images.astype("float32"))

    methods = {
        "attention, last block": explain.attention_map,
        "attention rollout": explain.attention_rollout,
        "gradient rollout": explain.gradient_rollout,
        "Grad-CAM on tokens": explain.grad_cam,
    }
    table = {
        title: scores(lambda images, classes, method=method: method(network, images, classes), own)
        for title, method in methods.items()
    }
    table["VGG16's Grad-CAM"] = scores(lambda images, classes: explain.grad_cam(vgg16, images, classes), others)
    table["the centre"] = {
        "object hit": centre_baseline(masks).mean(),
        "share, textures": 1 / (GRID[0] * GRID[1]),
        "share, photos": 1 / (GRID[0] * GRID[1]),
    }
    return {title: {key: float(value) for key, value in row.items()} for title, row in table.items()}


def _masks(mosaics, names: list[str]) -> np.ndarray:
    """(n, H, W) bool: the outlined object in the cell that each mosaic asks for."""
    size = mosaics.images.shape[1:3]
    boxes = photos.mosaic_cells(GRID, size)
    masks = np.zeros((len(mosaics.images), *size), bool)
    for mask, cell, photo in zip(masks, mosaics.cells, mosaics.photos, strict=True):
        top, left, bottom, right = boxes[cell]
        mask[top:bottom, left:right] = photos.sample_mask(names[photo], (bottom - top, right - left))
    return masks
