"""`python -m benchmarks.grading [--students 40] [--notebooks 01 ...] [--jobs 2] [--out DIR]`: is every mark as it must be?

Makes a class (`classroom`), grades it by the real command, twice into fresh folders and once more into the first, and
measures what that takes. Prints every mark that is not as expected; the exit status is then 1. A run of the whole class
on all notebooks writes its section of `RESULTS.md`; a smaller one only prints.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.classroom import KINDS, HandedIn, Material, classroom, hand_in, material
from benchmarks.report import table
from benchmarks.timing import machine
from labutils.course.grading.results import GradedNotebook
from labutils.course.grading.writing import one_line

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "RESULTS.md"
HEADING = "## Grading a class"
BESIDE = ("01", "04")
"""Notebooks that are graded by themselves too, beside a plain execution."""

SEED = 20_261_121
SECONDS = 20
"""The longest time for one answer: several times what the slowest right one takes, so that endless ones cost little."""

WHOLE_CLASS = sum(count for count, _ in KINDS.values())
AIM = 15
"""Seconds of one core that a notebook may take."""


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds on the clock, and of the processor in all its processes together."""

    wall: float
    cpu: float


class Memory:
    """The memory of a command's processes, looked at every few seconds while it runs (`with`). MB.

    ``peaks`` are the largest resident sizes of a process by how far it is below the command: 1 judges, 2 is what answers
    are forked from. ``shared`` are the sizes of everything at one time; pages that processes have in common count once.
    """

    def __init__(self, every: float = 3.0) -> None:
        self.peaks: Counter[int] = Counter()
        self.shared: list[float] = []
        self._every, self._done = every, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._done.wait(self._every):
            total, waiting = 0.0, [(0, child) for child in own.children()]
            while waiting:
                depth, process = waiting.pop()
                with contextlib.suppress(psutil.Error, OSError):
                    waiting += [(depth + 1, child) for child in process.children()]
                    held = process.memory_full_info()
                    total += getattr(held, "pss", held.uss) / 2**20
                    self.peaks[depth] = max(self.peaks[depth], round(held.rss / 2**20))
            self.shared.append(total)


# ---------------------------------------------------------------------------------------------------------------------
# Marks
# ---------------------------------------------------------------------------------------------------------------------


def unexpected(submissions: Iterable[HandedIn], out: Path) -> list[str]:
    """Every mark in a folder of grades that is not what the class was made for, and every row too few or too many."""
    with open(out / "grades.csv", newline="", encoding="utf-8") as file:
        rows = {(row["student"], row["exercise"]): row for row in csv.DictReader(file)}
    mistakes = {
        (notebook.student, result.exercise): result.mistake for notebook in results(out) for result in notebook.results
    }
    found = []
    for each in submissions:
        for exercise, expected in each.expected.items():
            key = each.student, exercise
            where = f"{each.student}, {exercise} ({each.how}): expected {expected.mark}"
            row = rows.pop(key, None)
            if row is None:
                found.append(f"{where}, found no row")
            elif row["verdict"] != expected.mark:
                found.append(f"{where}, found {row['verdict']}: {row['reason'][:200]}")
            elif expected.mistake not in ("", mistakes.get(key)):
                found.append(f"{where} for {expected.mistake}, found for {mistakes.get(key) or 'no known mistake'}")
            elif one_line(expected.words) not in row["reason"]:
                found.append(
                    f"{where} with {expected.words!r} as a part of its reason, which is {row['reason'][:200]!r}"
                )
    return found + [f"{student}, {exercise}: a row that nobody expected" for student, exercise in rows]


