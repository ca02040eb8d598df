"""Pointing games: does the map point at the object?"""

from __future__ import annotations

from typing import Any

import numpy as np

from labutils.evaluate.arguments import check_maps, check_masks
from labutils.explain.arguments import check_share
from labutils.photos import mosaic_cells


def pointing_game(maps: Any, masks: Any, *, tolerance: float = 15) -> np.ndarray:
    """Pointing game: is the map's maximum on the object, or close to it?

    Where several pixels share the maximum, all of them must be, so that no map wins by having many; a constant map
    points at nothing, and misses. Always compare with `centre_baseline`: photographers put the object in the middle.

    Parameters
    ----------
    maps : array_like
        (n, H, W) or (H, W).
    masks : array_like
        Where the object is, in the maps' shape: bool, or ints that are 0 outside it.
    tolerance : float
        Distance in pixels from the maximum to the nearest pixel of the object that still counts as a hit; the paper's
        15 is for photos of some 500 pixels.

    Returns
    -------
    numpy.ndarray
        (n,) bool; its mean is the accuracy.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit each other, or an empty mask: which.

    References
    ----------
    Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016.
    """
    from scipy.ndimage import distance_transform_edt

    maps, masks = check_maps(maps), check_masks(masks)
    if maps.shape != masks.shape:
        raise ValueError(f"masks: shape {masks.shape} is not that of the maps, {maps.shape}")
    tolerance = check_share(tolerance, "tolerance")
    hits = np.zeros(len(maps), bool)
    for index, (heat, mask) in enumerate(zip(maps, masks, strict=True)):
        if heat.max() > heat.min():
            distance = distance_transform_edt(~mask)
            hits[index] = distance[heat == heat.max()].max() <= tolerance
    return hits


def centre_baseline(masks: Any, *, tolerance: float = 15) -> np.ndarray:
    """The pointing game of a player who always points at the centre of the image, and has not seen it.

    Parameters, returns and errors are those of `pointing_game`. An even side has two middle pixels: the nearer counts.
    """
    masks = check_masks(masks)
    tolerance = check_share(tolerance, "tolerance")
    down, across = (_from_the_middle(side) for side in masks.shape[1:])
    distance = np.hypot(down[:, np.newaxis], across)
    return np.array([distance[mask].min() <= tolerance for mask in masks])


def _from_the_middle(side: int) -> np.ndarray:
    """Distance of each of `side` pixels from the middle one, or from the nearer of the two middle ones."""
    return np.floor(np.abs(np.arange(side) - (side - 1) / 2))


def grid_pointing_game(maps: Any, cells: Any, *, grid: tuple[int, int] = (2, 2)) -> np.ndarray:
    """Grid pointing game: the share of the positive attribution that lies in the target's cell of a mosaic.

    1 is perfect; a flat positive map gets the cell's share of the area, 1/4 in a grid of 2 x 2. Where nothing is
    positive it is 0. `confident_mosaics` makes the mosaics.

    Parameters
    ----------
    maps : array_like
        (n, H, W) or (H, W): maps of mosaics, for the class of one cell each.
    cells : int or n ints
        The target's cell, counted from 0 row by row, as `labutils.photos.mosaic` places its photos.
    grid : (int, int)
        Rows and columns of the mosaics.

    Returns
    -------
    numpy.ndarray
        (n,) float64, 0 to 1.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit each other: which, what it was and what is possible.

    References
    ----------
    Böhle, Fritz & Schiele, Convolutional Dynamic Alignment Networks for Interpretable Classifications, CVPR 2021.
    """
    maps = check_maps(maps)
    boxes = mosaic_cells(grid, maps.shape[1:])
    cells = _checked_cells(cells, len(maps), len(boxes))
    positive = np.maximum(maps, 0.0)
    inside = np.array(
        [
            heat[top:bottom, left:right].sum()
            for heat, (top, left, bottom, right) in zip(positive, boxes[cells], strict=True)
        ]
    )
    total = positive.sum(axis=(1, 2))
    return np.divide(inside, total, out=np.zeros(len(maps)), where=total > 0)


def _checked_cells(cells: Any, n: int, count: int) -> np.ndarray:
    array = np.asarray(cells)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError(f"cells: an int or {n} ints are needed, one cell for each map, not {cells!r}")
    if array.ndim == 1 and len(array) != n:
        raise ValueError(f"cells: {len(array)} cells for {n} map{'s' * (n != 1)}; give one, or one for each map")
    wrong = array[(array < 0) | (array >= count)]
    if wrong.size:
        raise ValueError(f"cells: {wrong.flat[0]} is out of range; the grid has cells 0 to {count - 1}, row by row")
    return np.broadcast_to(array, n)
