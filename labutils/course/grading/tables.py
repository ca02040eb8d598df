"""The tables of a graded class: `grades.csv`, `students.csv`, and `think_tasks.csv`, in which instructors mark by hand.

Much of what stands in them was written by students. A cell that a spreadsheet would take for a formula (it begins with
``= + - @``, a tab or a carriage return, or such a sign follows a line's end or a semicolon, at which some spreadsheets
split) therefore gets an apostrophe before that sign; `read_think_marks` takes it away again.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from labutils.course.grading.course_notebook import CourseNotebook
from labutils.course.grading.results import GradedNotebook, Result
from labutils.course.grading.summary import HandMark, HandMarks, by_student, hand_mark_key
from labutils.course.grading.writing import clean, explanation, one_line, told, trimmed, write_whole

GRADE_COLUMNS = ("student", "notebook", "exercise", "points", "max_points", "verdict", "reason")
THINK_COLUMNS = ("student", "notebook", "task", "max_points", "points", "comment", "answer")

ANSWER_CHANGED = "(answer changed since it was marked)"

# The full-width signs are formulas to spreadsheets set to Chinese or Japanese.
_SIGN = r"'*[^\S\n]*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]"
_FORMULA = re.compile(rf"(^|;)(?={_SIGN})", re.MULTILINE)
_DEFUSED = re.compile(rf"(^|;)'(?={_SIGN})", re.MULTILINE)


def write_grades(path: Path, graded: Sequence[GradedNotebook]) -> None:
    """One row for every student and exercise, with `GRADE_COLUMNS`; of a traceback only its last line, the error."""
    rows = [
        (
            one_line(student.name),
            notebook.name,
            outcome.exercise.id,
            outcome.points,
            outcome.exercise.points,
            str(outcome.result.mark),
            _reason(outcome.result),
        )
        for student in by_student(graded, {}, {})
        for notebook in student.notebooks
        for outcome in notebook.outcomes
    ]
    _write(path, GRADE_COLUMNS, rows)


def write_students(
    path: Path, graded: Sequence[GradedNotebook], courses: Mapping[str, CourseNotebook], marks: HandMarks
) -> None:
    """One row a student: points of each notebook, their total, what was marked by hand, and why to look at the work.

    ``total`` holds the exercises alone; ``by_hand`` the think tasks, of which ``not_marked`` still wait.
    """
    students = by_student(graded, courses, marks)
    notebooks = [notebook.name for notebook in students[0].notebooks] if students else []
    columns = ["student", *notebooks, "total", "max_total", "share", "passed"]
    columns += ["by_hand", "max_by_hand", "not_marked", "look"]
    rows = [
        (
            one_line(student.name),
            *(notebook.points for notebook in student.notebooks),
            student.total,
            student.max_total,
            f"{student.share:.3f}",
            student.passed,
            f"{student.by_hand:g}",
            f"{student.max_by_hand:g}",
            student.open_thinks,
            "; ".join(student.look),
        )
        for student in students
    ]
    _write(path, columns, rows)


def write_think_tasks(path: Path, graded: Sequence[GradedNotebook], courses: Mapping[str, CourseNotebook]) -> None:
    """One row for every student and think task, to be marked by hand: fill in ``points`` and ``comment``.

    What is in the file already is kept, also for students who are not in ``graded``; the comment says so where the
    answer has changed since. `ValueError` where the file cannot be understood; it is then left as it is.
    """
    marks = read_think_marks(path) if path.exists() else {}
    kept, rows = set(), []
    for student in by_student(graded, courses, marks):
        for notebook in student.notebooks:
            for think in notebook.thinks:
                answer = trimmed(think.answer.strip())
                mark = _up_to_date(think.mark, answer, think.max_points)
                rows.append((one_line(student.name), notebook.name, think.task, *_columns_of(mark)))
                kept.add(id(think.mark))
    others = {key: mark for key, mark in marks.items() if id(mark) not in kept and _is_marked(mark)}
    rows += [(*key, *_columns_of(mark)) for key, mark in others.items()]
    # The byte order mark tells Excel that this is UTF-8: the file is there to be opened in a spreadsheet.
    _write(path, THINK_COLUMNS, rows, encoding="utf-8-sig")


def read_think_marks(path: Path) -> dict[tuple[str, str, str], HandMark]:
    """The marks of a `think_tasks.csv`, also after a spreadsheet has saved it its own way.

    Columns may be moved or added, the separator be a semicolon or a tab, a number have a decimal comma.

    Returns
    -------
    dict
        (student, notebook, think task) -> `HandMark`, for every row.

    Raises
    ------
    ValueError
        Naming the row: points that are no number from 0 to the task's, a row twice, a column missing.
    """
    text = _decoded(path.read_bytes())
    heading = text.split("\n", 1)[0]
    separator = max(",;\t", key=heading.count)
    marks: dict[tuple[str, str, str], HandMark] = {}
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restval="")
        absent = [name for name in THINK_COLUMNS if name not in (reader.fieldnames or ())]
        if absent:
            raise ValueError(f"{path.name} has no column {', '.join(absent)}; its first row must name {THINK_COLUMNS}")
        for row in reader:
            if not any(row[name].strip() for name in THINK_COLUMNS):
                continue
            where = f"{path.name}, line {reader.line_num} ({row['student']}, {row['task']})"
            key = hand_mark_key(_undefused(row["student"]), row["notebook"].strip(), row["task"].strip())
            if key in marks:
                raise ValueError(f"{where}: this student and task stand there twice; remove one of the rows")
            marks[key] = _hand_mark(row, where)
    except csv.Error as error:
        raise ValueError(f"{path.name} cannot be read as a table: {error}") from None
    return marks


def _reason(result: Result) -> str:
    return one_line(told(explanation(result.reason)))


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], encoding: str = "utf-8") -> None:
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(columns)
    writer.writerows([_defused(value) for value in row] for row in rows)
    write_whole(path, table.getvalue(), encoding)


def _defused(value: object) -> object:
    return _FORMULA.sub(r"\1'", clean(value)) if isinstance(value, str) else value


def _undefused(cell: str) -> str:
    return _DEFUSED.sub(r"\1", cell)


def _is_marked(mark: HandMark) -> bool:
    return mark.points is not None or bool(mark.comment)


def _up_to_date(mark: HandMark | None, answer: str, max_points: float) -> HandMark:
    """The mark beside today's answer; a mark that was given for another one is kept and says so."""
    if mark is None or not _is_marked(mark):
        return HandMark(None, "", answer, max_points)
    changed = _compared(mark.answer) != _compared(answer) and ANSWER_CHANGED not in mark.comment
    comment = f"{mark.comment} {ANSWER_CHANGED}".strip() if changed else mark.comment
    return replace(mark, comment=comment, answer=answer, max_points=max_points)


def _compared(answer: str) -> str:
    """An answer without what a spreadsheet may do to it: white space, line ends, apostrophes against formulas."""
    return one_line(_undefused(answer))


def _columns_of(mark: HandMark) -> tuple[str, str, str, str]:
    points = "" if mark.points is None else f"{mark.points:g}"
    return f"{mark.max_points:g}", points, mark.comment, mark.answer


def _decoded(content: bytes) -> str:
    """A table's text: UTF-8 with or without a byte order mark, "Unicode text" (UTF-16), else Western Windows."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _hand_mark(row: Mapping[str, str], where: str) -> HandMark:
    most = _number(row["max_points"])
    if most is None:
        raise ValueError(f"{where}: max_points must be a number, not {row['max_points']!r}")
    points = _number(row["points"])
    if row["points"].strip() and (points is None or not 0 <= points <= most):
        raise ValueError(f"{where}: points must be a number from 0 to {most:g}, or empty, not {row['points']!r}")
    return HandMark(points, _undefused(clean(row["comment"]).strip()), _undefused(clean(row["answer"])), most)


def _number(cell: str) -> float | None:
    """The finite number in a cell, with a point or a comma before its decimals; None where it holds another thing."""
    try:
        number = float(cell.strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
