"""The pages of a graded class: one for each student with what to do next, one for the instructor over all of them.

Everything on them may have been written by a student, so everything is escaped, nothing is a link but the overview's to
the feedback pages, and a content security policy forbids scripts and anything from elsewhere.
"""

from __future__ import annotations

import functools
import hashlib
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labutils.course.display import HEADINGS, LOOKS
from labutils.course.exercise import Exercise
from labutils.course.grading.course_notebook import CourseNotebook, Role
from labutils.course.grading.results import GradedNotebook, Mark
from labutils.course.grading.summary import (
    HandMarks,
    NotebookOutcome,
    StudentOutcome,
    by_exercise,
    by_student,
    misconceptions,
    ratio,
)
from labutils.course.grading.writing import clean, explanation, one_line, trimmed, write_whole

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

FEEDBACK_FOLDER = "feedback"
"""Where the overview expects the feedback pages: in this folder beside it."""


@dataclass(frozen=True)
class Look:
    """How a mark is shown: never by its colour alone."""

    sign: str
    words: str
    colour: str


_STOPPED, _ABSENT = ("\u25a0", "#d64545"), ("\u2013", LOOKS["not attempted"][1])

MARK_LOOKS = {
    Mark.PASSED: Look(LOOKS["passed"][0], HEADINGS[Mark.PASSED], LOOKS["passed"][1]),
    Mark.WRONG: Look(LOOKS["wrong"][0], HEADINGS[Mark.WRONG], LOOKS["wrong"][1]),
    Mark.RAISED: Look(LOOKS["raised"][0], HEADINGS[Mark.RAISED], LOOKS["raised"][1]),
    Mark.STOPPED: Look(_STOPPED[0], "your code was stopped", _STOPPED[1]),
    Mark.NOT_ATTEMPTED: Look(LOOKS["not attempted"][0], "not attempted", LOOKS["not attempted"][1]),
    Mark.MISSING: Look(_ABSENT[0], "its cell is missing from your notebook", _ABSENT[1]),
    Mark.NOT_CODE: Look(_ABSENT[0], "its cell is no longer a code cell", _ABSENT[1]),
    Mark.UNREADABLE: Look(_ABSENT[0], "the file could not be read as a notebook", _ABSENT[1]),
    Mark.NOT_HANDED_IN: Look(_ABSENT[0], "not handed in", _ABSENT[1]),
    Mark.CHECK_FAILED: Look(LOOKS["check failed"][0], HEADINGS[Mark.CHECK_FAILED], LOOKS["check failed"][1]),
}


def write_feedback(
    folder: Path, graded: Sequence[GradedNotebook], courses: Mapping[str, CourseNotebook], marks: HandMarks
) -> list[Path]:
    """Write ``folder/<student>.html`` (`page_names`) for every student, and say which files these are."""
    template = _environment(courses).get_template("feedback.html.jinja")
    students, paths = by_student(graded, courses, marks), []
    names = page_names(student.name for student in students)
    for student in students:
        paths.append(folder / names[student.name])
        write_whole(paths[-1], template.render(student=student))
    return paths


def write_overview(
    path: Path, graded: Sequence[GradedNotebook], courses: Mapping[str, CourseNotebook], marks: HandMarks
) -> None:
    """Write the page over the whole class; its links expect the feedback pages in `FEEDBACK_FOLDER` beside it."""
    students = by_student(graded, courses, marks)
    template = _environment(courses).get_template("overview.html.jinja")
    names = page_names(student.name for student in students)
    page = template.render(
        students=students,
        link=lambda name: quote(f"{FEEDBACK_FOLDER}/{names[name]}"),
        mean=statistics.mean(student.share for student in students) if students else 0,
        median=statistics.median(student.share for student in students) if students else 0,
        tenths=_tenths(students),
        figures=by_exercise(students),
        misconceptions=misconceptions(students),
        slowest=_slowest(students),
        seconds=sum(outcome.result.seconds for student in students for outcome in student.outcomes),
    )
    write_whole(path, page)


def page_names(students: Iterable[str]) -> dict[str, str]:
    """Student -> the name of the student's page: the student's own with ``.html``, where every file system takes it.

    Another name gets what is plain of it and eight digits, as do names that some file systems take for one (Ann, ann).
    """
    students = list(students)
    alike = Counter(_alike(student) for student in students)
    return {
        student: f"{student}.html" if _is_file_name(student) and alike[_alike(student)] == 1 else _safe_name(student)
        for student in students
    }


def _alike(name: str) -> str:
    return unicodedata.normalize("NFKD", name).casefold()


