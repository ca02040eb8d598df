"""No library: what one would write first, with `model.predict`, and what a method cannot do without."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.libraries import NO_MAP, Rival
from benchmarks.methods import Options
from benchmarks.scene import Scene


def occlusion(scene: Scene, options: Options) -> Callable[[], np.ndarray]:
    """One `predict` a position. Patches must tile the image: then every pixel is covered once."""
    model = logits_model(scene)
    image, patch = scene.images[0], options["patch"]

    def run() -> np.ndarray:
        (score,) = model.predict(image[np.newaxis], verbose=0)[:, scene.label]
        drops = np.zeros(image.shape[:2], np.float32)
        for top in range(0, image.shape[0], patch):
            for left in range(0, image.shape[1], patch):
                here = np.s_[top : top + patch, left : left + patch]
                covered = image.copy()
                covered[here] = 0.0
                drops[here] = score - model.predict(covered[np.newaxis], verbose=0)[0, scene.label]
        return drops

    return run


def masks(method: str) -> Callable[[Scene, Options], Callable[[], None]]:
    """The forward passes of a method's masks, the image itself first, 32 at a time, and nothing else."""

    def prepare(scene: Scene, options: Options) -> Callable[[], None]:
        import tensorflow as tf

        count = options["max_channels" if method == "score_cam" else "masks"]
        masked = tf.constant(np.repeat(scene.images[:1], min(count, 32), axis=0))

        def run() -> None:
            scene.forward(masked[:1])
            for start in range(0, count, 32):
                scene.forward(masked[: min(32, count - start)])

        return run

    return prepare


def logits_model(scene: Scene):
    """The scene's model without its last softmax: its last layer built again, linear, with the same weights."""
    import keras

    last = scene.model.layers[-1]
    linear = keras.layers.Dense(last.units, name="logits")
    logits = keras.Model(scene.model.inputs, linear(last.input))
    linear.set_weights(last.get_weights())
    return logits


PASSES = "the masks' forward passes"
LOOP = "model.predict a position"
RIVALS = (
    Rival("score_cam", PASSES, masks("score_cam"), "no map", NO_MAP),
    Rival("rise", PASSES, masks("rise"), "no map", NO_MAP),
    Rival("occlusion", LOOP, occlusion),
)
