"""What an exercise is: one record with its texts, its cases, its judge, and the answers that test the judge itself.

``collect`` runs beside the student's code and hands back plain arrays; ``judge`` sees only those arrays and never
touches the student's code, so that grading can judge in another process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Arrays = dict[str, Any]
"""What ``collect`` hands over: names to NumPy arrays (never object arrays), numbers, strings or lists of these."""


class Status(StrEnum):
    """The five things a check can say."""

    NOT_ATTEMPTED = "not attempted"
    WRONG = "wrong"
    RAISED = "raised"
    CHECK_FAILED = "check failed"
    PASSED = "passed"


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one answer.

    ``mistake`` is the short name of the diagnosed misconception ("softmax_left_on"), "" where there is none;
    ``message`` is the sentence for the student. It never holds the solution.
    """

    status: Status
    message: str = ""
    mistake: str = ""

    @property
    def passed(self) -> bool:
        return self.status is Status.PASSED

    def _ipython_display_(self) -> None:
        """Stay quiet as the last value of a cell: `check` has shown the verdict already."""


@dataclass(frozen=True)
class Case:
    """One situation in which an answer is tried; ``inputs`` is plain data from which ``collect`` makes the arguments."""

    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)


class Stopped(Exception):
    """A message that stops a notebook and is shown without a stack of our own frames."""

    def _render_traceback_(self) -> list[str]:
        """IPython's hook for exceptions that render themselves."""
        return [f"{type(self).__name__}: {self}"]


class TodoNotDone(Stopped, NotImplementedError):
    """Raised by a stub that is still untouched, and by the check of one; its text says what to do next."""

    def __init__(self, exercise_id: str):
        self.exercise_id = exercise_id
        super().__init__(
            f"{exercise_id} is not attempted yet. Write your code at its TODO (in place of the `...` or of the line "
            f"that raises TodoNotDone), run that cell, then run this one again.\n"
            f'Stuck? hint("{exercise_id}") helps one step at a time; catch_up("{exercise_id}") lets you go on without it.'
        )


class NotPassed(Stopped, AssertionError):
    """Raised by `check` under nbgrader alone, which gives points to every check cell that does not raise."""


@dataclass(frozen=True)
class Exercise:
    """One TODO of a notebook.

    Attributes
    ----------
    id : str
        Notebook and name, ``"02.grad_cam"``.
    answer : str
        The name that the exercise's cell defines (a function or a value).
    cases : callable
        ``cases(seed)`` -> list of `Case`. ``seed=None`` gives the public ones that run in the notebook; an int gives
        further ones, drawn from that seed, that grading adds (another photo, class, shape).
    collect : callable
        ``collect(answer, case)`` -> `Arrays`; makes fresh inputs from the case (an answer may change them), runs the
        answer, and passes what comes back through `judging.plain`. A function arrives wrapped, so that what the student's
        code raises is told from what ``collect`` itself raises: only the former is the student's. Code written here
        must therefore not trip over odd results: hand them on, and let ``judge`` name them.
    judge : callable
        ``judge(arrays, case)`` -> `Verdict`. Computes what is right from the case and labutils alone (never from
        what ``collect`` handed over). Whatever it raises is the check's own fault.
    reference : callable
        ``reference()`` -> a right answer (what the solution cell defines), used by ``catch_up`` and by the judge.
    wrong : mapping
        Mistake name -> callable giving an answer (as ``reference`` does) that must get exactly that diagnosis.
    right : mapping
        Style name -> callable giving an answer that must be accepted.
    """

    id: str
    title: str
    answer: str
    points: int
    minutes: int
    difficulty: str
    hints: tuple[str, str, str]
    cases: Callable[[int | None], list[Case]]
    collect: Callable[[Any, Case], Arrays]
    judge: Callable[[Arrays, Case], Verdict]
    reference: Callable[[], Any]
    wrong: Mapping[str, Callable[[], Any]]
    right: Mapping[str, Callable[[], Any]]

    @property
    def cell_id(self) -> str:
        """The id of the exercise's cell, nbgrader's ``grade_id`` as well, which may hold no dot: ``"02-grad_cam"``.

        The cell that checks it has ``"02-grad_cam-check"``.
        """
        return self.id.replace(".", "-", 1)
