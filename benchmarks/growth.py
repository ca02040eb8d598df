"""How cost grows: with image size, classes, batch and patches."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.compare import FORWARD
from benchmarks.methods import Options, named
from benchmarks.scene import Scene, convolutional_vgg16, keras_vgg16

_LIGHT: Mapping[str, Options] = {"cam_family": {}, "saliency": {}, "lrp": {"composite": "epsilon_gamma_box"}}
_ALL: Mapping[str, Options] = {
    **_LIGHT,
    "ablation_cam": {},
    "score_cam": {"max_channels": 16},
    "occlusion": {"patch": 32, "stride": 32},
}
_STRIDES = {64: 32, 196: 16, 729: 8}
"""Number of patches of 16 x 16 on 224 x 224 -> the stride that gives it."""


@dataclass(frozen=True)
class Axis:
    """One thing that grows.

    Attributes
    ----------
    name : str
        What a table calls it.
    values : tuple of int
    scene : callable
        value -> Scene.
    methods : mapping
        Method -> the options that stay.
    options : callable
        value -> the options that it changes.
    note : str
        On which model.
    """

    name: str
    values: tuple[int, ...]
    scene: Callable[[int], Scene]
    methods: Mapping[str, Options]
    note: str
    options: Callable[[int], Options] = lambda value: {}


@dataclass
class Growth:
    """Seconds, method -> one entry a value of the axis."""

    axis: Axis
    seconds: dict[str, list[float]] = field(default_factory=dict)


AXES: tuple[Axis, ...] = (
    Axis(
        "image size",
        (64, 128, 224),
        lambda size: convolutional_vgg16(size=size),
        _ALL,
        "VGG16's convolutions with global average pooling and a dense layer of 100 classes",
    ),
    Axis(
        "classes",
        (10, 100, 1000),
        lambda classes: keras_vgg16(size=64, classes=classes),
        _LIGHT,
        "VGG16 at 64 x 64",
    ),
    Axis(
        "batch",
        (1, 4, 8),
        lambda batch: convolutional_vgg16(size=128, batch=batch),
        _LIGHT,
        "VGG16's convolutions at 128 x 128; seconds a batch",
    ),
    Axis(
        "occlusion patches",
        tuple(_STRIDES),
        lambda patches: keras_vgg16(),
        {"occlusion": {"patch": 16}},
        "VGG16 at 224 x 224, patch 16, stride 32, 16 and 8",
        lambda patches: {"stride": _STRIDES[patches]},
    ),
)


def grow(names: list[str], axes: Sequence[Axis] = AXES) -> list[Growth]:
    """Measure every axis for the methods asked for."""
    found = []
    for axis in axes:
        growth = Growth(axis)
        methods = [method for method in named(list(axis.methods)) if method.name in names]
        if not methods:
            continue
        for value in axis.values:
            print(f"{axis.name} {value}", file=sys.stderr, flush=True)
            scene = axis.scene(value)
            work = {FORWARD: lambda scene=scene: scene.forward(scene.images)}
            for method in methods:
                options = {**axis.methods[method.name], **axis.options(value)}
                work[method.name] = lambda method=method, scene=scene, options=options: method.run(scene, options)
            for name, run in work.items():
                growth.seconds.setdefault(name, []).append(_seconds(run))
        found.append(growth)
    return found


def _seconds(run: Callable[[], object], rounds: int = 3) -> float:
    """The median of a few rounds after a first one; of what takes long, of fewer."""
    run()
    seconds: list[float] = []
    while len(seconds) < rounds and (sum(seconds) < 8.0 or not seconds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
