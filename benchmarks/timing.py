"""Measuring side by side on a machine that is never quite idle."""

from __future__ import annotations

import math
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


def interleaved(
    work: Mapping[str, Callable[[], object]], rounds: int, *, budget: float = math.inf, warm_up: bool = True
) -> dict[str, Timing]:
    """Time several things in turns, so that a busy minute of the machine falls on all of them alike.

    Each is run once beforehand (compilation, caches), unless the caller has done that; then every round runs each once,
    in an order that rotates. After ``budget`` seconds no round is begun, but for the second: a median of one is none.
    """
    names = list(work)
    for name in names if warm_up else ():
        print(f"warming up: {name}", file=sys.stderr, flush=True)
        work[name]()
    timings = {name: Timing() for name in names}
    begun = time.perf_counter()
    for turn in range(rounds):
        if turn >= 2 and time.perf_counter() - begun > budget:
            break
        print(f"  round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            work[name]()
            timings[name].seconds.append(time.perf_counter() - start)
    return timings


def peak_memory(module: str, *arguments: str) -> list[float]:
    """What `python -m module arguments` prints in its last line: MB, in a process of its own (a peak never goes down)."""
    output = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    return [float(word) for word in output.stdout.strip().splitlines()[-1].split()]


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
