"""Runs one answer through its exercise: collect (the student's code runs), then judge (it does not).

`assess` is the silent core, shared with the tests and with grading; `check` is what a notebook calls.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import random
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from labutils.course import guidance, registry
from labutils.course.display import show_verdict
from labutils.course.exercise import Arrays, Case, Exercise, NotPassed, Status, TodoNotDone, Verdict
from labutils.course.judging import described, passed, plain, wrong

MISSING = object()
"""Stands for an answer that was not handed over."""


class StudentError(Exception):
    """The student's code raised; the original error is ``__cause__``."""


def check(exercise_id: str, answer: Any = MISSING) -> Verdict:
    """Check one exercise of the course and show what is right or wrong about it.

    Parameters
    ----------
    exercise_id : str
        Notebook and name, ``"01.predict"``.
    answer : object
        What the exercise's cell defines: ``check("01.predict", predict)``.

    Returns
    -------
    Verdict
        Already shown; it stays quiet as the last value of a cell.

    Raises
    ------
    TodoNotDone
        The exercise is not attempted yet, so that "Run all" stops there with one message.
    NotPassed
        Under nbgrader alone (it gives points to every check cell that does not raise).
    UnknownExercise
        With near ids.
    """
    exercise = registry.find(exercise_id)
    handed_out = guidance.was_handed_out(exercise_id, answer)
    verdict = Verdict(Status.NOT_ATTEMPTED, guidance.CARRY_ON) if handed_out else assess(exercise, answer)
    if verdict.status is Status.NOT_ATTEMPTED and not handed_out:
        raise TodoNotDone(verdict.mistake or exercise_id) from None
    show_verdict(exercise, verdict)
    if not verdict.passed and "NBGRADER_EXECUTION" in os.environ:
        raise NotPassed(f"{exercise_id}: {verdict.status}. {verdict.message}")
    return verdict


def assess(exercise: Exercise, answer: Any, cases: list[Case] | None = None) -> Verdict:
    """Judge an answer on some cases (the public ones by default): passed, or the first verdict that is not.

    It shows nothing and raises nothing. For "not attempted", ``mistake`` is the id of the exercise whose stub was
    met: this one's, or one that the answer builds on.
    """
    if not_attempted(answer):
        return Verdict(Status.NOT_ATTEMPTED, mistake=exercise.id)
    if not callable(answer):
        return no_function(exercise, answer)
    try:
        with no_traces():
            for case in exercise.cases(None) if cases is None else cases:
                verdict = exercise.judge(run(exercise, answer, case), case)
                if not verdict.passed:
                    return verdict
    except StudentError as error:
        return raised(error.__cause__)
    except Exception as error:
        return check_failed(error)
    return passed()


def run(exercise: Exercise, answer: Any, case: Case) -> Arrays:
    """What an answer gives on one case, as plain data.

    Raises
    ------
    StudentError
        From what the student's code raised; any other exception is the fault of the exercise.
    """
    errors: list[BaseException] = []
    try:
        return exercise.collect(watched(answer, errors), case)
    except BaseException as error:
        if any(error is seen for seen in errors):
            raise StudentError from error
        raise


def watched(answer: Any, errors: list[BaseException]) -> Any:
    """An answer that notes what it raises in ``errors``; it may be anything that can be called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return answer(*args, **kwargs)
        except KeyboardInterrupt:  # the student stops a check that takes too long
            raise
        except BaseException as error:
            errors.append(error)
            raise

    is_function = inspect.isroutine(answer) or isinstance(answer, functools.partial)
    return functools.wraps(answer)(call) if is_function else call


def not_attempted(answer: Any) -> bool:
    """Whether an answer is missing, or still the ``...`` of its stub (all of it, or a part)."""
    if answer is MISSING or answer is None or answer is ...:
        return True
    return isinstance(answer, list | tuple) and any(item is ... for item in answer)


def no_function(exercise: Exercise, answer: Any) -> Verdict:
    """The verdict on an answer that cannot be called; all exercises ask for functions."""
    return wrong(
        f"`{exercise.answer}` is {described(plain(answer))}, where a function is asked for. Is it defined once more, "
        "with another meaning?",
        "not_a_function",
    )


def raised(error: BaseException) -> Verdict:
    """The verdict on code that raised; an untouched stub is not an error of the student's."""
    if isinstance(error, TodoNotDone):
        return Verdict(Status.NOT_ATTEMPTED, mistake=error.exercise_id)
    return Verdict(Status.RAISED, trimmed_traceback(error))


def check_failed(error: Exception) -> Verdict:
    """The verdict where the exercise's own code failed, with what an instructor needs to mend it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"
    return Verdict(
        Status.CHECK_FAILED,
        "This says nothing about your answer: something in the check or on this machine went wrong. "
        f"Please tell your instructor: {type(error).__name__}: {error} ({where}). You can go on meanwhile.",
    )


def trimmed_traceback(error: BaseException) -> str:
    """An error's traceback from the student's first line on, below our last one (`watched`); cells go without paths."""
    report = traceback.TracebackException.from_exception(error)
    frames = list(report.stack)
    entries = [index for index, frame in enumerate(frames) if frame.filename == __file__]
    del frames[: entries[-1] + 1 if entries else 0]
    cells = [index for index, frame in enumerate(frames) if is_cell(frame.filename)]
    del frames[: cells[0] if cells else 0]  # IPython's own, where a cell itself raised
    for frame in frames:
        if is_cell(frame.filename):
            frame.filename = "your notebook"
    report.stack = traceback.StackSummary.from_list(frames)
    return "".join(report.format()).rstrip()


def is_cell(filename: str) -> bool:
    """Whether a frame's file is a cell of a notebook, in JupyterLab's kernel or in a plain IPython shell."""
    return "ipykernel_" in filename or filename.startswith("<ipython-input")


@contextlib.contextmanager
def no_traces() -> Iterator[None]:
    """Put back what code in a check may change for the cells after it: random states, the folder, open figures."""
    folder, numpy_state, python_state = os.getcwd(), np.random.get_state(), random.getstate()  # noqa: NPY002
    figures = open_figures()
    try:
        yield
    finally:
        os.chdir(folder)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        for number in open_figures() - figures:
            sys.modules["matplotlib.pyplot"].close(number)


def open_figures() -> set[int]:
    """The numbers of pyplot's open figures, without importing matplotlib for it."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    return set(pyplot.get_fignums()) if pyplot else set()
