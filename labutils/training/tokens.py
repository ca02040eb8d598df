"""Augmented views of all photos, carried through a frozen stem once and kept: what the ViT trains on.

The stem is most of the work of a forward pass and does not change, so its output is computed once a view. What the kept
views lack in variety, mixing and dropping of tokens gives back in every epoch (`labutils.training.transformer`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from labutils.training.augment import augment
from labutils.training.dataset import PhotoSet, backdrop_masks, gather, sampling_weights

if TYPE_CHECKING:
    import keras

    from labutils.training.teacher import Teacher

TEACHER_GRID = 7
"""Teacher maps are kept on this grid: their own has 8 cells a side over the whole photo, and views are crops of it."""


@dataclass(frozen=True)
class Tokens:
    """Views of photos as the stem gives them.

    Attributes
    ----------
    features : np.ndarray
        (n, rows, columns, channels) float16: the stem's output.
    maps : np.ndarray
        (n, TEACHER_GRID, TEACHER_GRID, components) float16: the teacher's map of the same view.
    labels : np.ndarray
        (n, classes) float32, each row sums to 1; mixed views have two classes.
    trust : np.ndarray
        (n,) float32: 0 where a backdrop was pasted that the teacher did not see.
    """

    features: np.ndarray
    maps: np.ndarray
    labels: np.ndarray
    trust: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def stem_of(network: keras.Model, last: str) -> keras.Model:
    """The layers of ``network`` up to the one called ``last``; images as it takes them -> (n, rows, columns, channels)."""
    import keras

    return keras.Model(network.inputs, network.get_layer(last).output, name="stem")


def plain_tokens(stem: keras.Model, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Whole photos (n, s, s, 3) uint8 RGB through the stem of a VGG16: (n, rows, columns, channels) float16."""
    import tensorflow as tf

    from labutils.training.augment import to_network_input

    side = stem.input_shape[1]

    @tf.function
    def run(batch):
        resized = tf.image.resize(tf.cast(batch, tf.float32), (side, side), antialias=True)
        return tf.cast(stem(to_network_input(resized), training=False), tf.float16)

    starts = range(0, len(images), batch_size)
    return np.concatenate([run(images[i : i + batch_size]).numpy() for i in tqdm(starts, desc="val", unit="batch")])


def augmented_tokens(
    stem: keras.Model,
    photos: PhotoSet,
    teacher: Teacher,
    work: Path,
    *,
    views: int,
    smallest: float,
    evenness: float,
    seed: int,
    batch_size: int = 64,
) -> Tokens:
    """``views`` rounds over the photos, augmented, through the stem of a VGG16; each round is kept in ``work``.

    A round draws as many photos as there are, each with probability (class size) ** -evenness. A run that was killed
    goes on after the last whole round; ValueError when the rounds there were made otherwise.
    """
    import tensorflow as tf

    side = stem.input_shape[1]
    drawn = sampling_weights(photos.labels, evenness)
    backdrops = backdrop_masks(photos.images)
    made = {
        "photos": len(photos),
        "smallest": smallest,
        "evenness": evenness,
        "seed": seed,
        "stem": stem.output_shape[1:],
    }
    steps = -(-len(photos) // batch_size)

    @tf.function
    def view(images, aspects, behind, maps, labels):
        seen = augment(images, aspects, behind, maps, labels, side=side, grid=TEACHER_GRID, smallest=smallest)
        return (
            tf.cast(stem(seen.inputs, training=False), tf.float16),
            tf.cast(seen.maps, tf.float16),
            seen.labels,
            seen.trust,
        )

    rounds = []
    for number in range(views):
        kept = work / f"tokens-{number}.npz"
        if not kept.exists():
            tf.random.set_seed(1000 * seed + number)
            rng = np.random.default_rng((seed, number))
            parts = []
            for _ in tqdm(range(steps), desc=f"views {number + 1}/{views}", unit="batch", mininterval=5):
                chosen = rng.choice(len(photos), batch_size, p=drawn)
                images, aspects, behind, labels = gather(photos, backdrops, chosen)
                batch = view(images, aspects, behind, teacher.maps[chosen], labels)
                parts.append([part.numpy() for part in batch])
            arrays = [np.concatenate(column) for column in zip(*parts, strict=True)]
            half = work / "tokens.tmp.npz"
            np.savez(
                half, made=json.dumps(made), **dict(zip(("features", "maps", "labels", "trust"), arrays, strict=True))
            )
            half.replace(kept)
        with np.load(kept) as saved:
            if json.loads(str(saved["made"])) != json.loads(json.dumps(made)):
                raise ValueError(
                    f"{kept} was made with other settings ({saved['made']}); delete it or choose another --work"
                )
            rounds.append([saved[name] for name in ("features", "maps", "labels", "trust")])
    return Tokens(*(np.concatenate(column) for column in zip(*rounds, strict=True)))
