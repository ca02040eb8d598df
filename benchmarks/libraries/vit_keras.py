"""vit-keras: Vision Transformers of its own, and attention rollout for these. It gives the photo times the map."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np

from benchmarks.libraries import Rival
from benchmarks.methods import Options
from benchmarks.scene import Scene

if TYPE_CHECKING:
    import keras

_LARGEST_ERROR = 1e-3  # of a logit, over the largest


def rollout(scene: Scene, options: Options) -> Callable[[], np.ndarray]:
    from vit_keras import visualize

    model, photo = twin(scene.model, scene.images), _photo(scene)
    return lambda: visualize.attention_map(model, photo)


def rollout_alone(scene: Scene, options: Options) -> Callable[[], np.ndarray]:
    """The map that it multiplies the photo with, caught where it is resized, and undone what scales it."""
    from vit_keras import visualize

    from labutils import explain

    run = rollout(scene, options)
    # It divides by the largest value; a rank does not see that, but a difference does.
    largest = explain.attention_rollout(scene.model, scene.images[:1], upsample=False).max()
    resized: list[np.ndarray] = []

    def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        resized.append(cv2.resize(image, size))
        return resized[-1]

    def caught() -> np.ndarray:
        with mock.patch.object(visualize, "cv2", SimpleNamespace(resize=resize)):
            run()
        return resized[-1] * largest

    cv2 = visualize.cv2
    return caught


def _photo(scene: Scene) -> np.ndarray:
    """RGB from 0 to 255, which it preprocesses itself."""
    return (scene.images[0] + 1) * 127.5


def twin(model: keras.Model, images: np.ndarray) -> keras.Model:
    """vit-keras's model of the same weights as one of `labutils.vit`; its logits are held to be the same.

    Raises
    ------
    ValueError
        Where they are not.
    """
    import keras
    from vit_keras import vit

    layer = model.get_layer
    blocks = [found for found in model.layers if isinstance(found, keras.layers.MultiHeadAttention)]
    other = vit.build_model(
        image_size=model.input_shape[1],
        patch_size=layer("patch_embedding").kernel_size[0],
        num_layers=len(blocks),
        hidden_size=layer("patch_embedding").filters,
        num_heads=blocks[0].num_heads,
        name="twin",
        mlp_dim=layer("block1_dense1").units,
        classes=layer("predictions").units,
    )
    same = {
        "embedding": "patch_embedding",
        "class_token": "class_token",
        "Transformer_posembed_input": "position_embedding",
        "Transformer_encoder_norm": "norm",
        "head": "predictions",
    }
    for theirs, ours in same.items():
        other.get_layer(theirs).set_weights(layer(ours).get_weights())
    for number in range(len(blocks)):
        block, name = other.get_layer(f"Transformer_encoderblock_{number}"), f"block{number + 1}"
        block.layernorm1.set_weights(layer(f"{name}_norm1").get_weights())
        block.layernorm2.set_weights(layer(f"{name}_norm2").get_weights())
        arrays = layer(f"{name}_attention").get_weights()
        attention = block.att
        dense = (attention.query_dense, attention.key_dense, attention.value_dense, attention.combine_heads)
        for index, projection in enumerate(dense):
            kernel, bias = arrays[2 * index : 2 * index + 2]
            projection.set_weights([kernel.reshape(projection.kernel.shape), bias.reshape(-1)])
        block.mlpblock.set_weights(layer(f"{name}_dense1").get_weights() + layer(f"{name}_dense2").get_weights())
    _compare(model, other, images[:1])
    return other


def _compare(model: keras.Model, other: keras.Model, images: np.ndarray) -> None:
    from labutils.explain.surgery import open_model

    expected, found = open_model(model).logits(images), other.predict(images, verbose=0)
    error = np.abs(expected - found).max() / np.abs(expected).max()
    if error > _LARGEST_ERROR:
        raise ValueError(f"vit-keras's twin of '{model.name}' has other logits: {error:.1e} of the largest")


CALLS = "visualize.attention_map"
RIVALS = (Rival("attention_rollout", CALLS, rollout, "the photo times the map, as uint8, not the map", rollout_alone),)
