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
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from labutils.course.display import HEADINGS, LOOKS, marked
from labutils.course.exercise import Exercise
from labutils.course.grading.course_notebook import CourseNotebook, Role
from labutils.course.grading.results import GradedNotebook, Mark
from labutils.course.grading.summary import (
    HandMarks,
    Outcome,
    StudentOutcome,
    by_exercise,
    by_student,
    misconceptions,
    ratio,
    unnamed,
)
from labutils.course.grading.writing import caseless, explanation, one_line, told, traceback_of, trimmed, write_whole

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

FEEDBACK_FOLDER = "feedback"
"""Where the overview expects the feedback pages: in this folder beside it."""


@dataclass(frozen=True)
class Look:
    """How a mark is shown: never by its colour alone."""

    words: str
    sign: str
    colour: str


_WORDS = HEADINGS | {
    Mark.NOT_ATTEMPTED: "not attempted",
    Mark.STOPPED: "your code was stopped",
    Mark.MISSING: "its cell is missing from your notebook",
    Mark.NOT_CODE: "its cell is no longer a code cell",
    Mark.UNREADABLE: "the file could not be read as a notebook",
    Mark.NOT_HANDED_IN: "not handed in",
}
_SIGNS = LOOKS | {Mark.STOPPED: ("\u25a0", LOOKS[Mark.RAISED][1])}
_ABSENT = ("\u2013", LOOKS[Mark.NOT_ATTEMPTED][1])

MARK_LOOKS = {mark: Look(_WORDS[mark], *_SIGNS.get(mark, _ABSENT)) for mark in Mark}


def write_feedback(
    folder: Path, graded: Sequence[GradedNotebook], courses: Mapping[str, CourseNotebook], marks: HandMarks
) -> list[Path]:
    """Write ``folder/<student>.html`` (`page_names`) for every student, and say which files these are."""
    students = by_student(graded, courses, marks)
    template = _environment(courses).get_template("feedback.html.jinja")
    names = page_names(student.name for student in students)
    for student in students:
        write_whole(folder / names[student.name], template.render(student=student))
    return [folder / names[student.name] for student in students]


def write_overview(
    path: Path,
    graded: Sequence[GradedNotebook],
    courses: Mapping[str, CourseNotebook],
    marks: HandMarks,
    notes: Sequence[str] = (),
) -> None:
    """Write the page over the whole class; its links expect the feedback pages in `FEEDBACK_FOLDER` beside it.

    ``notes`` are on the folder of submissions: what lies there and was not graded.
    """
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
        unnamed=unnamed(students),
        notes=notes,
        slowest=_slowest(students),
        seconds=sum(outcome.result.seconds for student in students for outcome in student.outcomes),
    )
    write_whole(path, page)


def page_names(students: Iterable[str]) -> dict[str, str]:
    """Student -> the name of the student's page: the student's own with ``.html``, where every file system takes it.

    Another name gets what is plain of it and eight digits, as do names that some file systems take for one (Ann, ann).
    """
    students = list(students)
    alike = Counter(map(caseless, students))
    return {
        student: f"{student}.html" if _is_file_name(student) and alike[caseless(student)] == 1 else _safe_name(student)
        for student in students
    }


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
        loader=jinja2.PackageLoader(__package__, ""),
    )
    environment.filters |= {
        "trimmed": trimmed,
        "line": one_line,
        "explanation": explanation,
        "told": told,
        "traceback": traceback_of,
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
        "title_of": lambda name: _title(courses[name]),
        "section_of": lambda name, exercise_id: _section(courses[name], exercise_id),
        "heading_of": lambda name, task: _heading_above(courses[name], task),
        "advice": _advice,
    }
    return environment


def _with_code(text: str) -> Markup:
    """The text as a check shows it."""
    from markupsafe import Markup

    return Markup(marked(str(text)))


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


def _slowest(students: Sequence[StudentOutcome]) -> list[tuple[StudentOutcome, Outcome]]:
    every = ((student, outcome) for student in students for outcome in student.outcomes if outcome.result.seconds)
    return sorted(every, key=lambda each: -each[1].result.seconds)[:10]
