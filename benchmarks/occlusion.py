"""`python -m benchmarks.occlusion [--rounds 3] [--batches 2] [--predictions 40]`: prints a Markdown table.

Occlusion of Keras's VGG16 (random weights, 224 x 224, patch 16, stride 8: 729 positions): all of it on the incremental
route, beside the full route and one `model.predict` a position. Those two are measured on a sample of the positions and
scaled up to all of them; everything in turns, in one process.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, field

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.timing import Timing, interleaved, machine

INCREMENTAL, FULL, PREDICT = "occlusion, incremental", "batched full recomputation", "one model.predict a position"
LIMITS = {FULL: 5.0, PREDICT: 12.0}
"""How many times faster than these the incremental route must be."""
LARGEST_ERROR = 1e-4
"""Of the logits' scale."""


@dataclass
class Measured:
    """Seconds for all positions; how many of them were timed; the largest difference of a logit, in logit scales."""

    positions: int
    sampled: dict[str, int]
    timings: dict[str, Timing]
    error: float

    def ratio(self, other: str, statistic: str = "median") -> float:
        return getattr(self.timings[other], statistic) / getattr(self.timings[INCREMENTAL], statistic)


@dataclass
class _Sample:
    """The things to measure, on one model and image."""

    batches: int
    predictions: int
    full_logits: dict[int, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import keras

        from labutils.explain.incremental import IncrementalRoute, find_chain
        from labutils.explain.occlusion import FullRoute, lay_patches
        from labutils.explain.surgery import open_model

        keras.utils.set_random_seed(0)
        self.model = keras.applications.VGG16(weights=None)
        self.image = np.random.default_rng(0).normal(0, 60, (224, 224, 3)).astype(np.float32)
        self.patches = lay_patches((224, 224), (16, 16), (8, 8))
        opened = open_model(self.model)
        self.full = FullRoute(opened, self.patches)
        self.incremental = IncrementalRoute(opened, find_chain(opened)[0], self.patches)
        whole = [batch for batch in self.full.batches(64) if len(batch) == 64]
        self.full_batches = [whole[index] for index in np.linspace(0, len(whole) - 1, self.batches).astype(int)]
        self.pair = self.full.start(self.image, np.zeros_like(self.image))[1]

    def works(self) -> dict[str, Callable[[], object]]:
        return {INCREMENTAL: self.run_incremental, FULL: self.run_full, PREDICT: self.run_predict}

    def sampled(self) -> dict[str, int]:
        full = sum(len(batch) for batch in self.full_batches)
        return {INCREMENTAL: self.patches.count, FULL: full, PREDICT: self.predictions}

    def run_incremental(self) -> None:
        from labutils.explain.occlusion import occlusion

        occlusion(self.model, self.image, 0, progress=False)

    def run_full(self) -> None:
        for batch in self.full_batches:
            self.full_logits.update(zip(batch.tolist(), self.full.logits(self.pair, batch), strict=True))

    def run_predict(self) -> None:
        for number in np.linspace(0, self.patches.count - 1, self.predictions).astype(int):
            top, left = self.patches.corners(number)
            occluded = self.image.copy()
            occluded[top : top + 16, left : left + 16] = 0.0
            self.model.predict(occluded[np.newaxis], verbose=0)

    def error(self) -> float:
        """Of the positions that the full route was run on; the incremental one in batches as `occlusion` makes them."""
        _, kept = self.incremental.start(self.image, np.zeros_like(self.image))
        worst = scale = 0.0
        for batch in self.incremental.batches(64):
            logits = self.incremental.logits(kept, batch)
            for number, row in zip(batch.tolist(), logits, strict=True):
                if number in self.full_logits:
                    worst = max(worst, np.abs(row - self.full_logits[number]).max())
                    scale = max(scale, np.abs(self.full_logits[number]).max())
        return worst / scale


def measure(rounds: int = 3, batches: int = 2, predictions: int = 40) -> Measured:
    """Time the three, in turns; `batches` of 64 positions and so many single predictions are the samples."""
    sample = _Sample(batches, predictions)
    timings, sampled = interleaved(sample.works(), rounds), sample.sampled()
    count = sample.patches.count
    scaled = {name: Timing([s * count / sampled[name] for s in timing.seconds]) for name, timing in timings.items()}
    return Measured(count, sampled, scaled, sample.error())


def report(measured: Measured) -> str:
    """The measurements as Markdown tables."""
    lines = [
        f"Occlusion: Keras's VGG16 with random weights, one 224 x 224 image, patch 16, stride 8, {measured.positions} "
        f"positions, batches of up to 64; {len(measured.timings[INCREMENTAL].seconds)} rounds, everything in turns. "
        f"Full recomputation was timed on {measured.sampled[FULL]} positions, `model.predict` on "
        f"{measured.sampled[PREDICT]}; their seconds are scaled up to all positions.",
        "",
        "| what | median s | fastest s |",
        "|---|---|---|",
        *(f"| {name} | {timing.median:.1f} | {timing.fastest:.1f} |" for name, timing in measured.timings.items()),
        "",
        "| ratio | mark | median | fastest |",
        "|---|---|---|---|",
        *(
            f"| {other} / incremental | at least {limit:.0f} | {measured.ratio(other):.1f} "
            f"| {measured.ratio(other, 'fastest'):.1f} |"
            for other, limit in LIMITS.items()
        ),
        f"| largest difference of a logit / largest logit | at most {LARGEST_ERROR:.0e} | {measured.error:.1e} | |",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.occlusion", description="Occlusion on VGG16.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each thing is measured")
    parser.add_argument("--batches", type=int, default=2, help="batches of 64 positions for the full route")
    parser.add_argument("--predictions", type=int, default=40, help="positions for model.predict")
    options = parser.parse_args()
    measured = measure(options.rounds, options.batches, options.predictions)
    print(f"{machine()}.\n\n{report(measured)}")


if __name__ == "__main__":
    main()
