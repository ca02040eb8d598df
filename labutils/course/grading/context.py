"""What of the course's notebook must run before one answer, so that grading need not run the rest.

The same as if the whole notebook had run down to the exercise: every name that the student's code can reach has the
value that it has there. Answers of other exercises are the course's own, so that a mistake costs its exercise alone.
"""

from __future__ import annotations

import ast
import builtins
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from labutils.course import registry
from labutils.course.grading.course_notebook import CourseCell, CourseNotebook, Role
from labutils.course.grading.names import DEFINITE, Names, names_of, statements_of

IPYTHONS_OWN = {"get_ipython", "display", "exit", "quit", "In", "Out", "_", "__", "___", "_ih", "_oh", "_dh"}
BUILT_IN = IPYTHONS_OWN.union(dir(builtins))
"""Names that are there without anybody's binding them."""


class StepKind(StrEnum):
    """What is done at a step."""

    GIVEN = "given"  # a cell of the course's to run
    REFERENCE = "reference"  # the answer of another exercise, to be set to the course's own
    HELPER = "helper"  # definitions from another exercise's cell of the same student
    ANSWER = "answer"  # the student's cell, always last


@dataclass(frozen=True)
class Step:
    """One thing to run or (REFERENCE) to set; ``exercise`` is whose, "" for a given cell."""

    kind: StepKind
    code: str = ""
    exercise: str = ""


def steps(course: CourseNotebook, exercise_id: str, codes: Mapping[str, str]) -> list[Step]:
    """What to run for one answer, in the notebook's order, the answer last.

    Parameters
    ----------
    course : CourseNotebook
    exercise_id : str
    codes : mapping
        Exercise id -> the student's code, for this exercise and those others of the notebook that were handed in.

    Returns
    -------
    list of Step
        The answer alone where it does not parse: running it will say so.
    """
    found = _Slice(course, exercise_id, codes)
    return [*found.course_steps(), *found.helper_steps(), Step(StepKind.ANSWER, codes[exercise_id], exercise_id)]


def unknown_names(course: CourseNotebook, exercise_id: str, codes: Mapping[str, str]) -> set[str]:
    """Names that the student's code reads and that nothing binds: not the course, Python, or an exercise's cell.

    In a notebook that worked for the student they are bound in a cell that the student added.
    """
    course_names = set().union(*(_uses(cell).touches for cell in course.cells))
    return _Slice(course, exercise_id, codes).unknown - course_names


class _Slice:
    """The cells and definitions that one answer can reach, found from its names back up the notebook."""

    def __init__(self, course: CourseNotebook, exercise_id: str, codes: Mapping[str, str]) -> None:
        self.cells = course.cells
        answers = {cell.task: index for index, cell in enumerate(self.cells) if cell.role is Role.EXERCISE}
        answer_names = {registry.find(task).answer for task in answers}
        self.own = answers.pop(exercise_id)
        self.taken: set[int] = set()
        self.asked: set[tuple[str, int]] = set()
        self.unknown: set[str] = set()
        nearest = sorted(answers.values(), key=lambda index: (index > self.own, abs(index - self.own)))
        self.others = {
            index: _Definitions(codes[self.cells[index].task], answer_names)
            for index in nearest
            if self.cells[index].task in codes
        }
        own = names_of(statements_of(codes[exercise_id]))
        self._reach(own.needs | (own.later - own.binds), known=own.touches | BUILT_IN)

    def course_steps(self) -> Iterator[Step]:
        for cell in (self.cells[index] for index in sorted(self.taken)):
            yield Step(StepKind.REFERENCE, exercise=cell.task) if cell.task else Step(StepKind.GIVEN, cell.source)

    def helper_steps(self) -> Iterator[Step]:
        for index, other in sorted(self.others.items()):
            if other.chosen:
                yield Step(StepKind.HELPER, other.code(), self.cells[index].task)

    def _reach(self, names: set[str], known: set[str]) -> None:
        """Take what the student's code needs for these names, and what that needs in turn."""
        reached = set(names)
        waiting = sorted(names)
        while waiting:
            name = waiting.pop()
            if self._take(name, self.own) or name in known:
                continue
            other = next((other for other in self.others.values() if name in other.binders), None)
            if other is None:
                self.unknown.add(name)
            else:
                needs = other.choose(name) - reached
                reached |= needs
                waiting += sorted(needs)

    def _take(self, name: str, before: int) -> bool:
        """Take the cells that give a name the value it has at a cell, and what they need; whether there are any."""
        waiting = [(name, before)]
        while waiting:
            for index in self._binders(*waiting.pop()):
                self.taken.add(index)
                uses = _uses(self.cells[index])
                needed = {(need, index) for need in uses.needs} | {(need, self.own) for need in uses.later}
                waiting += sorted(needed - self.asked)
                self.asked |= needed
        return next(self._binders(name, before), None) is not None

    def _binders(self, name: str, before: int) -> Iterator[int]:
        """The cells above one that a name's value there comes from: up to the last that surely binds it anew."""
        for index in reversed(range(before)):
            uses = _uses(self.cells[index])
            if name in uses.touches:
                yield index
            if name in uses.binds:
                return


class _Definitions:
    """The top-level definitions of one exercise's cell by a student, of which other cells may need some.

    ``without`` are the answers' names: a statement that binds one is no helper.
    """

    def __init__(self, code: str, without: set[str]) -> None:
        self.statements = _by_statement(code)
        self.chosen: set[int] = set()
        self.binders: defaultdict[str, list[int]] = defaultdict(list)
        for index, (statement, uses) in enumerate(self.statements):
            if isinstance(statement, DEFINITE) and not uses.binds & without:
                for name in uses.binds:
                    self.binders[name].append(index)

    def choose(self, name: str) -> set[str]:
        """Choose the statements that define a name and those of the cell that they need; what they need beyond it."""
        beyond: set[str] = set()
        reached, waiting = {name}, [name]
        while waiting:
            for index in set(self.binders[waiting.pop()]) - self.chosen:
                self.chosen.add(index)
                uses = self.statements[index][1]
                needs = (uses.needs | uses.later) - reached
                reached |= needs
                beyond |= needs - self.binders.keys()
                waiting += sorted(needs & self.binders.keys())
        return beyond

    def code(self) -> str:
        try:
            return ast.unparse(ast.Module([self.statements[index][0] for index in sorted(self.chosen)], []))
        except (RecursionError, ValueError):  # Python 3.11 cannot write every f-string again
            return ""


@functools.lru_cache(maxsize=1024)
def _uses(cell: CourseCell) -> Names:
    """The names of one of the course's own cells; an exercise's binds its answer, as the reference will."""
    if cell.role is Role.GIVEN:
        return names_of(statements_of(cell.source))
    if cell.role is Role.EXERCISE:
        answer = {registry.find(cell.task).answer}
        return Names(binds=answer, touches=answer)
    return Names()


@functools.lru_cache(maxsize=64)  # a notebook's cells, which are asked for at each of its exercises
def _by_statement(code: str) -> list[tuple[ast.stmt, Names]]:
    return [(statement, names_of([statement])) for statement in statements_of(code)]
