"""Training: even sampling, cross-entropy and distillation, averaged weights, checkpoints that a killed run goes on from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from labutils.training import checkpoint
from labutils.training.augment import augment, to_network_input
from labutils.training.dataset import PhotoSet, backdrop_masks, gather, sampling_weights
from labutils.training.network import training_network

if TYPE_CHECKING:
    from labutils.training.teacher import Teacher


AVERAGE_EVERY = 8
"""Steps between two contributions to the averaged weights."""


class Phase(NamedTuple):
    """A stretch of training at one input size.

    Attributes
    ----------
    side : int
        Height and width of the input in pixels.
    epochs : int
    smallest : float
        Least share of a photo's area that a crop shows.
    rate : float or None
        The phase anneals on its own from this learning rate; None follows the recipe's one cosine.
    calm : bool
        No erasing and no mixing of photos: the last phase sees photos as users will hand them in.
    """

    side: int
    epochs: int
    smallest: float
    rate: float | None = None
    calm: bool = False


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run gives.

    The learning rate follows one cosine of ``cosine_epochs``, but in phases that bring a rate of their own. An epoch
    draws as many photos as there are, each with probability (class size) ** -evenness; at the end each logit gets
    ``prior * log(class size)``, which with half of ``evenness`` gives back half of what even sampling took.
    """

    channels: tuple[int, ...] = (16, 32, 64, 128, 128)
    dense: tuple[int, int] = (256, 256)
    phases: tuple[Phase, ...] = (
        Phase(96, 26, 0.3),
        Phase(128, 8, 0.3),
        Phase(224, 3, 0.35, rate=5e-4),
        Phase(224, 4, 0.4, rate=5e-4, calm=True),
    )
    cosine_epochs: int = 37
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.03
    evenness: float = 0.5
    label_smoothing: float = 0.1
    label_weight: float = 1.0
    mapped_weight: float = 0.3
    imagenet_weight: float = 0.5
    map_weight: float = 5.0
    averaging: float = 0.985
    prior: float = 0.25
    precision: str = "mixed_bfloat16"
    seed: int = 1

    @property
    def epochs(self) -> int:
        return sum(phase.epochs for phase in self.phases)

    def phase(self, epoch: int) -> tuple[Phase, int]:
        """The phase of an epoch (counted from 0), and the epoch that this phase began with."""
        begun = 0
        for phase in self.phases:
            if epoch < begun + phase.epochs:
                return phase, begun
            begun += phase.epochs
        raise IndexError(f"epoch {epoch} of {self.epochs}")

    def rate(self, done: float) -> float:
        """Learning rate after ``done`` epochs; the first epoch warms up."""
        phase, begun = self.phase(int(done))
        if phase.rate is not None:
            return phase.rate * (0.5 + 0.5 * np.cos(np.pi * (done - begun) / phase.epochs)) + 1e-6
        cosine = 0.5 + 0.5 * np.cos(np.pi * min(1.0, done / self.cosine_epochs))
        return self.learning_rate * min(1.0, done + 0.01) * cosine + 1e-6


