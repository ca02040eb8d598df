"""Whether memory stays flat when the work grows: the same method twice, each time in a process of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.timing import peak_memory


@dataclass(frozen=True)
class Growing:
    """A method with little and with much to do, as arguments of `benchmarks.memory`."""

    method: str
    what: str
    little: tuple[str, ...]
    much: tuple[str, ...]
    times: int


CASES: tuple[Growing, ...] = (
    Growing(
        "score_cam",
        "channels",
        ("batch_size=16", "max_channels=None", "--channels=64"),
        ("batch_size=16", "max_channels=None", "--channels=512"),
        8,
    ),
    Growing("rise", "masks", ("batch_size=16", "masks=128"), ("batch_size=16", "masks=1024"), 8),
    Growing("occlusion", "patches", ("patch=16", "stride=32"), ("patch=16", "stride=8"), 11),
    Growing("smooth_grad", "samples", ("samples=16",), ("samples=128",), 8),
    Growing("integrated_gradients", "steps", ("steps=16",), ("steps=128",), 8),
)


def flatness(names: list[str]) -> dict[str, tuple[Growing, float, float]]:
    """Method -> (case, peak MB with little to do, with much), of the methods asked for."""
    cases = [case for case in CASES if case.method in names]
    runs = [(case.method, *more, "--scene=one_convolution") for case in cases for more in (case.little, case.much)]
    with ThreadPoolExecutor(2) as pool:
        peaks = [peak for peak, _ in pool.map(lambda run: peak_memory("benchmarks.memory", *run), runs)]
    return {
        case.method: (case, *pair) for case, pair in zip(cases, zip(peaks[::2], peaks[1::2], strict=True), strict=True)
    }
