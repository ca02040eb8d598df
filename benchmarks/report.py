"""The measurements as a Markdown page."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from benchmarks.compare import LABUTILS, Row
from benchmarks.flatness import Growing
from benchmarks.growth import Growth
from benchmarks.libraries import LIBRARIES
from benchmarks.marks import MARKS, Findings
from benchmarks.methods import Options
from benchmarks.timing import machine
from benchmarks.waits import Wait


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def opening(command: str, rounds: int) -> str:
    versions = "; ".join(library.versions for library in LIBRARIES if library.packages and library.versions)
    absent = [library.name for library in LIBRARIES if library.versions == "not installed"]
    others = versions.replace("not installed; ", "").replace("; not installed", "")
    return "\n".join(
        [
            "# Benchmark results",
            "",
            f"Written by `{command}` on {datetime.date.today()}. {machine()}.",
            f"Beside: {others}." + (f" Not installed: {', '.join(absent)}." if absent else ""),
            "",
            f"Medians of up to {rounds} rounds, fewer of what takes long. All that is compared runs in",
            "turns in one process, each once beforehand. One forward pass is the whole model, a batch of one, compiled with",
            "`tf.function` and already traced; Captum's is its own, of a PyTorch network with the same weights.",
        ]
    )


def marks(findings: Findings) -> str:
    """The marks with their verdicts."""
    rows = []
    for mark in MARKS:
        values = mark.read(findings)
        median, fastest = ("", "") if values is None else (_significant(value) for value in values)
        rows.append((mark.what, mark.wanted, median, fastest, mark.verdict(findings)))
    return "## Marks\n\n" + table(("ratio", "mark", "median", "fastest", "verdict"), rows)


def comparison(rows: Sequence[Row], title: str, layer: str | None, options: dict[str, Options]) -> str:
    """Every method on one network, ours and theirs; without a layer none of them is a CAM."""
    ours = {row.method: row for row in rows if row.library == LABUTILS}
    body = [_line(row, ours[row.method]) for row in rows]
    work = "; ".join(f"{name} {_settings(settings)}" for name, settings in options.items() if settings)
    return "\n".join(
        [
            "## Side by side",
            "",
            f"{title}, random weights, one photo{f', layer `{layer}`' if layer else ''}. The work: {work or 'defaults'}.",
            "",
            "*Passes*: image-passes forwards + backwards, counted. *Memory*: MB that a first call adds at its peak to",
            f"the loaded model{' (VGG16: its convolutions with a dense layer)' if layer else ''}, in a process of its own. "
            "*Agreement*: rank",
            "correlation with our map and the largest difference of a pixel over our largest value; CAMs before resizing.",
            "Two frameworks sum in another order, and a near tie in a max-pooling can then fall to another pixel.",
            "",
            table(
                (
                    "method",
                    "by",
                    "s",
                    "fastest s",
                    "forward passes' time",
                    "times ours",
                    "passes",
                    "memory",
                    "agreement",
                    "",
                ),
                body,
            ),
        ]
    )


def _line(row: Row, ours: Row) -> tuple[str, ...]:
    by = "**labutils**" if row.library == LABUTILS else f"{row.library}: {row.calls}"
    memory = "" if row.memory is None else f"{row.memory:.0f}"
    if row.timing is None:
        return (row.method, by, "", "", "", "", "", memory, "", f"failed: {row.fails}")
    return (
        row.method,
        by,
        f"{row.timing.median:.3f}",
        f"{row.timing.fastest:.3f}",
        f"{row.timing.median / row.forward.median:.2f}",
        f"{row.timing.median / ours.timing.median:.2f}",
        row.passes,
        memory,
        "" if row.agreement is None else str(row.agreement),
        row.differs,
    )


def flat(found: dict[str, tuple[Growing, float, float]]) -> str:
    """Peak memory with little and with much to do."""
    rows = [
        (name, f"{case.times} times the {case.what}", f"{little:.0f}", f"{much:.0f}", f"{much / little:.2f}")
        for name, (case, little, much) in found.items()
    ]
    return "\n".join(
        [
            "## Memory when the work grows",
            "",
            "Peak of a process, in MB, on a network of one convolution.",
            "",
            table(("method", "work", "before", "after", "ratio"), rows),
        ]
    )


def growth(found: Sequence[Growth]) -> str:
    """A table an axis: seconds, and how often the first value's."""
    parts = ["## How cost grows", "", "Seconds, and in brackets how many times the first column's."]
    for grown in found:
        rows = [
            (name, *(f"{value:.3f} ({value / seconds[0]:.1f})" for value in seconds))
            for name, seconds in grown.seconds.items()
        ]
        parts += ["", f"**By {grown.axis.name}** ({grown.axis.note}).", ""]
        parts += [table(("method", *(str(value) for value in grown.axis.values)), rows)]
    return "\n".join(parts)


def waiting(found: Sequence[Wait]) -> str:
    """What a student waits for."""
    rows = [(wait.method, f"{wait.first:.2f}", f"{wait.next:.2f}") for wait in found]
    return "\n".join(
        [
            "## What a student waits for",
            "",
            "Seconds with the bundled network, one photo and the default options. The first call of a session compiles.",
            "",
            table(("method", "first call", "next call"), rows),
        ]
    )


def _settings(settings: Options) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items() if name != "seed")


def _significant(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.0e}"
