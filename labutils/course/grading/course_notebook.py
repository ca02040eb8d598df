"""The course's own notebook, as grading needs it: which cell is what, and whose."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from labutils.course import registry


class Role(StrEnum):
    """What a cell of the course's notebook is for."""

    TEXT = "text"
    GIVEN = "given"
    EXERCISE = "exercise"
    CHECK = "check"
    THINK = "think"


@dataclass(frozen=True)
class CourseCell:
    """One cell. ``task`` is an exercise's id (``"02.grad_cam"``), or a think task's cell id, or "" ; ``points`` are a
    think task's (an exercise's stand in its record).
    """

    id: str
    role: Role
    source: str
    task: str = ""
    points: float = 0


@dataclass(frozen=True)
class CourseNotebook:
    """A notebook as it is handed out; ``name`` is its file's without ``.ipynb``."""

    name: str
    cells: tuple[CourseCell, ...]

    @property
    def number(self) -> str:
        return self.name[:2]

    def stubs(self) -> dict[str, str]:
        """Exercise id -> the code that its cell holds when untouched, in the notebook's order."""
        return {cell.task: cell.source for cell in self.cells if cell.role is Role.EXERCISE}

    def think_tasks(self) -> dict[str, CourseCell]:
        """Cell id -> the cell of each question that is marked by hand, in order."""
        return {cell.task: cell for cell in self.cells if cell.role is Role.THINK}


def load(path: Path) -> CourseNotebook:
    """Read one of the course's notebooks (as handed out, from ``notebooks/``)."""
    return _parsed(path.stem, path.read_text(encoding="utf-8"))


def load_course(root: Path) -> dict[str, CourseNotebook]:
    """Every notebook of the course in ``root`` as it is handed out, by its name, in order.

    They are built from ``solutions/`` where that is there: in ``notebooks/`` the instructor may have worked.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    from labutils.course.build import student_version

    solutions = _notebooks_in(root / "solutions")
    if not solutions:
        return load_all(root / "notebooks")
    return {path.stem: _parsed(path.stem, student_version(path).decode("utf-8")) for path in solutions}


def load_all(folder: Path) -> dict[str, CourseNotebook]:
    """Every notebook of the course in ``folder`` by its name, in order; `FileNotFoundError` where there is none."""
    paths = _notebooks_in(folder)
    if not paths:
        raise FileNotFoundError(f"there are no notebooks of the course in {folder}")
    return {path.stem: load(path) for path in paths}


def _notebooks_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")) if path.name[:2] in registry.modules()]


def _parsed(name: str, text: str) -> CourseNotebook:
    import nbformat

    exercises = {exercise.cell_id: exercise.id for exercise in registry.of_notebook(name[:2]).values()}
    return CourseNotebook(name, tuple(_cell(cell, exercises) for cell in nbformat.reads(text, as_version=4).cells))


def _cell(cell: Any, exercises: dict[str, str]) -> CourseCell:
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
    if cell.cell_type != "code":
        role = Role.THINK if grade_id else Role.TEXT
        return CourseCell(cell.id, role, cell.source, grade_id, cell.metadata.get("nbgrader", {}).get("points", 0))
    if grade_id in exercises:
        return CourseCell(cell.id, Role.EXERCISE, cell.source, exercises[grade_id])
    if grade_id:
        return CourseCell(cell.id, Role.CHECK, cell.source, exercises[grade_id.removesuffix("-check")])
    return CourseCell(cell.id, Role.GIVEN, cell.source)
