"""The checks that every method makes of its images, classes and options, in one place.

Everything wrong raises `ValueError` or `TypeError` that names the argument, what it was and what is possible.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from labutils.explain.surgery import TOP_CLASS, OpenModel

Classes = int | Sequence[int] | np.ndarray | None
"""None (each image's top class), one class for all images, or one for each."""


def check_images(opened: OpenModel, images: Any, *, name: str = "images") -> np.ndarray:
    """One image or a batch, of any number type, as a new-or-same float32 batch; the caller's array is never written.

    Parameters
    ----------
    opened : OpenModel
        The model that will see them.
    images : array_like
        (n, H, W, C) or (H, W, C), or (n, features) or (features,), as the model takes them.
    name : str
        What to call them in an error.

    Returns
    -------
    numpy.ndarray
        (n, H, W, C) or (n, features), float32, finite.
    """
    array = _as_numbers(images, name)
    shape = opened.input_shape
    needed = f"{_shape(('n', *shape))} or one of shape {_shape(shape)}"
    if array.ndim == len(shape):
        array = array[np.newaxis]
    fits = array.ndim == len(shape) + 1 and all(
        wanted in (None, given) for wanted, given in zip(shape, array.shape[1:], strict=True)
    )
    if not fits:
        raise ValueError(f"{name}: shape {_shape(np.shape(images))} does not fit the model, which takes {needed}")
    if array.size == 0:
        raise ValueError(f"{name}: an empty array of shape {_shape(array.shape)}; at least one image is needed")
    with np.errstate(over="ignore"):  # what does not fit into float32 becomes infinite, and is refused below
        array = np.ascontiguousarray(array, dtype=np.float32)
    broken = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if broken.any():
        raise ValueError(f"{name}: NaN or infinite values in number {np.flatnonzero(broken).tolist()} (counted from 0)")
    return array


def refuse_features(images: np.ndarray, method: str) -> None:
    """A method that covers or replaces pixels needs images; ``method`` is what to call it in the error."""
    if images.ndim != 4:
        raise ValueError(
            f"images: {method} needs images, (n, H, W, C); the model takes inputs of shape {_shape(images.shape)}"
        )


def refuse_broken(opened: OpenModel, *results: np.ndarray) -> None:
    """An error where a result, (n, ...), is NaN or infinite: the images were not, so it is the model that is broken."""
    broken = np.zeros(len(results[0]), bool)
    for result in results:
        broken |= ~np.isfinite(result).reshape(len(result), -1).all(axis=1)
    if not broken.any():
        return
    raise ValueError(
        f"model: '{opened.name}' gives NaN or infinite values for image {np.flatnonzero(broken).tolist()} (counted from "
        "0): its numbers outgrow their type; are the weights sound, and the images preprocessed as it needs them?"
    )


def _as_numbers(values: Any, name: str) -> np.ndarray:
    if isinstance(values, list | tuple) and len({np.shape(value) for value in values}) > 1:
        shapes = ", ".join(_shape(np.shape(value)) for value in values)
        raise ValueError(f"{name}: all must have one shape, these have {shapes}; load them at one size and stack them")
    if np.ma.is_masked(values):
        raise ValueError(f"{name}: some values are masked; say what stands there instead: {name}.filled(0)")
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        # bfloat16 and its like are numbers that NumPy does not know as such.
        try:
            if array.dtype.kind in "OSUcMm":
                raise TypeError
            array = array.astype(np.float32)
        except TypeError:
            hint = "; labutils.photos.load makes one of a photo" if array.dtype.kind in "US" else ""
            raise TypeError(
                f"{name}: an array of numbers is needed, not {type(values).__name__} with dtype {array.dtype}{hint}"
            ) from None
    return array


def check_classes(opened: OpenModel, classes: Classes, n: int) -> np.ndarray:
    """Classes as n ints (int32), `TOP_CLASS` for each image where they are None."""
    if classes is None:
        return np.full(n, TOP_CLASS, np.int32)
    try:
        array = np.asarray(classes)
    except ValueError:  # a ragged list
        array = np.asarray(None)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError(
            f"classes: None, an int or {n} ints (class indices) are needed, not {type(classes).__name__} {classes!r}"
        )
    if array.ndim == 1 and len(array) != n:
        raise ValueError(
            f"classes: {len(array)} classes for {n} image{'s' * (n != 1)}; give one, or one for each image"
        )
    wrong = array[(array < 0) | (array >= opened.classes)]
    if wrong.size:
        raise ValueError(
            f"classes: {wrong.flat[0]} is out of range; the model has {opened.classes} "
            f"class{'es' * (opened.classes != 1)}, 0 to {opened.classes - 1}"
        )
    return np.broadcast_to(array, n).astype(np.int32)


def check_count(value: Any, name: str) -> int:
    """A number of things: an int of at least 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: an int of at least 1 is needed, not {type(value).__name__} {value!r}")
    if value < 1:
        raise ValueError(f"{name}: an int of at least 1 is needed, not {value}")
    return int(value)


def check_pair(value: Any, name: str) -> tuple[int, int]:
    """Counts along the height and the width: two ints of at least 1, or one for both."""
    if isinstance(value, numbers.Integral):
        value = value, value
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str) or np.shape(value) != (2,):
        raise TypeError(f"{name}: an int or a pair (height, width) is needed, not {type(value).__name__} {value!r}")
    return check_count(value[0], name), check_count(value[1], name)


def check_share(value: Any, name: str) -> float:
    """A share of something: a finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: a number that is not negative is needed, not {type(value).__name__} {value!r}")
    if not 0 <= value < np.inf:
        raise ValueError(f"{name}: a finite number that is not negative is needed, not {value}")
    return float(value)


def check_seed(value: Any) -> int | None:
    """A seed: None or an int that is not negative."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
        raise TypeError(f"seed: None or an int is needed, not {type(value).__name__} {value!r}")
    if value is not None and value < 0:
        raise ValueError(f"seed: an int that is not negative is needed, not {value}")
    return value


def check_baseline(opened: OpenModel, baseline: Any, images: np.ndarray, *, name: str = "baseline") -> np.ndarray:
    """A baseline as a float32 batch like the images: from a number, one per channel, one image or n images."""
    array = _as_numbers(baseline, name).astype(np.float32)
    allowed = {(), images.shape[-1:], images.shape[1:], images.shape}
    if array.shape not in allowed:
        shapes = ", ".join(_shape(shape) for shape in sorted(allowed, key=len))
        raise ValueError(f"{name}: shape {_shape(array.shape)} does not fit the images; possible: {shapes}")
    return check_images(opened, np.broadcast_to(array, images.shape), name=name)


def batches(n: int, batch_size: int) -> Iterator[slice]:
    """Slices that cut n things into batches."""
    for start in range(0, n, batch_size):
        yield slice(start, min(start + batch_size, n))


def _shape(shape: Sequence[Any]) -> str:
    return "(" + ", ".join("any" if side is None else str(side) for side in shape) + ("," * (len(shape) == 1)) + ")"
