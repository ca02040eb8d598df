"""The network that a report explains: a model, how its photos are prepared, and what its outputs are called."""

from __future__ import annotations

import difflib
import importlib
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from labutils import pretrained
from labutils.explain.surgery import open_model

if TYPE_CHECKING:
    import keras

DEFAULT_SIDE = 224
"""Height and width of photos, in pixels, for models that take any."""


def at_once(count: int, size: tuple[int, int]) -> int:
    """How many photos of this size take the memory of `count` photos of the default size; `count` of smaller ones."""
    return min(count, max(1, count * DEFAULT_SIDE**2 // (size[0] * size[1])))


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
    otherwise : str
        Of a network with a single output, what it stands for near 0; empty where nobody said.
    """

    title: str
    model: keras.Model
    preparation: str
    labels: tuple[str, ...]
    otherwise: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its photos, in pixels."""
        height, width = self.model.inputs[0].shape[1:3]
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
        if self.model.inputs[0].shape[-1] == 1:
            photos = np.rint(photos @ np.array([0.299, 0.587, 0.114]))[..., np.newaxis]
        prepare = preprocessing(self.preparation)
        try:
            prepared = np.asarray(prepare(photos.astype("float32")), dtype="float32")
        except Exception as error:  # It may be someone's own function: anything may come out of it.
            raise ValueError(f"--preprocess {self.preparation} failed: {first_line(error)}") from error
        if prepared.shape != photos.shape:
            raise ValueError(f"--preprocess {self.preparation} turned shape {photos.shape} into {prepared.shape}")
        return prepared

    def probabilities(self, prepared: np.ndarray) -> np.ndarray:
        """The model's answer as probabilities, (n, classes); of a model that gives logits, their softmax or sigmoid.

        Raises
        ------
        ArithmeticError
            When the answer is no number.
        """
        found = open_model(self.model).probabilities(prepared)
        if not np.isfinite(found).all():
            raise ArithmeticError(f"{self.title} answers with NaN or infinite values")
        return found.astype("float64")

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


def saved_network(
    path: Path,
    preparation: str | None = None,
    labels: Path | None = None,
    *,
    head: str | None = None,
    custom: str | None = None,
) -> Network:
    """Any image classifier saved by Keras.

    Parameters
    ----------
    path : Path
        A ``.keras`` (or whole-model ``.h5``) file.
    preparation : str, optional
        As `preprocessing` takes it; None hands over pixel values of 0 to 255.
    labels : Path, optional
        The names of the outputs: a JSON list, or text with one name a line. A single output may have two names: that of
        values near 0, then that of values near 1.
    head : str, optional
        Of a model with several outputs, the one to explain: the name of its layer.
    custom : str, optional
        The Python module with the user's own layers and functions that the model is made of.

    Raises
    ------
    ValueError
        When the file is not such a model, or the labels do not fit it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    with _own_classes(custom):
        model = _one_output(_opened(path), path, head)
    _require_image_classifier(model, path)
    preparation = preparation or "none"
    preprocessing(preparation)
    outputs = model.outputs[0].shape[-1]
    if labels:
        names = _read_labels(labels, outputs)
    elif outputs == 1:
        names = ("negative", "positive")
    else:
        names = _names_of(outputs) if outputs == 1000 else _numbered(outputs)
    *others, last = names
    if outputs == 1:
        return Network(path.name, model, preparation, (last,), "".join(others))
    return Network(path.name, model, preparation, names)


def _own_classes(module: str | None) -> AbstractContextManager:
    """Keras finds what a module defines, registered or not, inside this context."""
    if module is None:
        return nullcontext()
    import keras

    own = _module(".".join(Path(module.removesuffix(".py")).parts), "--custom")  # also layers/own.py
    return keras.saving.custom_object_scope({name: value for name, value in vars(own).items() if callable(value)})


def _opened(path: Path) -> keras.Model:
    """The saved model; an error that says how to mend it where that is known."""
    try:
        return pretrained.open_saved(path)
    except ValueError as error:
        text = str(error)
        if "Could not locate" in text:
            own = text.partition("Could not locate")[2].partition("'")[2].partition("'")[0]
            raise ValueError(
                f"{path} is made of {own}, which Keras does not know; name the Python module that defines it: "
                "--custom MODULE"
            ) from error
        if "Lambda" in text and "safe_mode" in text:
            raise ValueError(
                f"{path} has a Lambda layer, whose code would be run from the file; if you trust it, put the line "
                "keras.config.enable_unsafe_deserialization() into a Python file own.py, and add --custom own.py"
            ) from error
        raise


def _one_output(model: keras.Model, path: Path, wanted: str | None) -> keras.Model:
    """The model as it is, or cut down to the wanted one of its outputs."""
    import keras

    names = getattr(model, "output_names", None) or []
    if wanted is None:
        if len(names) > 1:
            raise ValueError(f"{path} has {len(names)} outputs; choose one: --head {' or --head '.join(names)}")
        return model
    if wanted not in names:
        raise ValueError(f"{path} has no output {wanted!r}; it has: {', '.join(names)}")
    return keras.Model(model.inputs, model.outputs[names.index(wanted)], name=model.name)


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
    found = getattr(_module(module, "--preprocess"), function, None)
    if found is None:
        raise ValueError(f"cannot import the preprocessing {name}: {module} has no attribute {function!r}")
    if not callable(found):
        raise ValueError(f"the preprocessing {name} is not a function")
    return found


def _module(name: str, option: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")  # A console script does not look in the current folder by itself.
    try:
        return importlib.import_module(name)
    except Exception as error:  # Importing runs someone's code: anything may come out of it.
        raise ValueError(f"{option} cannot import {name}: {first_line(error)}") from error


def _require_image_classifier(model: keras.Model, path: Path) -> None:
    try:
        open_model(model)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be explained: {first_line(error).removeprefix('model: ')}") from error
    shape = tuple(model.inputs[0].shape)
    if len(shape) == 4 and shape[1] in (1, 3) and shape[-1] not in (1, 3):
        raise ValueError(f"{path} takes photos with their colours first, {shape}; colours last are needed")
    if not (len(shape) == 4 and shape[-1] in (1, 3)):
        raise ValueError(f"{path} does not take photos of shape (n, height, width, 3 or 1); its input is {shape}")


def _read_labels(path: Path, count: int) -> tuple[str, ...]:
    text = path.read_text(encoding="utf-8-sig")
    try:
        labels = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
    except ValueError as error:
        raise ValueError(f"{path} is neither a JSON list nor one name a line: {error}") from error
    labels = [str(label).replace("_", " ").strip() for label in labels if str(label).strip()]
    if len(labels) != count and (len(labels), count) != (2, 1):
        raise ValueError(f"{path} has {len(labels)} names, but the model has {count} class{'es' * (count != 1)}")
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


def first_line(error: Exception) -> str:
    """What an error says, in a line; its kind where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
