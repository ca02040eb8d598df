"""What a class has reached: the figures that `tables` and `pages` write down.

Points are taken from the exercises' records (and a think task's from its cell) at the time of writing, so that an
instructor can change them without grading again.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from labutils.course import registry
from labutils.course.exercise import Exercise
from labutils.course.grading.course_notebook import CourseNotebook
from labutils.course.grading.results import GradedNotebook, Mark, Result
from labutils.course.grading.writing import one_line, told

NO_RECORD = "There is no complete record for this exercise, so it gives no points. Please tell your instructor."

ODD = {
    Mark.CHECK_FAILED: "the check failed",
    Mark.UNREADABLE: "unreadable",
    Mark.STOPPED: "stopped",
    Mark.MISSING: "cell missing",
    Mark.NOT_CODE: "cell is not code",
}
"""What an instructor may want to look into, in the words of a list."""

UNTRIED = {Mark.NOT_ATTEMPTED, Mark.MISSING, Mark.NOT_CODE, Mark.UNREADABLE, Mark.NOT_HANDED_IN}


@dataclass(frozen=True)
class HandMark:
    """What an instructor wrote beside a think task; ``points`` is None where there is only a comment, or nothing yet.

    ``answer`` and ``max_points`` are what stood there when it was marked.
    """

    points: float | None
    comment: str
    answer: str
    max_points: float


HandMarks = Mapping[tuple[str, str, str], HandMark]
"""(student, notebook, think task) -> mark."""


@dataclass(frozen=True)
class Outcome:
    """One exercise of one student."""

    exercise: Exercise
    result: Result

    @property
    def passed(self) -> bool:
        return self.result.mark is Mark.PASSED

    @property
    def points(self) -> int:
        return self.exercise.points if self.passed else 0


@dataclass(frozen=True)
class ThinkOutcome:
    """One think task of one student."""

    task: str
    max_points: float
    answer: str
    mark: HandMark | None

    @property
    def points(self) -> float | None:
        return self.mark.points if self.mark else None

    @property
    def is_open(self) -> bool:
        """Whether there is an answer that nobody has marked."""
        return bool(self.answer.strip()) and self.points is None


@dataclass(frozen=True)
class NotebookOutcome:
    """One notebook of one student, every exercise and every think task of it in order."""

    name: str
    outcomes: tuple[Outcome, ...]
    thinks: tuple[ThinkOutcome, ...]
    notes: tuple[str, ...]

    @property
    def points(self) -> int:
        return sum(outcome.points for outcome in self.outcomes)

    @property
    def max_points(self) -> int:
        return sum(outcome.exercise.points for outcome in self.outcomes)

    @property
    def whole_mark(self) -> Mark | None:
        """NOT_HANDED_IN or UNREADABLE where that is all there is to say of the notebook."""
        marks = {outcome.result.mark for outcome in self.outcomes}
        return marks.pop() if marks in ({Mark.NOT_HANDED_IN}, {Mark.UNREADABLE}) else None


@dataclass(frozen=True)
class StudentOutcome:
    """One student, with the same notebooks in the same order as everyone in the class."""

    name: str
    notebooks: tuple[NotebookOutcome, ...]

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for notebook in self.notebooks for outcome in notebook.outcomes]

    @property
    def thinks(self) -> list[ThinkOutcome]:
        return [think for notebook in self.notebooks for think in notebook.thinks]

    @property
    def total(self) -> int:
        return sum(notebook.points for notebook in self.notebooks)

    @property
    def max_total(self) -> int:
        return sum(notebook.max_points for notebook in self.notebooks)

    @property
    def share(self) -> float:
        return ratio(self.total, self.max_total)

    @property
    def passed(self) -> int:
        return sum(outcome.passed for outcome in self.outcomes)

    @property
    def by_hand(self) -> float:
        return sum(think.points or 0 for think in self.thinks)

    @property
    def max_by_hand(self) -> float:
        return sum(think.max_points for think in self.thinks)

    @property
    def open_thinks(self) -> int:
        return sum(think.is_open for think in self.thinks)

    @property
    def missing(self) -> list[str]:
        """The notebooks that others handed in and this student did not."""
        return [notebook.name for notebook in self.notebooks if notebook.whole_mark is Mark.NOT_HANDED_IN]

    @property
    def look(self) -> list[str]:
        """Why an instructor should look at this student's work; empty for an ordinary submission."""
        return self.odd + ([f"not handed in: {', '.join(self.missing)}"] if self.missing else [])

    @property
    def odd(self) -> list[str]:
        """What is not ordinary in what was handed in."""
        where = defaultdict(list)
        for notebook in self.notebooks:
            if notebook.whole_mark:
                reason = one_line(notebook.outcomes[0].result.reason)
                where[notebook.whole_mark].append(f"{notebook.name} ({reason})" if reason else notebook.name)
                continue
            for outcome in notebook.outcomes:
                where[outcome.result.mark].append(outcome.exercise.id)
        marks = [f"{words}: {', '.join(where[mark])}" for mark, words in ODD.items() if where[mark]]
        return marks + [f"{place}: {one_line(note)}" for place, notes in self._notes() for note in notes]

    def _notes(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        for notebook in self.notebooks:
            yield notebook.name, notebook.notes
            for outcome in notebook.outcomes:
                yield outcome.exercise.id, outcome.result.notes


@dataclass(frozen=True)
class ExerciseFigures:
    """One exercise over the whole class; ``seconds`` is the median of those who tried."""

    exercise: Exercise
    counts: Counter[Mark]
    seconds: float

    @property
    def students(self) -> int:
        return self.counts.total()

    @property
    def passed(self) -> float:
        return ratio(self.counts[Mark.PASSED], self.students)

    @property
    def attempted(self) -> float:
        return 1 - ratio(sum(self.counts[mark] for mark in UNTRIED), self.students)

    @property
    def mean(self) -> float:
        return self.passed * self.exercise.points


@dataclass(frozen=True)
class Misconception:
    """A mistake that a check has named, what it says of it most often, and who made it."""

    exercise: Exercise
    mistake: str
    sentence: str
    students: tuple[str, ...]


def ratio(part: float, whole: float) -> float:
    """The share that a part is of a whole; 0 of nothing."""
    return part / whole if whole else 0.0


def by_student(
    graded: Sequence[GradedNotebook], courses: Mapping[str, CourseNotebook], marks: HandMarks
) -> list[StudentOutcome]:
    """Everyone's work by name, complete: what a student has not handed in though others have stands there as such."""
    found = {(each.student, each.notebook): each for each in graded}
    notebooks = sorted({each.notebook for each in graded})
    students = sorted({each.student for each in graded}, key=lambda name: (name.casefold(), name))
    return [
        StudentOutcome(
            student,
            tuple(
                _notebook(found.get((student, name)) or not_handed_in(student, name), courses.get(name), marks)
                for name in notebooks
            ),
        )
        for student in students
    ]


def by_exercise(students: Sequence[StudentOutcome]) -> dict[str, list[ExerciseFigures]]:
    """Notebook name -> the figures of its exercises, in order."""
    results: dict[str, dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for student in students:
        for notebook in student.notebooks:
            for outcome in notebook.outcomes:
                results[notebook.name][outcome.exercise.id].append(outcome)
    return {name: [_figures(outcomes) for outcomes in each.values()] for name, each in results.items()}


def misconceptions(students: Sequence[StudentOutcome]) -> list[Misconception]:
    """What went wrong in a way that a check knows, the most frequent first."""
    makers: dict[tuple[str, str], list[str]] = defaultdict(list)
    sentences: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for student in students:
        for outcome in student.outcomes:
            if outcome.result.mark is Mark.WRONG and outcome.result.mistake:
                key = (outcome.exercise.id, outcome.result.mistake)
                makers[key].append(student.name)
                sentences[key][outcome.result.reason] += 1
    found = [
        Misconception(registry.find(key[0]), key[1], sentences[key].most_common(1)[0][0], tuple(names))
        for key, names in makers.items()
    ]
    return sorted(found, key=lambda each: (-len(each.students), each.exercise.id, each.mistake))


def unnamed(students: Sequence[StudentOutcome]) -> list[Misconception]:
    """Errors that code raised and wrong answers without a name, by what was said of them, the most frequent first."""
    makers: dict[tuple[str, Mark, str], list[str]] = defaultdict(list)
    for student in students:
        for outcome in student.outcomes:
            result = outcome.result
            if result.mark is Mark.RAISED or (result.mark is Mark.WRONG and not result.mistake):
                makers[outcome.exercise.id, result.mark, one_line(told(result.reason))].append(student.name)
    found = [Misconception(registry.find(key[0]), key[1], key[2], tuple(names)) for key, names in makers.items()]
    return sorted(found, key=lambda each: (-len(each.students), each.exercise.id, each.sentence))


def hand_mark_key(student: str, notebook: str, task: str) -> tuple[str, str, str]:
    """Where a mark stands in `HandMarks`: the student's name is as the table has it."""
    return one_line(student), notebook, task


def find_mark(marks: HandMarks, student: str, notebook: str, task: str) -> HandMark | None:
    """A student's mark, also where a spreadsheet took a name that is a number for one ("0042" comes back as "42")."""
    key = hand_mark_key(student, notebook, task)
    if key not in marks and key[0].isdecimal():
        key = (key[0].lstrip("0") or "0", notebook, task)
    return marks.get(key)


def _notebook(graded: GradedNotebook, course: CourseNotebook | None, marks: HandMarks) -> NotebookOutcome:
    results = {result.exercise: result for result in graded.results}
    outcomes = tuple(
        Outcome(exercise, results.get(exercise.id, Result(exercise.id, Mark.CHECK_FAILED, NO_RECORD)))
        for exercise in registry.of_notebook(graded.notebook[:2]).values()
    )
    thinks = tuple(
        ThinkOutcome(
            task, cell.points, graded.thinks.get(task, ""), find_mark(marks, graded.student, graded.notebook, task)
        )
        for task, cell in (course.think_tasks() if course else {}).items()
    )
    return NotebookOutcome(graded.notebook, outcomes, thinks, graded.notes)


def not_handed_in(student: str, notebook: str) -> GradedNotebook:
    """What is said of a notebook that others of the class have handed in."""
    exercises, reason = registry.of_notebook(notebook[:2]), "This notebook was not handed in."
    return GradedNotebook.all_alike(student, notebook, exercises, Mark.NOT_HANDED_IN, reason)


def _figures(outcomes: Sequence[Outcome]) -> ExerciseFigures:
    tried = [outcome.result.seconds for outcome in outcomes if outcome.result.mark not in UNTRIED]
    counts = Counter(outcome.result.mark for outcome in outcomes)
    return ExerciseFigures(outcomes[0].exercise, counts, statistics.median(tried) if tried else 0.0)
