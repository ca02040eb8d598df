"""What a patch of the image reaches: the window of each layer that can change when the patch is covered.

This is the geometry that `occlusion` computes with on its incremental route, for one patch, to be looked at.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.explain.arguments import check_pair
from labutils.explain.incremental import find_chain
from labutils.explain.surgery import open_model

if TYPE_CHECKING:
    import keras

    from labutils.explain.occlusion import Sides


@dataclass(frozen=True)
class Window:
    """The positions of a layer's output that see a patch of the image; all others stay as they are.

    Attributes
    ----------
    rows, columns : slice
        Where the window lies, for indexing: ``feature_maps[:, window.rows, window.columns]``.
    size : (int, int)
        Height and width of the layer's whole output.
    cost : float
        About how many multiplications one position costs; 0 for the image itself.
    """

    rows: slice
    columns: slice
    size: tuple[int, int]
    cost: float = 0.0

    @property
    def positions(self) -> int:
        """How many positions the window has."""
        return (self.rows.stop - self.rows.start) * (self.columns.stop - self.columns.start)

    @property
    def share(self) -> float:
        """The window's share of all the layer's positions, 0 to 1."""
        return self.positions / (self.size[0] * self.size[1])


def reached_windows(
    model: keras.Model,
    top: int,
    left: int,
    *,
    patch: Sides = 16,
    image_size: Sides | None = None,
) -> dict[str, Window]:
    """The window of each layer's output that a patch of the image reaches, from the image up to the head.

    A convolution of 3 x 3 makes the window wider by one position on each side, a pooling of 2 x 2 halves it (and keeps
    what is reached in part); at the border of the map it is cut off. Nothing is computed with the model's weights.

    Parameters
    ----------
    model : keras.Model
        One for which `occlusion` takes the incremental route: a chain of convolutions, poolings and element-wise layers,
        then any head.
    top, left : int
        The first row and column of the patch, counted from 0.
    patch : int or (int, int)
        Side of the patch in pixels, or its height and width.
    image_size : int or (int, int), optional
        Height and width of the image; needed only where the model takes any size.

    Returns
    -------
    dict of str to Window
        ``"image"`` (the patch itself), then every convolution, pooling, padding and cropping of the chain by its layer's
        name, in order.

    Raises
    ------
    ValueError
        The patch does not lie inside the image, or the model is no such chain (and why).

    References
    ----------
    Nakandala et al., Incremental and Approximate Inference for Faster Occlusion-based Deep CNN Explanations, SIGMOD 2019.
    """
    opened = open_model(model)
    chain, why = find_chain(opened)
    if chain is None:
        raise ValueError(f"model: windows are known for chains of layers only; here, {why}")
    size = _image_size(opened.input_shape, image_size)
    sides = check_pair(patch, "patch")
    starts = _place(top, "top"), _place(left, "left")
    for start, side, length, name in zip(starts, sides, size, ("top", "left"), strict=True):
        if start + side > length:
            raise ValueError(
                f"{name}: a patch of {sides[0]} x {sides[1]} pixels that begins at {start} reaches beyond the image of "
                f"{size[0]} x {size[1]}; the last place is {length - side}"
            )
    first, end = np.array(starts), np.array(starts) + sides
    windows = {"image": _window(first, end, size)}
    paths = {place.tensor: place.path for place in opened.reached_places()}
    for stage in chain.stages:
        axes = stage.sliding.axes(size)
        reached = [axis.reached(first[number], end[number]) for number, axis in enumerate(axes)]
        first, end = np.array(reached).T
        size = tuple(axis.outputs for axis in axes)
        step = opened.steps[stage.index]
        windows[paths.get(step.outputs[0], step.operation.name)] = _window(first, end, size, stage.cost)
    return windows


def _window(first: np.ndarray, end: np.ndarray, size: tuple[int, int], cost: float = 0.0) -> Window:
    rows, columns = (slice(int(start), int(stop)) for start, stop in zip(first, end, strict=True))
    return Window(rows, columns, size, cost)


def _image_size(input_shape: tuple[int | None, ...], image_size: Any) -> tuple[int, int]:
    own = input_shape[:2]
    if image_size is None:
        if None in own:
            raise ValueError("image_size: this model takes images of any size; give (height, width)")
        return own
    size = check_pair(image_size, "image_size")
    if any(wanted not in (None, given) for wanted, given in zip(own, size, strict=True)):
        raise ValueError(f"image_size: {size} (height, width) does not fit the model, which takes {own}")
    return size


def _place(value: Any, name: str) -> int:
    """A row or column: an int of at least 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: an int of at least 0 is needed, not {type(value).__name__} {value!r}")
    if value < 0:
        raise ValueError(f"{name}: an int of at least 0 is needed, not {value}")
    return int(value)
