"""What everything is measured on: a model, photos, a class and a layer, the same for every library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

PHOTO = "cat"
SEED = 0


@dataclass
class Scene:
    """A model with photos for it.

    Attributes
    ----------
    title : str
        What a table calls it.
    model : keras.Model
        Ends in a softmax, as users' models do.
    images : ndarray
        (n, H, W, 3) float32, preprocessed.
    layer : str or None
        Where CAMs read the feature maps; None where they are not measured.
    """

    title: str
    model: keras.Model
    images: np.ndarray
    layer: str | None

    @cached_property
    def label(self) -> int:
        """The class that everything explains: the first photo's top class, given to every library as a number."""
        return int(np.argmax(self.forward(self.images[:1])[0]))

    @cached_property
    def forward(self) -> Callable[[np.ndarray], Any]:
        """The yardstick: the whole model compiled with `tf.function`."""
        import tensorflow as tf

        model = self.model
        return tf.function(lambda images: model(images, training=False), reduce_retracing=True)


def keras_vgg16(*, size: int = 224, classes: int = 1000, batch: int = 1) -> Scene:
    """Keras's VGG16 with random weights (a fixed seed): every library can run it, and no weights are needed."""
    import keras

    keras.utils.set_random_seed(SEED)
    model = keras.applications.VGG16(weights=None, classes=classes, input_shape=(size, size, 3))
    return Scene(f"VGG16, {size} x {size}, {classes} classes", model, photos(size, batch), "block5_conv3")


def convolutional_vgg16(*, size: int, classes: int = 100, batch: int = 1) -> Scene:
    """VGG16's convolutions with global average pooling and one dense layer: the head costs the same at every size."""
    import keras

    keras.utils.set_random_seed(SEED)
    body = keras.applications.VGG16(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3))
    outputs = keras.layers.Dense(classes, activation="softmax", name="predictions")(body.output)
    model = keras.Model(body.input, outputs)
    return Scene(f"VGG16 convolutions, {size} x {size}", model, photos(size, batch), "block5_conv3")


def vit_b16(*, depth: int = 12) -> Scene:
    """A ViT-B/16 with random weights (a fixed seed), or one of fewer blocks."""
    import keras

    from labutils.vit import Architecture, build_network, preprocess_input

    keras.utils.set_random_seed(SEED)
    model = build_network(Architecture(patch=16, depth=depth))
    images = preprocess_input(rgb(224, 1).astype(np.float32))
    return Scene(f"ViT-B/16, {depth} blocks, 224 x 224, 1000 classes", model, images, None)


@cache
def scene_of(network: str, quick: bool = False) -> Scene:
    """What the methods of `methods.METHODS` that name this network are measured on: one scene for all of them."""
    return vit_b16(depth=2 if quick else 12) if network == "vit" else keras_vgg16()


def bundled() -> Scene:
    """The network that the course comes with."""
    from labutils import vgg16

    model = vgg16.VGG16(weights="bundled")
    return Scene("the bundled network", model, photos(model.input_shape[1], 1), "block5_conv3")


def one_convolution(channels: int = 64) -> Scene:
    """A network so small that its own memory does not hide what a method keeps."""
    import keras

    keras.utils.set_random_seed(SEED)
    image = keras.Input((224, 224, 3))
    maps = keras.layers.Conv2D(channels, 3, strides=16, padding="same", activation="relu", name="maps")(image)
    outputs = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(maps))
    return Scene(f"one convolution, {channels} channels", keras.Model(image, outputs), photos(224, 1), "maps")


def photos(size: int, count: int) -> np.ndarray:
    """The sample photo and its copies (`rgb`), as VGG16 takes them: (count, size, size, 3) float32."""
    from labutils import vgg16

    return np.asarray(vgg16.preprocess_input(rgb(size, count).astype(np.float32)), np.float32)


def rgb(size: int, count: int) -> np.ndarray:
    """The sample photo and its mirrored and shifted copies: (count, size, size, 3) uint8."""
    from labutils import photos as library

    photo = library.sample(PHOTO, (size, size))
    copies = [np.roll(photo[:, :: 1 if index % 2 == 0 else -1], 7 * index, axis=1) for index in range(count)]
    return np.stack(copies)
