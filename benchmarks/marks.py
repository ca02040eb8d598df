"""What the ratios must reach, as data, with the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import occlusion
from benchmarks.compare import FORWARD, LABUTILS, Row
from benchmarks.libraries.by_hand import PASSES
from benchmarks.libraries.vit_keras import CALLS
from benchmarks.timing import Timing


@dataclass
class Findings:
    """What a run has measured: rows of the comparison, and other numbers by name, each as (median, fastest)."""

    rows: list[Row] = field(default_factory=list)
    numbers: dict[str, tuple[float, float]] = field(default_factory=dict)

    def timings(self, method: str) -> dict[str, Timing]:
        """A method's timings: `LABUTILS`, `FORWARD`, and every rival as `library calls`."""
        found: dict[str, Timing] = {}
        for row in self.rows:
            if row.method == method and row.timing is not None:
                found[LABUTILS if row.library == LABUTILS else f"{row.library} {row.calls}"] = row.timing
                if row.library == LABUTILS:
                    found[FORWARD] = row.forward
        return found


@dataclass(frozen=True)
class Mark:
    """A number that must stay on one side of a limit.

    Attributes
    ----------
    what : str
        What a table calls it.
    limit : float
        The limit, and with `at_most` False the least that is enough.
    read : callable
        Findings -> (median, fastest), or None where it was not measured.
    """

    what: str
    limit: float
    read: Callable[[Findings], tuple[float, float] | None]
    at_most: bool = True

    @property
    def wanted(self) -> str:
        return f"at {'most' if self.at_most else 'least'} {self.limit:g}"

    def verdict(self, findings: Findings) -> str:
        """On the median; the fastest round decides nothing, but shows what a busy machine hides."""
        values = self.read(findings)
        if values is None:
            return "not measured"
        met = [value <= self.limit if self.at_most else value >= self.limit for value in values]
        return "met" if met[0] else "missed, met by the fastest round" if met[1] else "missed"


def ratio(method: str, above: str, below: str) -> Callable[[Findings], tuple[float, float] | None]:
    """Of two things that were timed in the same turns."""

    def read(findings: Findings) -> tuple[float, float] | None:
        timings = findings.timings(method)
        if above not in timings or below not in timings:
            return None
        top, bottom = timings[above], timings[below]
        return top.median / bottom.median, top.fastest / bottom.fastest

    return read


def number(name: str) -> Callable[[Findings], tuple[float, float] | None]:
    """A number that another part of the run has measured."""
    return lambda findings: findings.numbers.get(name)


MARKS: tuple[Mark, ...] = (
    Mark("cam_family / forward", 1.3, ratio("cam_family", LABUTILS, FORWARD)),
    Mark("saliency / forward", 2.4, ratio("saliency", LABUTILS, FORWARD)),
    Mark(
        "tf-keras-vis SmoothGrad / smooth_grad",
        1.7,
        ratio("smooth_grad", "tf-keras-vis SmoothGrad", LABUTILS),
        at_most=False,
    ),
    Mark("score_cam / its masks' forward passes", 1.15, ratio("score_cam", LABUTILS, f"by hand {PASSES}")),
    Mark("attention_rollout / forward", 1.3, ratio("attention_rollout", LABUTILS, FORWARD)),
    Mark("gradient_rollout / forward", 4, ratio("gradient_rollout", LABUTILS, FORWARD)),
    Mark(
        "vit-keras attention_map / attention_rollout",
        2,
        ratio("attention_rollout", f"vit-keras {CALLS}", LABUTILS),
        at_most=False,
    ),
    Mark("ablation_cam, 512 channels / forward", 10, ratio("ablation_cam", LABUTILS, FORWARD)),
    Mark(
        "occlusion, 729 positions: batched full recomputation / ours",
        occlusion.LIMITS[occlusion.FULL],
        number(occlusion.FULL),
        at_most=False,
    ),
    Mark(
        "occlusion, 729 positions: a model.predict each / ours",
        occlusion.LIMITS[occlusion.PREDICT],
        number(occlusion.PREDICT),
        at_most=False,
    ),
    Mark(
        "occlusion, largest difference of a logit / largest logit", occlusion.LARGEST_ERROR, number("occlusion error")
    ),
    Mark("score_cam, peak memory of 512 channels / of 64", 1.1, number("memory score_cam")),
    Mark("rise, peak memory of 1024 masks / of 128", 1.1, number("memory rise")),
    Mark("occlusion, peak memory of 729 patches / of 64", 1.1, number("memory occlusion")),
)
