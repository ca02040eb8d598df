"""The network that a report explains: a model, how its photos are prepared, and what its outputs are called."""

from __future__ import annotations

import difflib
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labutils import pretrained
from labutils.explain.surgery import open_model

if TYPE_CHECKING:
    import keras

DEFAULT_SIDE = 224
"""Height and width of photos, in pixels, for models that take any."""


@dataclass(frozen=True)
class Network:
    """An image classifier with all that is needed to hand it photos and to read its answer.

    Attributes
    ----------
    title : str
        What a report calls it.
    model : keras.Model
    preparation : str
        The name of its preprocessing, as `preprocessing` takes it.
    labels : tuple of str
        A name for each output.
    """

    title: str
    model: keras.Model
    preparation: str
    labels: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its photos, in pixels."""
        height, width = self.model.input_shape[1:3]
        return height or DEFAULT_SIDE, width or DEFAULT_SIDE

    @cached_property
    def has_attention(self) -> bool:
        """Whether it is a transformer whose attention can be laid over the photo."""
        try:
            open_model(self.model).tokens()
        except (TypeError, ValueError):
            return False
        return True

    def prepare(self, photos: np.ndarray) -> np.ndarray:
        """Photos (n, H, W, 3) uint8 RGB as the model takes them, (n, H, W, C) float32."""
        if self.model.input_shape[-1] == 1:
            photos = np.rint(photos @ np.array([0.299, 0.587, 0.114]))[..., np.newaxis]
        prepared = np.asarray(preprocessing(self.preparation)(photos.astype("float32")), dtype="float32")
        if prepared.shape != photos.shape:
            raise ValueError(f"--preprocess {self.preparation} turned shape {photos.shape} into {prepared.shape}")
        return prepared

    def probabilities(self, prepared: np.ndarray) -> np.ndarray:
        """The model's answer as probabilities, (n, classes); of a model that gives logits, their softmax."""
        outputs = np.asarray(self.model.predict(prepared, verbose=0), dtype="float64")
        if outputs.min() >= 0 and outputs.max() <= 1:
            return outputs
        exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def class_index(self, wanted: str) -> int:
        """The output that a name or number stands for.

        Raises
        ------
        ValueError
            When there is no such class, or several have the name.
        """
        if wanted.lstrip("-").isdecimal():
            if 0 <= int(wanted) < len(self.labels):
                return int(wanted)
            raise ValueError(f"class {wanted} is out of range: {self.title} has classes 0 to {len(self.labels) - 1}")
        plain = [_plain(label) for label in self.labels]
        found = [index for index, label in enumerate(plain) if label == _plain(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{wanted!r} names several classes; give a number: {', '.join(map(str, found))}")
        near = difflib.get_close_matches(_plain(wanted), plain, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"its classes begin with {', '.join(self.labels[:5])}"
        raise ValueError(f"{self.title} has no class {wanted!r}; {hint}")


def vgg16_network(weights: str | Path = "auto") -> Network:
    """VGG16 with weights as `labutils.vgg16.VGG16` takes them."""
    from labutils import vgg16

    model = vgg16.VGG16(weights=weights)
    return Network(f"VGG16, {_weights_title(weights, model)}", model, "vgg16", _names_of(model.output_shape[-1]))


def vit_network(weights: str | Path = "auto") -> Network:
    """A Vision Transformer with weights as `labutils.vit.ViT` takes them."""
    from labutils import vit

    model = vit.ViT(weights=weights)
    return Network(f"ViT, {_weights_title(weights, model)}", model, "vit", _names_of(model.output_shape[-1]))


BUILT_IN: dict[str, Callable[[str | Path], Network]] = {"vgg16": vgg16_network, "vit": vit_network}
"""The networks of labutils by name; each function takes their weights."""


def saved_network(path: Path, preparation: str | None = None, labels: Path | None = None) -> Network:
    """Any image classifier saved by Keras.

    Parameters
    ----------
    path : Path
        A ``.keras`` (or whole-model ``.h5``) file.
    preparation : str, optional
        As `preprocessing` takes it; None hands over pixel values of 0 to 255.
    labels : Path, optional
        The names of the outputs: a JSON list, or text with one name a line.

    Raises
    ------
    ValueError
        When the file is not such a model, or the labels do not fit it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    model = pretrained.open_saved(path)
    _require_image_classifier(model, path)
    preparation = preparation or "none"
    preprocessing(preparation)
    outputs = model.output_shape[-1]
    names = _names_of(1000) if labels is None and outputs == 1000 else _read_labels(labels, outputs)
    return Network(path.name, model, preparation, names)


def preprocessing(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """A preprocessing function by name, from RGB values of 0 to 255 to what a model takes.

    Parameters
    ----------
    name : str
        ``"none"``; ``"scale01"`` (divide by 255); ``"vit"`` (that of `labutils.vit`); the name of a network of
        ``keras.applications``, such as ``"vgg16"`` or ``"mobilenet_v2"``; or ``"module:function"``, a function of (n, H, W, C) float32.

    Raises
    ------
    ValueError
        When it is none of these.
    """
    if name == "none":
        return lambda photos: photos
    if name == "scale01":
        return lambda photos: photos / 255
    if name == "vit":
        from labutils import vit

        return vit.preprocess_input
    if ":" in name:
        return _imported(name)
    import keras

    network = getattr(keras.applications, name, None)
    if not hasattr(network, "preprocess_input"):
        known = [
            each for each in dir(keras.applications) if hasattr(getattr(keras.applications, each), "preprocess_input")
        ]
        raise ValueError(
            f"there is no preprocessing {name!r}; there are: none, scale01, vit, {', '.join(known)}, or module:function"
        )
    return network.preprocess_input


def _imported(name: str) -> Callable[[np.ndarray], np.ndarray]:
    module, _, function = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # A console script does not look in the current folder by itself.
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # Importing runs someone's code: anything may come out of it.
        raise ValueError(f"cannot import the preprocessing {name}: {_first_line(error)}") from error
    if not callable(found):
        raise ValueError(f"the preprocessing {name} is not a function")
    return found


def _require_image_classifier(model: keras.Model, path: Path) -> None:
    shape, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if not (isinstance(shape, tuple) and len(shape) == 4 and shape[-1] in (1, 3)):
        raise ValueError(f"{path} does not take photos of shape (n, height, width, 3 or 1); its input is {shape}")
    if not (isinstance(outputs, tuple) and len(outputs) == 2 and outputs[-1]):
        raise ValueError(f"{path} is not a classifier with one output of shape (n, classes); its output is {outputs}")


def _read_labels(path: Path | None, count: int) -> tuple[str, ...]:
    if path is None:
        return _numbered(count)
    text = path.read_text(encoding="utf-8-sig")
    try:
        labels = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
    except ValueError as error:
        raise ValueError(f"{path} is neither a JSON list nor one name a line: {error}") from error
    labels = [str(label).replace("_", " ").strip() for label in labels if str(label).strip()]
    if len(labels) != count:
        raise ValueError(f"{path} has {len(labels)} names, but the model has {count} classes")
    return tuple(labels)


def _names_of(count: int) -> tuple[str, ...]:
    """The names of one of labutils's class lists; numbers where ImageNet's cannot be had."""
    from labutils.weights import WeightsError

    try:
        return tuple(name.replace("_", " ") for _, name in pretrained.classes_of(count))
    except (WeightsError, ValueError):
        return _numbered(count)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(count))


def _weights_title(weights: str | Path, model: keras.Model) -> str:
    if weights == "auto":
        weights = "imagenet" if model.output_shape[-1] == 1000 else "bundled"
    titles = {"bundled": "bundled weights", "imagenet": "ImageNet weights"}
    return titles.get(str(weights), f"weights from {Path(weights).name}")


def _plain(label: str) -> str:
    return label.replace("_", " ").strip().casefold()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
