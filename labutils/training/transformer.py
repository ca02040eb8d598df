"""Training of the bundled ViT: a small transformer on a frozen stem, on the tokens that `labutils.training.tokens` keeps.

Three things make it affordable on two cores: the stem is that of the bundled VGG16 and has run already; a step sees a
random part of each view's tokens (PatchDropout, Liu et al., WACV 2023), which also keeps the class token from leaning on
a few places; and a teacher says what every token shows (dense distillation, Jiang et al., All Tokens Matter, NeurIPS
2021), so that the patches learn from far more than one label a photo.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from labutils.training import checkpoint
from labutils.training.tokens import TEACHER_GRID, Tokens

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from labutils.training.teacher import Teacher
    from labutils.vit import Architecture


class Phase(NamedTuple):
    """A stretch of training.

    Attributes
    ----------
    epochs : float
        One epoch is one pass over all kept views.
    kept : int
        How many of a view's tokens a step sees.
    calm : bool
        No mixing of views.
    """

    epochs: float
    kept: int
    calm: bool = False


@dataclass(frozen=True)
class VitRecipe:
    """Everything that decides what a training run gives."""

    width: int = 128
    depth: int = 6
    heads: int = 4
    hidden: int = 384
    views: int = 2
    smallest: float = 0.3
    evenness: float = 0.5
    phases: tuple[Phase, ...] = (Phase(6, 49), Phase(0.75, 98, calm=True))
    batch_size: int = 128
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    mapped_weight: float = 0.3
    imagenet_weight: float = 0.5
    map_weight: float = 2.0
    drop_path: float = 0.05
    mixed: float = 0.3
    averaging: float = 0.997
    prior: float = 0.25
    seed: int = 1


class VitTrainer:
    """One run over kept tokens; `run` goes on where the last checkpoint in ``work`` stopped.

    The layers trained are those of the shipped network, run here on a part of the tokens.

    Parameters
    ----------
    recipe : VitRecipe
    architecture : labutils.vit.Architecture
        Its stem is not run here.
    tokens : Tokens
        What to train on.
    val : (features, labels)
        (n, rows, columns, channels) of whole photos, and (n,) class indices.
    teacher : Teacher
    work : Path
        Where checkpoints go.
    """

    def __init__(
        self,
        recipe: VitRecipe,
        architecture: Architecture,
        tokens: Tokens,
        val: tuple[np.ndarray, np.ndarray],
        teacher: Teacher,
        work: Path,
    ):
        import keras
        import tensorflow as tf

        from labutils.vit import build_network

        self.recipe, self.tokens, self.val, self.teacher, self.work = recipe, tokens, val, teacher, work
        keras.utils.set_random_seed(recipe.seed)
        self.network = build_network(architecture)
        self.depth = architecture.depth
        self.grid = tokens.features.shape[1]
        sample = tokens.features[:: max(1, len(tokens) // 512)].astype(np.float32)
        self.mean, self.scale = sample.mean(axis=(0, 1, 2)), sample.std(axis=(0, 1, 2)) + 1e-3
        self.heads = {
            "map": keras.layers.Dense(teacher.maps.shape[-1], name="teacher_map"),
            "imagenet": keras.layers.Dense(len(teacher.top_bias), name="teacher_top"),
        }
        for head in self.heads.values():
            head.build((None, architecture.width))
        trained = [layer for layer in self.network.layers if not layer.name.startswith("stem")]
        self.variables = [v for layer in [*trained, *self.heads.values()] for v in layer.trainable_variables]
        self.averaged = [tf.Variable(v.value) for v in self.variables]
        self.optimizer = keras.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay, clipnorm=1.0)
        self.optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias", "token", "positions"])
        self.optimizer.build(self.variables)
        self.taken, self.history = 0, []

        @tf.function
        def run(batch):
            first, _ = self.forward((tf.cast(batch, tf.float32) - self.mean) / self.scale)
            return self._classify(first)

        self._run = run
        self._steps: dict[Phase, object] = {}

    # The network on a part of the tokens --------------------------------------------------------------------------

    def forward(
        self, features: tf.Tensor, kept: tf.Tensor | None = None, stays: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Class token (n, width) and patches (n, kept, width) of normalised features (n, rows, columns, channels).

        ``kept`` (n, tokens) says which tokens to run on, None all; ``stays`` (2 x depth, n, 1, 1) scales every branch:
        0 leaves it out (stochastic depth, Huang et al., ECCV 2016).
        """
        import tensorflow as tf

        layer = self.network.get_layer
        positions = layer("position_embedding").positions.value
        patches = layer("patch_embedding")(features)
        patches = tf.reshape(patches, (-1, self.grid**2, patches.shape[-1])) + positions[:, 1:]
        if kept is not None:
            patches = tf.gather(patches, kept, batch_dims=1)
        first = layer("class_token").token.value + positions[:, :1]
        x = tf.concat([tf.tile(first, (tf.shape(patches)[0], 1, 1)), patches], axis=1)
        for number in range(1, self.depth + 1):
            y = layer(f"block{number}_norm1")(x)
            y = layer(f"block{number}_attention")(y, y)
            x = x + (y if stays is None else y * stays[2 * number - 2])
            y = layer(f"block{number}_dense1")(layer(f"block{number}_norm2")(x))
            y = layer(f"block{number}_dense2")(y)
            x = x + (y if stays is None else y * stays[2 * number - 1])
        x = layer("norm")(x)
        return x[:, 0], x[:, 1:]

    def _classify(self, first: tf.Tensor) -> tf.Tensor:
        """Logits (n, classes) from the class token: ``predictions`` without its softmax."""
        predictions = self.network.get_layer("predictions")
        return first @ predictions.kernel.value + predictions.bias.value

    # Steps ---------------------------------------------------------------------------------------------------------

    def _step(self, phase: Phase):
        """The compiled training step of a phase."""
        import tensorflow as tf

        if phase not in self._steps:
            values = [v.value for v in self.variables]
            rate_of_drops = self.recipe.drop_path

            # Random numbers and updates stay outside: they make XLA compile for minutes and run no faster for it.
            @tf.function(jit_compile=True)
            def gradients_of(features, maps, labels, trust, kept, stays):
                with tf.GradientTape() as tape:
                    first, patches = self.forward(features, kept, stays)
                    loss = self._loss(first, patches, maps, labels, trust, kept)
                return loss, tape.gradient(loss, values)

            @tf.function
            def step(features, maps, labels, trust, kept, rate, keep):
                features = (tf.cast(features, tf.float32) - self.mean) / self.scale
                maps = tf.cast(maps, tf.float32)
                features, maps, labels, trust = self._varied(features, maps, labels, trust, phase.calm)
                draws = tf.random.uniform((2 * self.depth, tf.shape(labels)[0], 1, 1))
                stays = tf.cast(draws >= rate_of_drops, tf.float32) / (1 - rate_of_drops)
                loss, gradients = gradients_of(features, maps, labels, trust, kept, stays)
                self.optimizer.learning_rate.assign(rate)
                self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))
                for mean, variable in zip(self.averaged, self.variables, strict=True):
                    mean.assign(keep * mean + (1 - keep) * variable.value)
                return loss

            self._steps[phase] = step
        return self._steps[phase]

    def _varied(self, features, maps, labels, trust, calm):
        """Flipped grids, and rectangles of tokens from another view (CutMix on tokens), the teacher's maps alike."""
        import tensorflow as tf

        count = tf.shape(labels)[0]
        flip = tf.random.uniform((count, 1, 1, 1)) < 0.5
        features = tf.where(flip, tf.reverse(features, [2]), features)
        maps = tf.where(flip, tf.reverse(maps, [2]), maps)
        if calm:
            return features, maps, labels, trust
        extent = tf.random.uniform((count, 2, 1), 0.3, 0.8)
        start = tf.random.uniform((count, 2, 1)) * (1.0 - extent)
        places = (tf.range(TEACHER_GRID, dtype=tf.float32) + 0.5) / TEACHER_GRID
        inside = tf.cast((places >= start) & (places < start + extent), tf.float32)
        window = (inside[:, 0, :, None] * inside[:, 1, None, :])[..., None]
        window *= tf.cast(tf.random.uniform((count, 1, 1, 1)) < self.recipe.mixed, tf.float32)
        fine = tf.repeat(tf.repeat(window, self.grid // TEACHER_GRID, axis=1), self.grid // TEACHER_GRID, axis=2)
        share = tf.reduce_mean(window, axis=(1, 2))

        def blend(values, weight):
            return values * (1.0 - weight) + tf.roll(values, 1, axis=0) * weight

        return blend(features, fine), blend(maps, window), blend(labels, share), blend(trust, share[:, 0])

    def _loss(self, first, patches, maps, labels, trust, kept):
        """Labels, soft labels, the teacher's own ImageNet classes, and its map at every token."""
        import tensorflow as tf

        recipe, teacher = self.recipe, self.teacher
        crossentropy = tf.nn.softmax_cross_entropy_with_logits
        logits = self._classify(first)
        smoothing = recipe.label_smoothing
        loss = crossentropy(labels * (1 - smoothing) + smoothing / labels.shape[-1], logits)
        top_logits = tf.reduce_mean(maps, axis=(1, 2)) @ teacher.top_kernel + teacher.top_bias
        top = tf.nn.softmax(top_logits)
        soft = tf.nn.softmax(teacher.sharpness * tf.math.log(top @ teacher.mapping))
        loss += recipe.mapped_weight * crossentropy(soft, logits)
        loss += recipe.imagenet_weight * crossentropy(top, self.heads["imagenet"](first))
        cell = self.grid // TEACHER_GRID
        place = kept // self.grid // cell * TEACHER_GRID + kept % self.grid // cell
        targets = tf.gather(tf.reshape(maps, (-1, TEACHER_GRID**2, maps.shape[-1])), place, batch_dims=1)
        distance = tf.reduce_mean(tf.square(self.heads["map"](patches) - targets), axis=(1, 2))
        return tf.reduce_mean(loss + recipe.map_weight * distance * trust)

    # Running -------------------------------------------------------------------------------------------------------

    @property
    def steps_an_epoch(self) -> int:
        return max(1, len(self.tokens) // self.recipe.batch_size)

    def run(self) -> list[dict[str, float]]:
        """Train to the end of the recipe; returns one record each time the network was tried on ``val``."""
        self.restore()
        recipe, begun = self.recipe, 0
        total = sum(round(phase.epochs * self.steps_an_epoch) for phase in recipe.phases)
        for phase in recipe.phases:
            ends = begun + round(phase.epochs * self.steps_an_epoch)
            while self.taken < ends:
                stop = min(ends, (self.taken // self.steps_an_epoch + 1) * self.steps_an_epoch)
                loss = self._stretch(phase, stop, total)
                record = {"steps": self.taken, "of": total, "kept": phase.kept, "loss": loss, **self.validate()}
                self.history.append(record)
                self.save()
                tqdm.write("  ".join(f"{key} {value:.4g}" for key, value in record.items()))
            begun = ends
        return self.history

    def _stretch(self, phase: Phase, stop: int, total: int) -> float:
        import tensorflow as tf

        recipe, step, losses = self.recipe, self._step(phase), []
        rng = np.random.default_rng((recipe.seed, self.taken))
        order = rng.permutation(len(self.tokens))
        bar = tqdm(range(self.taken, stop), desc=f"{phase.kept} tokens", unit="step", mininterval=10)
        for number in bar:
            start = (number % self.steps_an_epoch) * recipe.batch_size
            chosen = np.sort(order[start : start + recipe.batch_size])
            kept = rng.random((len(chosen), self.grid**2)).argsort(axis=1)[:, : phase.kept].astype(np.int32)
            rate = recipe.learning_rate * min(1.0, (number + 1) / 200) * (0.5 + 0.5 * np.cos(np.pi * number / total))
            keep = min(recipe.averaging, (1 + number) / (10 + number))
            arrays = [getattr(self.tokens, name)[chosen] for name in ("features", "maps", "labels", "trust")]
            losses.append(
                float(step(*arrays, kept, tf.constant(rate + 1e-6, tf.float32), tf.constant(keep, tf.float32)))
            )
            bar.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}", refresh=False)
        self.taken = stop
        return float(np.mean(losses))

    def validate(self) -> dict[str, float]:
        """Top-1 and mean per-class recall on ``val``, all tokens, with the averaged weights."""
        features, labels = self.val
        right = self.logits(features).argmax(axis=1) == labels
        recalls = [right[labels == label].mean() for label in np.unique(labels)]
        return {"top1": float(right.mean()), "mean_recall": float(np.mean(recalls))}

    def logits(self, features: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """Logits (n, classes) of the stem's features (n, rows, columns, channels) with the averaged weights."""
        with self.averaged_weights():
            parts = [self._run(features[i : i + batch_size]).numpy() for i in range(0, len(features), batch_size)]
        return np.concatenate(parts)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The averaged weights in the network, in place of those that the next step goes on from."""
        own = [v.numpy() for v in self.variables]
        self._assign(self.averaged)
        try:
            yield
        finally:
            self._assign(own)

    def _assign(self, values) -> None:
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)

    # Checkpoints ---------------------------------------------------------------------------------------------------

    def _everything(self) -> list:
        return [*(v.value for v in self.variables), *self.averaged, *(v.value for v in self.optimizer.variables)]

    def save(self) -> None:
        """Write a checkpoint, whole or not at all."""
        note = {"recipe": asdict(self.recipe), "taken": self.taken, "history": self.history}
        checkpoint.save(self.work, self._everything(), note)

    def restore(self) -> None:
        """Go on from the checkpoint in ``work`` where there is one; ValueError when it is of another recipe."""
        note = checkpoint.restore(self.work, self._everything(), {"recipe": asdict(self.recipe)})
        if note:
            self.taken, self.history = note["taken"], note["history"]
            tqdm.write(f"going on after step {self.taken}")


# From the trained layers to the shipped network ----------------------------------------------------------------------


def with_stem(trainer: VitTrainer, vgg16: keras.Model) -> keras.Model:
    """The shipped network: the averaged weights on the stem of a VGG16, both folded to take images from -1 to 1.

    Folding is exact but for the one pixel of padding around the image, which is mean colour to VGG16 and middle grey to
    the ViT.
    """
    from labutils.training.augment import CHANNEL_MEANS_BGR

    network = trainer.network
    with trainer.averaged_weights():
        weights = {layer.name: layer.get_weights() for layer in network.layers}
    shipped = type(network).from_config(network.get_config())
    for layer in shipped.layers:
        if layer.name.startswith("stem") and layer.weights:
            block, _, name = layer.name.removeprefix("stem").partition("_")
            layer.set_weights(vgg16.get_layer(f"block{block}_{name}").get_weights())
        elif layer.weights:
            layer.set_weights(weights[layer.name])
    first = shipped.get_layer("stem1_conv1")
    kernel, bias = first.get_weights()
    bias = bias + np.einsum("hwco,c->o", kernel, 127.5 - np.array(CHANNEL_MEANS_BGR))
    first.set_weights([kernel[:, :, ::-1] * 127.5, bias])
    embedding = shipped.get_layer("patch_embedding")
    kernel, bias = embedding.get_weights()
    kernel = kernel / trainer.scale[:, np.newaxis]
    embedding.set_weights([kernel, bias - trainer.mean @ kernel.sum(axis=(0, 1))])
    return shipped
