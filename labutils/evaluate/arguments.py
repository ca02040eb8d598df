"""The checks that the metrics make of maps and masks.

Everything wrong raises `ValueError` or `TypeError` that names the argument, what it was and what is possible.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def check_maps(maps: Any, name: str = "maps") -> np.ndarray:
    """One map (H, W) or a batch (n, H, W), of any number type, as a finite float64 batch."""
    try:
        array = np.asarray(maps)
        if array.dtype.kind in "OSUcMm":
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: an array of numbers is needed, not {type(maps).__name__}") from None
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"{name}: (n, H, W) or one map (H, W) is needed, not shape {np.shape(maps)}")
    broken = ~np.isfinite(array).all(axis=(1, 2))
    if broken.any():
        raise ValueError(f"{name}: NaN or infinite values in number {np.flatnonzero(broken).tolist()} (counted from 0)")
    return array


def check_masks(masks: Any) -> np.ndarray:
    """One mask (H, W) or a batch (n, H, W) as a bool batch: where the object is. None of them may be empty."""
    array = np.asarray(masks)
    if array.dtype.kind not in "biu":
        raise TypeError(
            f"masks: bools are needed, or ints that are 0 outside the object, not dtype {array.dtype}; "
            "of shares, say where they count: masks > 0.5"
        )
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"masks: (n, H, W) or one mask (H, W) is needed, not shape {np.shape(masks)}")
    array = array != 0
    empty = ~array.any(axis=(1, 2))
    if empty.any():
        raise ValueError(
            f"masks: number {np.flatnonzero(empty).tolist()} (counted from 0) is empty: there is no object to hit"
        )
    return array
