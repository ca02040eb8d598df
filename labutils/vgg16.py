"""VGG16 with weights that fit a laptop: a drop-in for ``keras.applications.vgg16``.

Same layers and names, same 224 x 224 x 3 input, same preprocessing, same format of decoded predictions. The bundled
network has fewer channels and classes than Keras's, and needs no download.

Source: K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labutils import pretrained

if TYPE_CHECKING:
    import keras
    import numpy as np

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Convolutions in each of the five blocks."""


@dataclass(frozen=True)
class Architecture:
    """What may differ from one VGG16 to another.

    Attributes
    ----------
    channels : tuple of int
        Channels of each block.
    dense : tuple of int
        Units of ``fc1`` and ``fc2``.
    outputs : int
        Units of ``predictions``.
    classes : tuple of (str, str)
        Class ids and names, in the order of the outputs; empty where they are not known.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    dense: tuple[int, ...] = (4096, 4096)
    outputs: int = 1000
    classes: tuple[tuple[str, str], ...] = ()


KERAS_ARCHITECTURE = Architecture()


def VGG16(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = "auto",
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "vgg16",
) -> keras.Model:
    """Build VGG16.

    Parameters
    ----------
    include_top : bool
        Whether to include ``flatten``, ``fc1``, ``fc2`` and ``predictions``.
    weights : str, path or None
        - ``"auto"``: ImageNet when its file is already on this machine, else bundled; prints which it took.
          ``LABUTILS_WEIGHTS=bundled`` or ``=imagenet`` decides instead.
        - ``"bundled"``: the small network that comes with labutils.
        - ``"imagenet"``: Keras's weights, from Keras's cache or downloaded into it (528 MB).
        - a path: ``.weights.h5`` or ``.h5`` weights of a VGG16, with the widths and classes of the ``.json`` beside it
          (``<stem>.json``) or, without one, Keras's widths; or a whole VGG16 saved as ``.keras``.
        - ``None``: Keras's widths, random.
    input_tensor, input_shape, pooling
        As in ``keras.applications.VGG16``: with ``include_top=False`` any shape of at least 32 x 32 pixels, and
        ``pooling`` of None, ``"avg"`` or ``"max"``.
    classes : int, optional
        Number of outputs. Weights bring their own number; it is free only with ``weights=None`` (1000 by default).
    classifier_activation : str, callable or None
        Activation of ``predictions``; None gives logits.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Not compiled. Takes ``(n, 224, 224, 3)`` as `preprocess_input` gives it, returns ``(n, classes)``.

    Raises
    ------
    ValueError
        When an argument is none of its choices, or the file does not hold a VGG16 of the expected widths.
    labutils.weights.WeightsError
        When the weights are missing, damaged or cannot be downloaded.
    """
    if not isinstance(include_top, bool):
        raise ValueError(f"include_top must be True or False, not {include_top!r}; weights are named: weights=...")
    imagenet = "vgg16-imagenet" if include_top else "vgg16-imagenet-notop"
    source = pretrained.resolve(weights, imagenet)
    path = pretrained.weights_path(source, "vgg16", imagenet)
    saved = pretrained.open_saved(path) if path is not None and path.suffix == ".keras" else None
    architecture = _architecture_of(saved, path) if saved is not None else _architecture_beside(path)
    if include_top:
        fixed = source in ("bundled", "imagenet") or bool(architecture.classes)
        classes = pretrained.check_classes(classes, architecture.outputs, fixed=fixed)
        pretrained.check_activation(classifier_activation, pretrained=path is not None)
    input_shape = _check_input_shape(input_shape, include_top, trained=path is not None)
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"pooling must be None, 'avg' or 'max', not {pooling!r}")

    model = _build(architecture, include_top, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    if saved is not None:
        _copy_weights(saved, model)
    elif path is not None:
        _load_weights(model, path)
    pretrained.remember_classes(architecture.classes)
    if weights == "auto":
        print(pretrained.auto_message("VGG16", source, architecture.classes, pretrained.megabytes(imagenet)))
    return model


def preprocess_input(x: np.ndarray | Any, data_format: str | None = None) -> np.ndarray | Any:
    """Turn RGB values of 0 to 255 into what VGG16 takes: BGR, minus ImageNet's mean colour.

    This is ``keras.applications.vgg16.preprocess_input`` itself: **a NumPy array of floats is changed in place**, an
    array of integers is copied first.

    Parameters
    ----------
    x : array or tensor, (n, H, W, 3) or (H, W, 3)
        RGB values, 0 to 255.
    data_format : str, optional
        ``"channels_last"`` (as above) or ``"channels_first"``; None takes Keras's setting.

    Returns
    -------
    array or tensor
        Of the same shape, float, about -124 to 152; 0 is the mean colour, not black.
    """
    from keras.applications import vgg16

    return vgg16.preprocess_input(x, data_format=data_format)


def decode_predictions(preds: np.ndarray | Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The most probable classes of each photo, in Keras's format.

    Parameters
    ----------
    preds : array or tensor, (n, classes)
        What ``model.predict`` gave. The number of columns tells which network it was: the one that `VGG16` built last
        with that many classes, the bundled one, or ImageNet's 1000.
    top : int
        How many classes a photo.

    Returns
    -------
    list of list of (class_id, name, probability)
        One list a photo, most probable first.

    Raises
    ------
    ValueError
        When `preds` is not two-dimensional, or no class list has as many names as it has columns.
    labutils.weights.WeightsError
        When ImageNet's class names are neither on this machine nor to be had.
    """
    return pretrained.decode(preds, top)