@dataclass
class Progress:
    """What a run remembers besides its weights."""

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """One training run over ``train``, watched on ``val``; `run` goes on where the last checkpoint in ``work`` stopped."""

    def __init__(self, recipe: Recipe, train: PhotoSet, val: PhotoSet, teacher: Teacher | None, work: Path):
        import keras
        import tensorflow as tf

        self.recipe, self.train, self.val, self.teacher, self.work = recipe, train, val, teacher, work
        keras.utils.set_random_seed(recipe.seed)
        keras.config.set_dtype_policy(recipe.precision)
        try:
            components = teacher.maps.shape[-1] if teacher else 0
            self.network = training_network(list(recipe.channels), list(recipe.dense), len(train.classes), components)
        finally:
            keras.config.set_dtype_policy("float32")
        self.averaged = [tf.Variable(v.value) for v in self.network.variables]
        self.optimizer = keras.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay, clipnorm=5.0)
        self.optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self.optimizer.build(self.network.trainable_variables)
        self.progress = Progress()
        self.backdrops = backdrop_masks(train.images)
        self.draw_probability = sampling_weights(train.labels, recipe.evenness)

        @tf.function
        def average(keep):
            for mean, variable in zip(self.averaged, self.network.variables, strict=True):
                if mean.dtype.is_floating:
                    mean.assign(keep * mean + (1 - keep) * variable.value)

        self._average = average

    def run(self) -> list[dict[str, float]]:
        """Train to the end of the recipe; returns one record an epoch."""
        self.restore()
        while self.progress.epoch < self.recipe.epochs:
            epoch = self.progress.epoch
            phase, _ = self.recipe.phase(epoch)
            loss = self._epoch(epoch, phase)
            record = {"epoch": epoch + 1, "side": phase.side, "loss": loss, **self.validate(phase.side)}
            self.progress.history.append(record)
            self.progress.epoch += 1
            self.save()
            tqdm.write("  ".join(f"{key} {value:.4g}" for key, value in record.items()))
        return self.progress.history

    def _epoch(self, epoch: int, phase: Phase) -> float:
        import tensorflow as tf

        recipe = self.recipe
        steps = max(1, len(self.train) // recipe.batch_size)
        rng = np.random.default_rng((recipe.seed, epoch))
        chosen = rng.choice(len(self.train), (steps, recipe.batch_size), p=self.draw_probability)
        losses = []
        with ThreadPoolExecutor(1) as pool:
            upcoming = pool.submit(self._batch, chosen[0])
            bar = tqdm(range(steps), desc=f"epoch {epoch + 1}/{recipe.epochs}", unit="step", leave=False, mininterval=5)
            for step in bar:
                batch = upcoming.result()
                if step + 1 < steps:
                    upcoming = pool.submit(self._batch, chosen[step + 1])
                rate = recipe.rate(epoch + step / steps)
                losses.append(self._step(phase)(*batch, tf.constant(rate, tf.float32)))
                taken = epoch * steps + step + 1
                if taken % AVERAGE_EVERY == 0:
                    # Young averages forget quickly, or the random start would stay in them for epochs.
                    keep = min(recipe.averaging, (1 + taken) / (10 * AVERAGE_EVERY + taken))
                    self._average(tf.constant(keep, tf.float32))
                if step % 50 == 49:
                    bar.set_postfix(loss=f"{np.mean([float(x) for x in losses[-50:]]):.3f}")
        return float(np.mean([float(loss) for loss in losses]))

    def _batch(self, chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        images, aspects, backdrops, labels = gather(self.train, self.backdrops, chosen)
        maps = self.teacher.maps[chosen] if self.teacher else np.zeros((len(chosen), 1, 1, 0), np.float16)
        return images, aspects, backdrops, maps, labels

    @cache  # noqa: B019
    def _step(self, phase: Phase):
        """The compiled training step of a phase."""
        import tensorflow as tf

        recipe, network, teacher = self.recipe, self.network, self.teacher
        trainable = [v.value for v in network.trainable_variables]

        @tf.function
        def step(images, aspects, backdrops, maps, labels, rate):
            views = augment(
                images,
                aspects,
                backdrops,
                maps,
                labels,
                side=phase.side,
                grid=phase.side // 16,
                smallest=phase.smallest,
                calm=phase.calm,
            )
            with tf.GradientTape() as tape:
                outputs = network(views.inputs, training=True)
                loss = self._label_loss(outputs["logits"], views.labels)
                if teacher:
                    loss = recipe.label_weight * loss + self._teacher_loss(outputs, views)
            gradients = tape.gradient(loss, trainable)
            self.optimizer.learning_rate.assign(rate)
            self.optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
            return loss

        return step

    def _label_loss(self, logits, labels):
        import tensorflow as tf

        smoothing = self.recipe.label_smoothing
        targets = labels * (1 - smoothing) + smoothing / len(self.train.classes)
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))

    def _teacher_loss(self, outputs, views):
        """Soft labels, the teacher's own ImageNet classes and its map, the last read off the student's map."""
        import tensorflow as tf

        recipe, teacher = self.recipe, self.teacher
        pooled = tf.reduce_mean(views.maps, axis=(1, 2))
        top_logits = pooled @ teacher.top_kernel + teacher.top_bias
        ours = tf.nn.softmax(top_logits) @ teacher.mapping
        soft = tf.nn.softmax(teacher.sharpness * tf.math.log(ours))
        mapped = tf.nn.softmax_cross_entropy_with_logits(soft, outputs["logits"])
        student_pooled = tf.reduce_mean(outputs["map"], axis=(1, 2))
        student_top = student_pooled @ teacher.top_kernel + teacher.top_bias
        top = tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(top_logits), student_top)
        distance = tf.reduce_mean(tf.square(outputs["map"] - views.maps), axis=(1, 2, 3)) * views.trust
        return tf.reduce_mean(
            recipe.mapped_weight * mapped + recipe.imagenet_weight * top + recipe.map_weight * distance
        )

    def validate(self, side: int) -> dict[str, float]:
        """Top-1 and mean per-class recall on ``val`` with the averaged weights."""
        logits = self.logits(self.val.images, side)
        right = logits.argmax(axis=1) == self.val.labels
        recalls = [right[self.val.labels == label].mean() for label in np.unique(self.val.labels)]
        return {"top1": float(right.mean()), "mean_recall": float(np.mean(recalls))}

    def logits(self, images: np.ndarray, side: int, batch_size: int = 64) -> np.ndarray:
        """Logits (n, classes) of whole photos at ``side`` x ``side`` with the averaged weights."""
        forward = self._forward(side)
        own = [v.numpy() for v in self.network.variables]
        self._assign(self.averaged)
        try:
            parts = [forward(images[i : i + batch_size]).numpy() for i in range(0, len(images), batch_size)]
        finally:
            self._assign(own)
        return np.concatenate(parts)

    @cache  # noqa: B019 - a trainer lives as long as its process
    def _forward(self, side: int):
        import tensorflow as tf

        @tf.function
        def forward(batch):
            resized = tf.image.resize(tf.cast(batch, tf.float32), (side, side), antialias=True)
            return self.network(to_network_input(resized), training=False)["logits"]

        return forward

    def _assign(self, values) -> None:
        for variable, value in zip(self.network.variables, values, strict=True):
            variable.assign(value)

    def averaged_weights(self) -> dict[str, np.ndarray]:
        """Path of each variable -> averaged value."""
        return {v.path: a.numpy() for v, a in zip(self.network.variables, self.averaged, strict=True)}

    def _everything(self) -> list:
        return [
            *(v.value for v in self.network.variables),
            *self.averaged,
            *(v.value for v in self.optimizer.variables),
        ]

    def _made_with(self) -> dict:
        return {"recipe": asdict(self.recipe), "classes": self.train.classes}

    def save(self) -> None:
        """Write a checkpoint, whole or not at all."""
        checkpoint.save(self.work, self._everything(), {**self._made_with(), **asdict(self.progress)})

    def restore(self) -> None:
        """Go on from the checkpoint in ``work`` where there is one; ValueError when it is of another recipe or other classes."""
        note = checkpoint.restore(self.work, self._everything(), self._made_with())
        if note:
            self.progress = Progress(note["epoch"], note["history"])
            tqdm.write(f"going on after epoch {self.progress.epoch} of {self.recipe.epochs}")
