"""What comes into a figure, checked: photos, maps, titles, each with an error that names it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def checked_values(values: np.ndarray, name: str) -> np.ndarray:
    """`values` as float64; an error where they are not finite numbers."""
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} holds {values.dtype}, not numbers.")
    if values.size == 0:
        raise ValueError(f"{name} is empty: its shape is {values.shape}.")
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise ValueError(f"{name} has {bad} values of {values.size} that are NaN or infinite, so it has no scale.")
    return values.astype(float)


def checked_map(heatmap: np.ndarray, name: str = "heatmap") -> np.ndarray:
    values = np.asarray(heatmap)
    if values.ndim != 2:
        hint = f" Take one map of the batch: {name}[0]." if values.ndim == 3 else ""
        raise ValueError(f"{name} is one map, (height, width); this has shape {values.shape}.{hint}")
    return checked_values(values, name)


def checked_stack(stack: np.ndarray, name: str, count: int) -> list[np.ndarray]:
    """The maps of one method, one for each photo; a single map goes with a single photo."""
    if isinstance(stack, np.ndarray) and stack.ndim == 2:
        stack = stack[None]
    if len(stack) != count:
        raise ValueError(f"maps[{name!r}] holds {len(stack)} maps for {count} photos.")
    return [checked_map(heatmap, f"maps[{name!r}][{index}]") for index, heatmap in enumerate(stack)]


def checked_image(image: np.ndarray, name: str = "image") -> np.ndarray:
    """The photo as ``(H, W, 3)`` uint8."""
    pixels = np.asarray(image)
    if pixels.ndim == 4 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"{name} is (height, width, 3) or (height, width); this has shape {pixels.shape}.")
    if pixels.dtype != np.uint8:
        pixels = checked_values(pixels, name)
        if pixels.min() < 0 or pixels.max() > 255:
            raise ValueError(
                f"{name} has values from {pixels.min():.3g} to {pixels.max():.3g}; a photo has 0 to 255 (or 0 to 1). "
                "It looks preprocessed: give the photo as it was before preprocess_input (which changes float arrays "
                "in place, so keep a copy)."
            )
        pixels = np.rint(pixels * (255 if pixels.max() <= 1 else 1)).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def checked_images(images: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """Several photos; one photo alone counts as a batch of one."""
    if isinstance(images, np.ndarray) and images.ndim in (2, 3) and (images.ndim == 2 or images.shape[2] in (1, 3)):
        images = [images]
    if len(images) == 0:
        raise ValueError("images is empty: there is no photo to show.")
    return [checked_image(image, f"images[{index}]") for index, image in enumerate(images)]


def checked_titles(titles: Sequence[str] | None, count: int) -> list[str]:
    if titles is None:
        return [""] * count
    if isinstance(titles, str):
        titles = [titles]
    if len(titles) != count:
        raise ValueError(f"There are {len(titles)} titles for {count} photos.")
    return [str(title) for title in titles]
