"""The two layers of a Vision Transformer that Keras does not have: the class token and the learned positions."""

from __future__ import annotations

import keras


@keras.saving.register_keras_serializable(package="labutils")
class ClassToken(keras.layers.Layer):
    """Put one learned token before the patches: (n, patches, width) -> (n, 1 + patches, width)."""

    def build(self, shape: tuple) -> None:
        self.token = self.add_weight(name="token", shape=(1, 1, shape[-1]), initializer="zeros")
        self.built = True

    def call(self, patches):
        count, _, width = keras.ops.shape(patches)
        token = keras.ops.broadcast_to(keras.ops.cast(self.token, patches.dtype), (count, 1, width))
        return keras.ops.concatenate([token, patches], axis=1)

    def compute_output_shape(self, shape: tuple) -> tuple:
        count, patches, width = shape
        return count, None if patches is None else patches + 1, width


@keras.saving.register_keras_serializable(package="labutils")
class PositionEmbedding(keras.layers.Layer):
    """Add one learned vector to each token: (n, tokens, width) -> the same shape."""

    def build(self, shape: tuple) -> None:
        initializer = keras.initializers.RandomNormal(stddev=0.02)
        self.positions = self.add_weight(name="positions", shape=(1, *shape[1:]), initializer=initializer)
        self.built = True

    def call(self, tokens):
        return tokens + keras.ops.cast(self.positions, tokens.dtype)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return shape
