"""Memory of one method in a process of its own: `python -m benchmarks.memory score_cam max_channels=512`.

Prints two numbers in MB: the process's peak, and how much of it the method itself added to the loaded model. Options
after the method are its own, as Python literals. `--library Captum --calls LRP` runs another library's; `--scene
one_convolution` takes a network so small that what a method keeps shows, `--channels` its channels.
"""

from __future__ import annotations

import argparse
import ast
import ctypes
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.scene import convolutional_vgg16, one_convolution, vit_b16

_SCENES = {
    # Without VGG16's dense layers: after building them a process holds far more than their weights, and a method's
    # needs would hide in that.
    "convolutional_vgg16": lambda channels: convolutional_vgg16(size=224),
    "vit_b16": lambda channels: vit_b16(),
    "one_convolution": one_convolution,
}


def main(arguments: Sequence[str] | None = None) -> None:
    from benchmarks.methods import named

    options = _parser().parse_args(arguments)
    (method,) = named([options.method])
    network = {"vgg16": "convolutional_vgg16", "vit": "vit_b16"}[method.network]
    scene = _SCENES[options.scene or network](options.channels)
    settings = {**method.options, **dict(map(_setting, options.settings))}
    _ = scene.label  # runs the model once: TensorFlow's own buffers are no method's
    if options.library == "labutils":
        work = partial(method.run, scene, settings)
    else:
        work = _rival(options.library, options.calls, method.name).prepare(scene, settings)
    before = _forget_peak()
    work()
    peak = _peak()
    print(peak, peak - before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("method")
    parser.add_argument("settings", nargs="*", metavar="option=value")
    parser.add_argument("--library", default="labutils")
    parser.add_argument("--calls", help="what that library calls it")
    parser.add_argument("--scene", choices=_SCENES, help="by default the method's own network")
    parser.add_argument("--channels", type=int, default=64)
    return parser


def _setting(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    return name, ast.literal_eval(value)


def _rival(library: str, calls: str, method: str):
    from benchmarks.libraries import rivals_of

    found = [rival for lib, rival in rivals_of(method) if lib.name == library and rival.calls == calls]
    if not found:
        raise SystemExit(f"{library} has no {calls!r} for {method}, or is not installed")
    return found[0]


def _forget_peak() -> float:
    """Resident MB now; on Linux the process's peak starts again from here."""
    clear = Path("/proc/self/clear_refs")
    if sys.platform != "linux" or not clear.exists():
        return _peak()
    with suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not hide what the method needs
    clear.write_text("5")
    return _status("VmRSS")


def _peak() -> float:
    if Path("/proc/self/status").exists():
        return _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


if __name__ == "__main__":
    main()
