"""Measuring side by side on a machine that is never quite idle."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Timing:
    """Wall-clock seconds of one measured thing, one entry a round."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def fastest(self) -> float:
        return min(self.seconds)


def interleaved(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time several things in turns, so that a busy minute of the machine falls on all of them alike.

    Each is run once beforehand (compilation, caches); then every round runs each once, in an order that rotates.
    """
    names = list(work)
    for name in names:
        print(f"warming up: {name}", file=sys.stderr, flush=True)
        work[name]()
    timings = {name: Timing() for name in names}
    for turn in range(rounds):
        print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            work[name]()
            timings[name].seconds.append(time.perf_counter() - start)
    return timings


def peak_memory(module: str, *arguments: str) -> float:
    """Peak resident memory in MB of `python -m module arguments`, in a process of its own (a peak never goes down)."""
    output = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    return float(output.stdout.split()[-1])


def machine() -> str:
    """One line on what this was measured with."""
    import os

    import keras
    import tensorflow as tf

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()}; Python {platform.python_version()}, "
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    )
