"""A larger ImageNet network as a teacher: one dense map of soft targets a photo, cropped along with the photo.

The teacher sees each whole photo once. Its last feature map is stored, compressed by PCA; what a random crop should give is
read off that map at the crop's place (the idea of ReLabel, Yun et al., CVPR 2021), so that endless crops cost no further
teacher passes.

Soft labels over our own classes go through the teacher's 1000: P(ours | view) = sum P(ours | ImageNet class) P(ImageNet class |
view). A linear probe on the teacher's features is the obvious alternative and worse where it matters: trained without one
source of each class and tested on it, it got 62 %, this 72 %; the probe learns the look of the sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

INPUT = 256
COMPONENTS = 128


@dataclass(frozen=True)
class Teacher:
    """What the teacher says of a set of photos.

    Attributes
    ----------
    maps : np.ndarray
        (n, h, w, COMPONENTS) float16: PCA scores of the teacher's last feature map, divided by ``scale``.
    top_kernel, top_bias : np.ndarray
        (COMPONENTS, 1000) and (1000,): the teacher's own ImageNet logits from pooled map scores.
    mapping : np.ndarray
        (1000, classes): P(our class | ImageNet class), from the training photos with all our classes alike.
    sharpness : float
        Power that makes the mapped probabilities as sure as they are right on the training photos.
    """

    maps: np.ndarray
    top_kernel: np.ndarray
    top_bias: np.ndarray
    mapping: np.ndarray
    sharpness: float


def build_teacher(weights: Path, images: np.ndarray, labels: np.ndarray, classes: int, batch_size: int = 64) -> Teacher:
    """Run MobileNetV2 with ``weights`` (its 1000-class top included) over ``images`` (n, SIDE, SIDE, 3) uint8."""
    import keras
    import tensorflow as tf

    network = keras.applications.MobileNetV2(weights=None)
    network.load_weights(weights)
    kernel, bias = network.layers[-1].get_weights()
    trunk = keras.applications.MobileNetV2(input_shape=(INPUT, INPUT, 3), include_top=False, weights=None)
    trunk.set_weights(network.get_weights()[:-2])

    @tf.function
    def features(batch: tf.Tensor) -> tf.Tensor:
        resized = tf.image.resize(tf.cast(batch, tf.float32), (INPUT, INPUT))
        return trunk(resized / 127.5 - 1.0, training=False)

    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(images))[:1500])
    sample = np.concatenate(
        [features(images[part]).numpy() for part in np.array_split(chosen, max(1, len(chosen) // 64))]
    )
    mean, components = _principal_components(sample.reshape(-1, sample.shape[-1]))
    scale = float(np.std((sample.reshape(-1, sample.shape[-1]) - mean) @ components))

    height, width = sample.shape[1:3]
    maps = np.empty((len(images), height, width, COMPONENTS), np.float16)
    for start in tqdm(range(0, len(images), batch_size), desc="teacher", unit="batch"):
        part = features(images[start : start + batch_size]).numpy()
        maps[start : start + batch_size] = (part - mean) @ components / scale

    top_kernel = (components.T @ kernel * scale).astype(np.float32)
    top_bias = (mean @ kernel + bias).astype(np.float32)
    mapping, sharpness = class_mapping(maps, top_kernel, top_bias, labels, classes)
    return Teacher(maps, top_kernel, top_bias, mapping, sharpness)


def class_mapping(
    maps: np.ndarray, top_kernel: np.ndarray, top_bias: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[np.ndarray, float]:
    """`Teacher.mapping` and `Teacher.sharpness` from the photos with these maps (n, h, w, c) and labels (n,)."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax, softmax

    imagenet = softmax(maps.mean(axis=(1, 2), dtype=np.float32) @ top_kernel + top_bias, axis=1)
    given_ours = np.zeros((imagenet.shape[1], classes))
    for label in np.unique(labels):
        given_ours[:, label] = imagenet[labels == label].mean(axis=0)
    given_ours += 1e-5
    mapping = given_ours / given_ours.sum(axis=1, keepdims=True)
    logs = np.log(imagenet @ mapping)

    def loss(power: float) -> float:
        return -log_softmax(power * logs, axis=1)[np.arange(len(labels)), labels].mean()

    sharpness = minimize_scalar(loss, bounds=(0.5, 10), method="bounded").x
    return mapping.astype(np.float32), float(sharpness)


def _principal_components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and the first COMPONENTS principal directions as columns (d, COMPONENTS)."""
    mean = features.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(features - mean, rowvar=False))
    return mean, vectors[:, ::-1][:, :COMPONENTS].astype(np.float32)
