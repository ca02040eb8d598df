"""What a student waits for: every method of a convolutional network with its default options, on one photo."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.methods import METHODS, Options
from benchmarks.scene import bundled

QUICK: Mapping[str, Options] = {
    "rise": {"masks": 200},
    "occlusion": {"stride": 32},
    "maximize_activation": {"steps": 8},
}


@dataclass(frozen=True)
class Wait:
    """Seconds of the first call, which traces and compiles, and of the next."""

    method: str
    first: float
    next: float


def waits(names: list[str], quick: bool) -> list[Wait]:
    """Measure the methods asked for; a quick run gives those that take longest less to do."""
    from labutils import explain

    scene = bundled()
    found = []
    for method in METHODS:
        if method.name not in names or method.network != "vgg16":
            continue
        print(f"bundled: {method.name}", file=sys.stderr, flush=True)
        options = dict(QUICK.get(method.name, {})) if quick else {}
        if "seed" in inspect.signature(getattr(explain, method.name)).parameters:
            options["seed"] = 0
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            method.run(scene, options)
            seconds.append(time.perf_counter() - start)
        found.append(Wait(method.name, *seconds))
    return found
