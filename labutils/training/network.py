"""The trainable twin of `labutils.vgg16.VGG16`: batch norm after each layer and global pooling in place of ``flatten``.

`labutils.training.export` turns it into the shipped network exactly: batch norm folds into the weights before it, and global
average pooling followed by ``fc1`` is a ``fc1`` on the flattened map whose weights are the same at every position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

BLOCKS = (2, 2, 3, 3, 3)
"""Convolutions in each of VGG16's five blocks."""

EPSILON = 1e-3


def conv_names() -> list[str]:
    """Names of the 13 convolutions, in order."""
    return [f"block{b}_conv{i}" for b, count in enumerate(BLOCKS, 1) for i in range(1, count + 1)]


def fused_batch_norm_layer() -> type[keras.layers.Layer]:
    """A batch norm on (n, h, w, c) through TensorFlow's fused kernel.

    Keras 3 composes its batch norm of elementary operations; on a CPU that makes a whole training step of VGG16 2.5
    times slower than this kernel does (measured at 112 x 112, batch 64, bfloat16).
    """
    import keras
    import tensorflow as tf

    class FusedBatchNorm(keras.layers.Layer):
        momentum = 0.98

        def build(self, shape):
            options = {"shape": (shape[-1],), "dtype": "float32", "autocast": False}
            self.gamma = self.add_weight(name="gamma", initializer="ones", **options)
            self.beta = self.add_weight(name="beta", initializer="zeros", **options)
            self.mean = self.add_weight(name="mean", initializer="zeros", trainable=False, **options)
            self.variance = self.add_weight(name="variance", initializer="ones", trainable=False, **options)

        def call(self, x, training=False):
            fused = tf.compat.v1.nn.fused_batch_norm
            scale, offset = self.gamma.value, self.beta.value
            if not training:
                return fused(
                    x, scale, offset, self.mean.value, self.variance.value, epsilon=EPSILON, is_training=False
                )[0]
            y, mean, variance = fused(x, scale, offset, epsilon=EPSILON, is_training=True)
            self.mean.assign(self.mean * self.momentum + mean * (1 - self.momentum))
            self.variance.assign(self.variance * self.momentum + variance * (1 - self.momentum))
            return y

        def compute_output_shape(self, shape):
            return shape

    return FusedBatchNorm


def training_network(
    channels: list[int], dense: list[int], classes: int, teacher_components: int, dropout: float = 0.2
) -> keras.Model:
    """Inputs (n, h, w, 3) as VGG16 takes them -> logits (n, classes) and, with a teacher, its predicted map (n, h/16, w/16, c)."""
    import keras
    from keras import layers

    batch_norm = fused_batch_norm_layer()
    x = inputs = layers.Input((None, None, 3))
    for block, (count, width) in enumerate(zip(BLOCKS, channels, strict=True), 1):
        for i in range(1, count + 1):
            name = f"block{block}_conv{i}"
            x = layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(x)
            x = batch_norm(name=f"{name}_norm")(x)
            x = layers.Activation("relu")(x)
        last_map = x
        x = layers.MaxPool2D(2, name=f"block{block}_pool")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    for name, units in zip(("fc1", "fc2"), dense, strict=True):
        x = layers.Dropout(dropout)(x)
        # 1 x 1 convolutions, so that the same batch norm serves here.
        x = layers.Conv2D(units, 1, use_bias=False, kernel_initializer="he_normal", name=name)(x)
        x = batch_norm(name=f"{name}_norm")(x)
        x = layers.Activation("relu")(x)
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    outputs = {"logits": layers.Dense(classes, dtype="float32", name="predictions")(x)}
    if teacher_components:
        outputs["map"] = layers.Conv2D(teacher_components, 1, dtype="float32", name="teacher_map")(last_map)
    return keras.Model(inputs, outputs)
