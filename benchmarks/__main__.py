"""`python -m benchmarks [--rounds 5] [--samples 8] [--channels 64] [--out benchmarks/RESULTS.md]`.

Everything is measured in one run on Keras's VGG16 with random weights and a 224 x 224 image, in turns (`timing.py`).
The yardstick is one forward pass: the whole model compiled with `tf.function`, a batch of one, already traced.
"""

from __future__ import annotations

import argparse
import datetime
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.timing import Timing, interleaved, machine, peak_memory

LAYER = "block5_conv3"


@dataclass(frozen=True)
class Mark:
    """A ratio of two measured things that must stay on one side of a limit."""

    what: str
    above: str
    below: str
    limit: float
    at_most: bool = True

    def ratio(self, timings: dict[str, Timing], statistic: str) -> float:
        return getattr(timings[self.above], statistic) / getattr(timings[self.below], statistic)


def works(samples: int, channels: int) -> dict[str, Callable[[], object]]:
    """What is measured: name -> a function that does it once."""
    import keras
    import tensorflow as tf
    from tf_keras_vis.gradcam import Gradcam, GradcamPlusPlus
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    from labutils import explain

    keras.utils.set_random_seed(0)
    model = keras.applications.VGG16(weights=None)
    image = np.random.default_rng(0).normal(0, 60, (1, 224, 224, 3)).astype(np.float32)
    masked = tf.constant(np.repeat(image, channels, axis=0))
    forward = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    score, linear = CategoricalScore([0]), ReplaceToLinear()
    gradcam, plus_plus, saliency = (kind(model, linear) for kind in (Gradcam, GradcamPlusPlus, Saliency))

    def masks() -> None:
        # What Score-CAM cannot do without: the image once, and then every masked image, 32 at a time.
        forward(masked[:1])
        for start in range(0, channels, 32):
            forward(masked[start : start + 32])

    return {
        "one forward pass": lambda: forward(masked[:1]),
        "cam_family (all three CAMs)": lambda: explain.cam_family(model, image, 0, layer=LAYER),
        "tf-keras-vis Gradcam": lambda: gradcam(score, image, penultimate_layer=LAYER),
        "tf-keras-vis Gradcam, model cloned": lambda: Gradcam(model, linear)(score, image, penultimate_layer=LAYER),
        "tf-keras-vis GradcamPlusPlus": lambda: plus_plus(score, image, penultimate_layer=LAYER),
        "saliency": lambda: explain.saliency(model, image, 0),
        "tf-keras-vis Saliency": lambda: saliency(score, image),
        f"smooth_grad, {samples} samples": lambda: explain.smooth_grad(
            model, image, 0, samples=samples, seed=0, progress=False
        ),
        f"tf-keras-vis SmoothGrad, {samples} samples": lambda: saliency(
            score, image, smooth_samples=samples, smooth_noise=0.2
        ),
        f"score_cam, {channels} channels": lambda: explain.score_cam(
            model, image, 0, layer=LAYER, max_channels=channels, progress=False
        ),
        f"the forward passes of {channels} masks": masks,
    }


def marks(samples: int, channels: int) -> list[Mark]:
    """What the ratios must reach."""
    one, smooth, score = "one forward pass", f"smooth_grad, {samples} samples", f"score_cam, {channels} channels"
    return [
        Mark("cam_family / forward", "cam_family (all three CAMs)", one, 1.3),
        Mark("saliency / forward", "saliency", one, 2.4),
        Mark(
            "tf-keras-vis SmoothGrad / smooth_grad", f"tf-keras-vis SmoothGrad, {samples} samples", smooth, 1.7, False
        ),
        Mark("score_cam / its masks' forward passes", score, f"the forward passes of {channels} masks", 1.15),
    ]


def report(timings: dict[str, Timing], wanted: list[Mark], memory: dict[int, float], rounds: int) -> str:
    """The measurements as a Markdown page."""
    one = timings["one forward pass"]
    lines = [
        "# Benchmark results",
        "",
        f"Written by `python -m benchmarks` on {datetime.date.today()}. {machine()}.",
        "",
        f"Keras's VGG16 with random weights, one 224 x 224 image, layer `{LAYER}`; {rounds} rounds, everything in turns.",
        "One forward pass is the whole model compiled with `tf.function`, batch 1, already traced.",
        "",
        "| what | median s | fastest s | forward passes (median) | (fastest) |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {t.median:.3f} | {t.fastest:.3f} | {t.median / one.median:.2f} | {t.fastest / one.fastest:.2f} |"
            for name, t in timings.items()
        ),
        "",
        "| ratio | mark | median | fastest |",
        "|---|---|---|---|",
        *(
            f"| {mark.what} | {'at most' if mark.at_most else 'at least'} {mark.limit} "
            f"| {mark.ratio(timings, 'median'):.2f} | {mark.ratio(timings, 'fastest'):.2f} |"
            for mark in wanted
        ),
        "",
        "Peak memory of a process that runs Score-CAM (batches of 16) on a layer with so many channels, in MB: "
        + ", ".join(f"{channels} channels {megabytes:.0f}" for channels, megabytes in memory.items())
        + ".",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured")
    parser.add_argument("--samples", type=int, default=8, help="noisy copies of SmoothGrad")
    parser.add_argument("--channels", type=int, default=64, help="channels of Score-CAM")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    # tf-keras-vis hands its inputs over as a list, which Keras remarks on at every call.
    warnings.filterwarnings("ignore", message="The structure of `inputs`")

    memory = {channels: peak_memory("benchmarks.score_cam_memory", str(channels)) for channels in (64, 512)}
    timings = interleaved(works(options.samples, options.channels), options.rounds)
    page = report(timings, marks(options.samples, options.channels), memory, options.rounds)
    options.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
