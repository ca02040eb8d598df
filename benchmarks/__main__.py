"""`python -m benchmarks [--quick] [--only NAME ...] [--rounds 5]`: every method beside what one would take instead.

Everything runs on one model and one photo in one run; see `methods.py` for what is measured and `libraries` for whom it
is measured beside. A full run writes `RESULTS.md` and the picture; a quick or partial one only prints, unless `--out`
says where to.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from subprocess import CalledProcessError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks import occlusion, report
from benchmarks.compare import LABUTILS, Row, compare
from benchmarks.figure import draw
from benchmarks.flatness import flatness
from benchmarks.growth import grow
from benchmarks.marks import Findings
from benchmarks.methods import METHODS, Method, Options, named
from benchmarks.scene import scene_of
from benchmarks.timing import peak_memory
from benchmarks.waits import waits

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "RESULTS.md"
PICTURE = ROOT / "docs" / "pictures" / "growth.png"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    # Other libraries remark at every call on how they are used, or on how they use Keras and TensorFlow.
    warnings.filterwarnings("ignore", category=UserWarning)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    begun = time.perf_counter()
    try:
        chosen = named(options.only)
    except ValueError as error:
        sys.exit(str(error))
    findings = Findings()
    with redirect_stdout(sys.stderr):  # progress bars of other libraries
        sections = _measure(findings, chosen, options)
    command = shlex.join(["python", "-m", "benchmarks", *(sys.argv[1:] if arguments is None else arguments)])
    minutes = (time.perf_counter() - begun) / 60
    head = f"{report.opening(command, options.rounds)} The run took {minutes:.0f} minutes."
    page = "\n\n".join([head, report.marks(findings), *sections]) + "\n"
    out = options.out or (RESULTS if not options.quick and options.only is None else None)
    if out is not None:
        out.write_text(page, encoding="utf-8")
    print(page)


def _measure(findings: Findings, chosen: list[Method], options: argparse.Namespace) -> list[str]:
    """Every part of the run in turn; the page's sections."""
    names = [method.name for method in chosen]
    settings = {method.name: method.chosen(options.quick) for method in chosen}
    for method in chosen:
        scene = scene_of(method.network, options.quick)
        findings.rows += compare(method, scene, settings[method.name], 1 if options.quick else options.rounds)
    waited = [report.waiting(found)] if (found := waits(names, options.quick)) else []
    if options.quick:
        return [*_side_by_side(findings, chosen, settings, quick=True), *waited]

    add_memory(findings.rows)
    sections = _side_by_side(findings, chosen, settings, quick=False)
    if "occlusion" in names:
        print("occlusion, 729 positions", file=sys.stderr, flush=True)
        measured = occlusion.measure(min(options.rounds, 3))
        for other in occlusion.LIMITS:
            findings.numbers[other] = measured.ratio(other), measured.ratio(other, "fastest")
        findings.numbers["occlusion error"] = measured.error, measured.error
        sections.append(f"## Occlusion at full size\n\n{occlusion.report(measured)}".strip())
    if flat := flatness(names):
        findings.numbers.update({f"memory {name}": (much / little,) * 2 for name, (_, little, much) in flat.items()})
        sections.append(report.flat(flat))
    if grown := grow(names):
        sections.append(report.growth(grown))
        if options.only is None:
            draw(grown, PICTURE)
    return [*sections, *waited]


def _side_by_side(findings: Findings, chosen: list[Method], settings: dict[str, Options], *, quick: bool) -> list[str]:
    """A table for each network."""
    sections = []
    for network in dict.fromkeys(method.network for method in chosen):
        names = {method.name for method in chosen if method.network == network}
        scene = scene_of(network, quick)
        rows = [row for row in findings.rows if row.method in names]
        work = {name: options for name, options in settings.items() if name in names}
        sections.append(report.comparison(rows, scene.title, scene.layer, work))
    return sections


def add_memory(rows: list[Row]) -> None:
    """What each row's work adds to the loaded model, each in a process of its own, two at a time."""

    def measure(row: Row) -> float | None:
        other = [] if row.library == LABUTILS else ["--library", row.library, "--calls", row.calls]
        print(f"memory: {row.library} {row.calls}", file=sys.stderr, flush=True)
        try:
            return peak_memory("benchmarks.memory", row.method, *other)[1]
        except CalledProcessError:
            return None

    with ThreadPoolExecutor(2) as pool:
        ran = [row for row in rows if row.timing is not None and row.library != "by hand"]
        for row, added in zip(ran, pool.map(measure, ran), strict=True):
            row.memory = added


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    names = ", ".join(method.name for method in METHODS)
    parser.add_argument("--quick", action="store_true", help="one round of less work, and no growth: two minutes")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"these methods alone: {names}")
    parser.add_argument("--rounds", type=int, help="how often each thing is measured, at most", default=5)
    parser.add_argument("--out", type=Path, help="where to write the page")
    return parser


if __name__ == "__main__":
    main()