def results(out: Path) -> list[GradedNotebook]:
    """Every notebook that was opened for a folder of grades."""
    return [
        GradedNotebook.from_json(json.loads(path.read_bytes())) for path in sorted((out / "results").glob("*.json"))
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Costs
# ---------------------------------------------------------------------------------------------------------------------


def cost(work: Callable[[], object]) -> Cost:
    """What something took that does its work in processes of its own."""
    before, started = os.times(), time.perf_counter()
    work()
    wall, after = time.perf_counter() - started, os.times()
    return Cost(wall, sum(after[2:4]) - sum(before[2:4]))  # of children that have ended, and of theirs


def grade(submissions: Path, out: Path, notebooks: Sequence[str], jobs: int) -> Cost:
    """Grade a folder by the command that instructors use."""
    command = [sys.executable, "-m", "labutils", "grade", submissions, "--out", out, "--notebooks", *notebooks]
    options = ["--seed", SEED, "--jobs", jobs, "--seconds", SECONDS, "--course", ROOT]
    return cost(lambda: subprocess.run([str(part) for part in (*command, *options)], check=True))


def start() -> Cost:
    """Import all that answers need, in a process that is then asked for none."""
    command = [sys.executable, "-m", "labutils.course.grading.kernel"]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return cost(lambda: subprocess.run(command, env={**os.environ, "LABUTILS_WEIGHTS": "bundled"}, check=True, **quiet))


def execute(solution: bytes) -> Cost:
    """Run a perfect notebook from top to bottom in a kernel of its own, as nbgrader's autograde does."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.reads(solution.decode(), as_version=4)
    environment = {**os.environ, "LABUTILS_WEIGHTS": "bundled"}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}})
        return cost(lambda: client.execute(env=environment))


# ---------------------------------------------------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------------------------------------------------


def seconds_by(graded: Iterable[GradedNotebook], key: Callable[[GradedNotebook], str]) -> list[tuple[str, ...]]:
    """Rows of a table: how many notebooks, their median seconds and the most."""
    found = defaultdict(list)
    for notebook in graded:
        found[key(notebook)].append(notebook.seconds)
    return [
        (name, str(len(seconds)), f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}")
        for name, seconds in found.items()
    ]


def with_section(page: str, section: str) -> str:
    """A page with the section of this heading replaced, or added at its end."""
    heading = section.partition("\n")[0]
    old = re.compile(rf"^{re.escape(heading)}$.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    if old.search(page):
        return old.sub(lambda _: f"{section.rstrip()}\n\n", page).rstrip() + "\n"
    return f"{page.rstrip()}\n\n{section.rstrip()}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.out is not None:
        options.out.mkdir(parents=True)
        return _run(options, options.out)
    with tempfile.TemporaryDirectory() as folder:
        return _run(options, Path(folder))


def _run(options: argparse.Namespace, folder: Path) -> int:
    load = psutil.getloadavg()[0]
    materials = material(ROOT, options.notebooks)
    numbers = [each.name[:2] for each in materials]
    submissions = list(classroom(materials, options.students))
    hand_in(folder / "submissions", submissions)
    wrong, costs = [], {}
    with Memory() as memory:
        for turn in ("first", "second"):
            costs[turn] = grade(folder / "submissions", folder / turn, numbers, options.jobs)
            wrong += [f"{turn} time: {each}" for each in unexpected(submissions, folder / turn)]
    graded = results(folder / "first")
    costs["again"] = grade(folder / "submissions", folder / "first", numbers, options.jobs)
    if anew := len(results(folder / "first")) - len(graded):
        wrong.append(
            f"graded again, {anew} notebooks were not taken from the first time; was labutils changed meanwhile?"
        )
    if _grades(folder / "first") != _grades(folder / "second"):
        wrong.append("graded twice, grades.csv is not the same")
    section = "\n\n".join(
        [
            _opening(options, load, submissions, wrong),
            _whole(costs, memory, options.jobs, len(graded)),
            _by_kind(graded, submissions),
            _beside(folder / "beside", materials),
        ]
    )
    if (options.students, len(numbers)) == (WHOLE_CLASS, len(material(ROOT))):
        RESULTS.write_text(with_section(RESULTS.read_text(encoding="utf-8"), section), encoding="utf-8")
    print(section)
    print("\n".join(wrong) or "every mark is as expected", file=sys.stderr)
    return 1 if wrong else 0


def _grades(out: Path) -> bytes:
    return (out / "grades.csv").read_bytes()


def _opening(options: argparse.Namespace, load: float, submissions: list[HandedIn], wrong: list[str]) -> str:
    command = ["python", "-m", "benchmarks.grading"]
    command += ["--students", str(options.students)] if options.students != WHOLE_CLASS else []
    command += ["--notebooks", *options.notebooks] if options.notebooks else []
    kinds = Counter({each.student: each.kind for each in submissions}.values())
    marks = Counter(expected.mark for each in submissions for expected in each.expected.values())
    return "\n".join(
        [
            HEADING,
            "",
            f"From a run of its own, `{shlex.join([*command, '--jobs', str(options.jobs)])}`, on {datetime.date.today()}; "
            f"{machine()}; load average of other work when it began: {load:.1f}.",
            "",
            f"{_counted(kinds)}, made from the real notebooks so that each mark is known beforehand. {marks.total()} marks: "
            f"{_counted(marks)}. Graded twice into fresh folders and once more into the first, by `labutils grade --seed {SEED} "
            f"--seconds {SECONDS}`: **{len(wrong) or 'none'} of the marks not as expected"
            f"{'' if wrong else ', and the tables the same byte for byte'}**.",
        ]
    )


def _counted(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found.items())


def _whole(costs: Mapping[str, Cost], memory: Memory, jobs: int, opened: int) -> str:
    rows = [
        (what, f"{found.wall:.0f}", f"{found.cpu:.0f}", f"{found.wall / opened:.2f}", f"{found.cpu / opened:.2f}")
        for what, found in (("first", costs["first"]), ("second", costs["second"]), ("nothing changed", costs["again"]))
    ]
    worst = max(found.cpu / opened for found in costs.values())
    return "\n".join(
        [
            f"With `--jobs {jobs}`; {opened} notebooks had to be opened. Seconds of the processor are those of all processes "
            f"together. Aim: at most {AIM} of one core a notebook; {'met' if worst <= AIM else 'missed'}.",
            "",
            table(("run", "s", "processor s", "s a notebook", "processor s a notebook"), rows),
            "",
            f"Memory, looked at every few seconds: a process that judges had at most {memory.peaks[1]} MB, one that answers are "
            f"forked from {memory.peaks[2]} MB. Everything together, shared pages once, had "
            f"{statistics.median(memory.shared):.0f} MB in the median and {max(memory.shared):.0f} MB at most, which is while a "
            f"memory bomb fills what it may take.",
        ]
    )


def _by_kind(graded: Iterable[GradedNotebook], submissions: Iterable[HandedIn]) -> str:
    kinds = {each.student: each.kind for each in submissions}
    by_name = sorted(graded, key=lambda notebook: notebook.notebook)
    by_kind = sorted(by_name, key=lambda notebook: list(KINDS).index(kinds[notebook.student]))
    perfect = [notebook for notebook in by_name if kinds[notebook.student].startswith("perfect")]
    head = ("notebooks", "median s", "most s")
    return "\n".join(
        [
            "Seconds a notebook, on the clock, with others being graded beside it:",
            "",
            table(("kind", *head), seconds_by(by_kind, lambda notebook: kinds[notebook.student])),
            "",
            table(("perfect ones of", *head), seconds_by(perfect, lambda notebook: notebook.notebook)),
        ]
    )


def _beside(folder: Path, materials: Sequence[Material]) -> str:
    """One perfect notebook graded by itself, beside what nbgrader does: run it from top to bottom."""
    begin, rows = start(), []
    for each in materials:
        if each.name[:2] not in BESIDE:
            continue
        home = folder / each.name
        hand_in(home / "submissions", [HandedIn("perfect", "perfect", each.name, "", each.solution, {})])
        ours = grade(home / "submissions", home / "grades", [each.name[:2]], 1)
        (notebook,) = results(home / "grades")
        theirs, exercises = execute(each.solution), len(each.exercises)
        rows.append(
            (
                each.name,
                *(f"{seconds:.1f}" for seconds in (ours.wall, ours.cpu, notebook.seconds, theirs.wall, theirs.cpu)),
                f"{ours.cpu / theirs.cpu:.2f}",
                f"{notebook.seconds / theirs.wall:.2f}",
                f"{exercises} x {begin.wall:.1f} = {exercises * begin.wall:.0f}",
            )
        )
    head = (
        "one perfect notebook",
        "the command, s",
        "its processor s",
        "of it grading, s",
        "executed, s",
        "its processor s",
        "ratio, processor",
        "ratio, grading / executed",
        "imports an answer, s",
    )
    return "\n".join(
        [
            "By itself, beside the alternative: *executed* is the same notebook run from top to bottom by nbclient, as "
            "nbgrader's autograde does, with nothing isolated, one set of cases, and all that follows a mistake lost. "
            f"Importing all that answers need takes {begin.wall:.1f} s ({begin.cpu:.1f} of the processor), once for each of the "
            "`--jobs`; *imports an answer* is what it would cost to do so for each exercise.",
            "",
            table(head, rows),
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.grading", description=__doc__.splitlines()[0].partition(": ")[2]
    )
    parser.add_argument("--students", type=int, default=WHOLE_CLASS, help=f"students of the class ({WHOLE_CLASS})")
    parser.add_argument("--notebooks", nargs="+", default=[], metavar="NN", help="notebooks by number (all)")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at once (2)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new folder in which the class and its grades stay")
    return parser


if __name__ == "__main__":
    sys.exit(main())