def class_names(model_or_count: keras.Model | int) -> list[str]:
    """The names of the classes, in the order of the outputs.

    Parameters
    ----------
    model_or_count : keras.Model or int
        A network that `VGG16` built, or its number of classes.

    Raises
    ------
    ValueError
        When no class list has that many names.
    """
    count = model_or_count if isinstance(model_or_count, int) else model_or_count.output_shape[-1]
    return [name for _, name in pretrained.classes_of(count)]


def _architecture_beside(path: Path | None) -> Architecture:
    """The architecture that the sidecar of a weights file gives; without a sidecar, Keras's."""
    sidecar = pretrained.sidecar_of(path)
    if sidecar is None:
        return KERAS_ARCHITECTURE
    try:
        record = json.loads(sidecar.read_text(encoding="utf-8"))
        if record["network"] != "vgg16":
            raise ValueError(f"the network is {record['network']!r}, not 'vgg16'")
        classes = tuple((class_id, class_name) for class_id, class_name in record["classes"])
        return Architecture(tuple(record["channels"]), tuple(record["dense"]), len(classes), classes)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{sidecar} does not describe a VGG16 (network, channels, dense, classes): {error}") from error


def _architecture_of(saved: keras.Model, path: Path) -> Architecture:
    by_name = {layer.name: layer for layer in saved.layers}
    missing = [name for name in [*_convolution_names(), "fc1", "fc2", "predictions"] if name not in by_name]
    if missing:
        raise ValueError(
            f"{path} holds a Keras model that is not a VGG16 (no layer {missing[0]!r}); load it with "
            "keras.models.load_model: labutils.explain takes any Keras image classifier"
        )
    described = _architecture_beside(path.with_suffix(".h5"))
    channels = tuple(by_name[f"block{block}_conv1"].filters for block in range(1, 6))
    dense = tuple(by_name[layer].units for layer in ("fc1", "fc2"))
    outputs = by_name["predictions"].units
    if described.classes and len(described.classes) != outputs:
        raise ValueError(
            f"{path} has {outputs} outputs, but the .json beside it lists {len(described.classes)} classes"
        )
    return Architecture(channels, dense, outputs, described.classes)


def _convolution_names() -> list[str]:
    return [f"block{block}_conv{index}" for block, count in enumerate(CONVOLUTIONS, 1) for index in range(1, count + 1)]


def _check_input_shape(input_shape: Sequence | None, include_top: bool, trained: bool) -> tuple:
    if input_shape is None:
        return (224, 224, 3) if include_top else (None, None, 3)
    shape = pretrained.check_sides(input_shape)
    if trained and include_top and shape != (224, 224, 3):
        raise ValueError(f"with include_top=True these weights take input_shape (224, 224, 3), not {shape}")
    if trained and shape[2] != 3:
        raise ValueError(f"these weights take 3 colour channels, not input_shape={shape}")
    if include_top and None in shape:
        raise ValueError(f"with include_top=True every side of input_shape must be given, not {shape}")
    if any(side is not None and side < 32 for side in shape[:2]):
        raise ValueError(f"input_shape must be at least 32 x 32 pixels, not {shape}")
    return shape


def build_network(channels: Sequence[int], dense: Sequence[int], classes: int) -> keras.Model:
    """An untrained VGG16 of other widths, as `labutils.training` ships it.

    Parameters
    ----------
    channels : sequence of int
        Channels of each of the five blocks.
    dense : sequence of int
        Units of ``fc1`` and ``fc2``.
    classes : int
        Units of ``predictions``.
    """
    architecture = Architecture(channels=tuple(channels), dense=tuple(dense), outputs=classes)
    return _build(architecture, True, None, (224, 224, 3), None, classes, "softmax", "vgg16")


def _build(
    architecture: Architecture,
    include_top: bool,
    input_tensor: keras.KerasTensor | None,
    input_shape: tuple,
    pooling: str | None,
    classes: int | None,
    classifier_activation: str | Callable | None,
    name: str,
) -> keras.Model:
    import keras
    from keras import layers

    inputs = layers.Input(shape=input_shape) if input_tensor is None else input_tensor
    x = inputs
    for block, (count, channels) in enumerate(zip(CONVOLUTIONS, architecture.channels, strict=True), 1):
        for index in range(1, count + 1):
            convolution = layers.Conv2D(
                channels, 3, activation="relu", padding="same", name=f"block{block}_conv{index}"
            )
            x = convolution(x)
        x = layers.MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(architecture.dense[0], activation="relu", name="fc1")(x)
        x = layers.Dense(architecture.dense[1], activation="relu", name="fc2")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    elif pooling == "avg":
        x = layers.GlobalAveragePooling2D()(x)
    elif pooling == "max":
        x = layers.GlobalMaxPooling2D()(x)
    # A tensor from the middle of another graph: the model starts where that graph does.
    sources = inputs if input_tensor is None else keras.utils.get_source_inputs(input_tensor)
    return keras.Model(sources, x, name=name)


def _load_weights(model: keras.Model, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of each part that does not fit, before Keras raises: once is enough.
            model.load_weights(path)
    except Exception as error:  # Keras raises many kinds, some of them long; what matters is which file it was.
        widths = [layer.filters for layer in model.layers if hasattr(layer, "filters")]
        raise ValueError(
            f"{path} does not hold the weights of a VGG16 with {widths[0]} to {widths[-1]} channels and "
            f"{model.output_shape[-1]} outputs. Other widths need a .json of the same stem beside the file, which gives "
            "its network, channels, dense and classes, as in data/models."
        ) from error


def _copy_weights(saved: keras.Model, model: keras.Model) -> None:
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(saved.get_layer(layer.name).get_weights())