def _is_file_name(name: str) -> bool:
    """Whether a name is one on every system: short, of letters, digits and a few signs, and no device of Windows."""
    return (
        len(name.encode("utf-8", "surrogatepass")) <= 200
        and unicodedata.is_normalized("NFC", name)
        and re.fullmatch(r"\w(?:[\w ()+,@'-]|\.(?=\w))*(?<! )", name) is not None
        and not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*-[0-9a-f]{8}", name)
    )


def _safe_name(student: str) -> str:
    plain = unicodedata.normalize("NFKD", student).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60]
    digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain or 'student'}-{digest}.html"


def _environment(courses: Mapping[str, CourseNotebook]) -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_template),
    )
    environment.filters |= {
        "clean": clean,
        "trimmed": lambda text: trimmed(clean(text)),
        "line": one_line,
        "explanation": explanation,
        "with_code": _with_code,
        "percent": lambda share: f"{100 * share:.0f} %",
        "seconds": _seconds,
        "number": lambda value: f"{value:g}",
        "points": lambda count: f"{count:g} {'point' if count == 1 else 'points'}",
        "in_words": lambda name: name.replace("_", " "),
    }
    environment.globals |= {
        "Mark": Mark,
        "looks": MARK_LOOKS,
        "ratio": ratio,
        "title_of": lambda name: _title(courses[name]) if name in courses else name,
        "section_of": lambda name, task: _section(courses[name], task) if name in courses else "",
        "heading_of": lambda name, task: _heading_above(courses[name], task),
        "advice": _advice,
    }
    return environment


def _template(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _with_code(text: str) -> Markup:
    """The text, escaped, with what stands in backticks as code, as `labutils.course.display` shows it."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text))))


def _seconds(seconds: float) -> str:
    if seconds >= 600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _title(course: CourseNotebook) -> str:
    """The notebook's own first heading: "02 · Class activation maps: where in the photo?"."""
    texts = (cell.source for cell in course.cells if cell.role is Role.TEXT)
    return next((text for markdown in texts for level, text in _headings(markdown) if level == 1), course.name)


@functools.lru_cache(maxsize=1024)
def _section(course: CourseNotebook, exercise_id: str) -> str:
    """The headings under which an exercise stands, without its own: "2 · Grad-CAM by hand, Step 5: scale"."""
    section = below = ""
    for cell in course.cells:
        if cell.task == exercise_id and cell.role is Role.EXERCISE:
            break
        for level, text in _headings(cell.source) if cell.role is Role.TEXT else ():
            if level == 2:
                section, below = text, ""
            elif level == 3 and not text.startswith(("TODO ", "Think: ")):
                below = text
    return ", ".join(filter(None, (section, below)))


@functools.lru_cache(maxsize=1024)
def _heading_above(course: CourseNotebook, task: str) -> str:
    """A think task's own heading: "What the ReLU throws away"."""
    heading = task
    for cell in course.cells:
        if cell.task == task:
            break
        if cell.role is Role.TEXT:
            heading = next((text for _, text in reversed(list(_headings(cell.source)))), heading)
    heading = heading.removeprefix("Think: ")
    return heading[:1].upper() + heading[1:]


def _headings(markdown: str) -> Iterator[tuple[int, str]]:
    fenced = False
    for line in markdown.splitlines():
        fenced ^= line.startswith("```")
        if not fenced and (heading := re.match(r"(#{1,6}) +(.+)", line)):
            yield len(heading[1]), heading[2].strip()


def _advice(exercise: Exercise, mark: Mark) -> str:
    """What to do about an exercise that is not passed; "" where there is nothing that a student could do."""
    if mark is Mark.CHECK_FAILED:
        return ""
    if mark in (Mark.UNREADABLE, Mark.NOT_HANDED_IN, Mark.MISSING, Mark.NOT_CODE):
        return "take a fresh copy of the notebook, put your code into its cell, and check it there"
    return f'ask for a hint in the notebook with `hint("{exercise.id}")`'


def _tenths(students: Sequence[StudentOutcome]) -> list[tuple[str, int]]:
    """How many students reached 0 to 9 %, 10 to 19 % ... and 90 to 100 % of the points."""
    counts = [0] * 10
    for student in students:
        counts[min(10 * student.total // student.max_total if student.max_total else 0, 9)] += 1
    return [(f"{10 * tenth} to {10 * tenth + 9 + (tenth == 9)} %", count) for tenth, count in enumerate(counts)]


def _slowest(students: Sequence[StudentOutcome]) -> list[tuple[StudentOutcome, NotebookOutcome, Any]]:
    every = (
        (student, notebook, outcome)
        for student in students
        for notebook in student.notebooks
        for outcome in notebook.outcomes
        if outcome.result.seconds
    )
    return sorted(every, key=lambda each: -each[2].result.seconds)[:10]
