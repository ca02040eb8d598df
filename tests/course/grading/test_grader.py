"""One notebook through the whole of grading, as a student's file: what counts, what does not, and what is said of it."""

import re
import shutil
import textwrap
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from labutils.course.grading import grader as module
from labutils.course.grading.course_notebook import load
from labutils.course.grading.grader import Grader, Settings
from labutils.course.grading.isolation import Limits
from labutils.course.grading.results import Mark

ROOT = Path(__file__).resolve().parents[3]
NAME = "01_vgg16_setup.ipynb"


@pytest.fixture(scope="module")
def grader(runs_answers):
    with Grader(Settings(seed=20, limits=Limits(seconds=30))) as grader:
        yield grader


@pytest.fixture(scope="module")
def course():
    return load(ROOT / "notebooks" / NAME)


def solution():
    return nbformat.read(ROOT / "solutions" / NAME, as_version=4)


def untouched():
    return nbformat.read(ROOT / "notebooks" / NAME, as_version=4)


def with_answers(notebook=None, **codes):
    """A submission in which some exercises' cells hold other code; the untouched notebook by default."""
    notebook = notebook or untouched()
    for cell in notebook.cells:
        name = cell.id.removeprefix("01-")
        if name in codes:
            cell.source = textwrap.dedent(codes[name])
    return notebook


def graded(grader, course, notebook):
    """Exercise's name without its number -> its result."""
    results = grader.grade("ada", course, nbformat.writes(notebook).encode()).results
    return {result.exercise.partition(".")[2]: result for result in results}


def test_the_solution_has_every_mark(grader, course):
    assert {result.mark for result in graded(grader, course, solution()).values()} == {Mark.PASSED}


def test_the_untouched_notebook_has_none(grader, course):
    assert {result.mark for result in graded(grader, course, untouched()).values()} == {Mark.NOT_ATTEMPTED}


def test_a_mistake_costs_its_exercise_alone(grader, course):
    """`predict` calls the student's `preprocess`, which here is wrong, and hangs besides."""
    broken = "def preprocess(images):\n    return images / 255"
    results = graded(grader, course, with_answers(solution(), preprocess=broken))
    assert results.pop("preprocess").mark is Mark.WRONG
    assert {result.mark for result in results.values()} == {Mark.PASSED}


def test_a_diagnosis_is_the_checks_own(grader, course):
    flat = "def best_classes(probabilities):\n    return probabilities.argmax()"
    result = graded(grader, course, with_answers(best_classes=flat))["best_classes"]
    assert (result.mark, result.mistake) == (Mark.WRONG, "whole_batch")
    assert "Without an axis" in result.reason


def pasted():
    """An answer that knows the public cases' results by heart, and nothing else."""
    from labutils.course import registry

    known = {}

    def learn(probabilities):
        known[round(float(probabilities.ravel()[0]), 6)] = probabilities.argmax(axis=1).tolist()
        return probabilities.argmax(axis=1)

    exercise = registry.find("01.best_classes")
    for case in exercise.cases(None):
        exercise.collect(learn, case)
    return f"""
        def best_classes(probabilities):
            known = {known}
            first = round(float(probabilities.ravel()[0]), 6)
            if first in known:
                return np.array(known[first])
            return np.zeros(len(probabilities), int)
        """


def test_a_pasted_result_fails_on_cases_it_has_not_seen_and_is_not_told_which(grader, course):
    result = graded(grader, course, with_answers(best_classes=pasted()))["best_classes"]
    assert result.mark is Mark.WRONG
    assert "other cases" in result.reason
    assert not re.search(r"\d", result.reason)


def test_what_is_raised_on_an_unseen_case_cannot_carry_it_out(grader, course):
    code = pasted().replace(
        "return np.zeros(len(probabilities), int)",
        "raise type(f'Case{probabilities.shape[0]}', (Exception,), {})(str(probabilities))",
    )
    result = graded(grader, course, with_answers(best_classes=code))["best_classes"]
    assert result.mark is Mark.RAISED
    assert "It raised an error in line" in result.reason
    assert "Case" not in result.reason
    assert "[" not in result.reason


def test_cells_may_hold_what_notebooks_hold(grader, course):
    results = graded(
        grader,
        course,
        with_answers(
            best_classes="%matplotlib inline\n!true\nfrom IPython.display import display\ndisplay(1)\n"
            "import asyncio\nawait asyncio.sleep(0)\nbest_classes = lambda p: p.argmax(axis=1)",
            top_three="%%time\n" + next(cell.source for cell in solution().cells if cell.id == "01-top_three"),
        ),
    )
    assert results["best_classes"].mark is Mark.PASSED
    assert results["top_three"].mark is Mark.PASSED


def test_a_helper_may_stand_in_another_exercises_cell(grader, course):
    notebook = with_answers(
        titles="def tidy(name):\n    return name.replace('_', ' ')\nwhile True: pass",
        best_classes="def best_classes(p):\n    tidy('a')\n    return p.argmax(axis=1)",
    )
    quick = replace(grader.settings, limits=Limits(seconds=2))
    usual, grader.settings = grader.settings, quick
    try:
        results = graded(grader, course, notebook)
    finally:
        grader.settings = usual
    assert results["titles"].mark is Mark.STOPPED
    assert results["best_classes"].mark is Mark.PASSED


def test_a_name_from_a_cell_that_is_not_graded_is_explained(grader, course):
    notebook = with_answers(best_classes="def best_classes(p):\n    return winner(p)")
    notebook.cells.insert(3, nbformat.v4.new_code_cell("def winner(p):\n    return p.argmax(axis=1)"))
    result = graded(grader, course, notebook)["best_classes"]
    assert result.mark is Mark.RAISED
    assert "`winner` stands in a cell that is not graded" in result.reason


def test_the_traceback_is_the_students_own(grader, course):
    results = graded(
        grader,
        course,
        with_answers(best_classes="def best_classes(p):\n    return p.oops", titles="x = 1 / 0"),
    )
    for name, line in {"best_classes": "return p.oops", "titles": "x = 1 / 0"}.items():
        assert results[name].mark is Mark.RAISED
        assert line in results[name].reason
        assert "your notebook" in results[name].reason
        assert "labutils" not in results[name].reason
        assert "IPython" not in results[name].reason


def test_a_fault_of_the_courses_own_cells_is_not_blamed_on_the_student(grader, course):
    cells = tuple(
        replace(cell, source="import numpy as np\n1 / 0") if "import numpy" in cell.source else cell
        for cell in course.cells
    )
    results = graded(grader, replace(course, cells=cells), with_answers(best_classes=RIGHT))
    assert results["best_classes"].mark is Mark.CHECK_FAILED
    assert "ZeroDivisionError" in results["best_classes"].reason


RIGHT = "def best_classes(probabilities):\n    return np.argmax(probabilities, axis=1)"


def test_an_answer_that_calls_a_reference_is_none(grader, course):
    results = graded(
        grader,
        course,
        with_answers(
            titles="make_titles = catch_up('01.titles')",
            best_classes="import labutils.course.registry as r\nbest_classes = r.find('01.best_classes').reference()",
        ),
    )
    assert results["titles"].mark is Mark.NOT_ATTEMPTED
    assert results["best_classes"].mark is Mark.WRONG
    assert "labutils.course.registry" in results["best_classes"].reason


def test_what_is_no_notebook_is_said_of_every_exercise(grader, course):
    notebook = grader.grade("ada", course, b'{"cells": [')
    assert [result.exercise for result in notebook.results] == list(course.stubs())
    assert {result.mark for result in notebook.results} == {Mark.UNREADABLE}
    assert all(result.reason for result in notebook.results)


def test_the_notebooks_time_is_limited_as_well(grader, course):
    usual, grader.settings = grader.settings, Settings(20, Limits(notebook_seconds=0.0))
    try:
        results = graded(grader, course, with_answers(titles="x = 1", best_classes=RIGHT))
    finally:
        grader.settings = usual
    assert results["best_classes"].mark is Mark.STOPPED
    assert "used up" in results["best_classes"].reason


NEEDS_TO_BE_HELD = """
import os, socket, subprocess
refused = []
for action in (
    lambda: open(os.path.join(os.path.dirname(os.getcwd()), 'beside'), 'w'),
    lambda: os.remove(np.__file__),
    lambda: os.kill(os.getppid(), 9),
    lambda: subprocess.run(['true']),
    lambda: socket.create_connection(('192.0.2.1', 80), 1),
):
    try:
        action()
    except PermissionError:
        refused.append(action)

open('inside', 'w').write('x')
os.remove('inside')

def best_classes(probabilities):
    return probabilities.argmax(axis=1) if len(refused) == 5 else refused
"""


def test_where_there_is_no_fork_answers_run_all_the_same(grader, course, monkeypatch):
    """The way of macOS and Windows: a process for each answer, held by Python's audit events."""
    monkeypatch.setattr(module.isolation, "LINUX", False)
    result = graded(grader, course, with_answers(best_classes=NEEDS_TO_BE_HELD))["best_classes"]
    assert result.mark is Mark.PASSED, result.reason


def test_the_environment_holds_no_secret_of_the_instructors(monkeypatch):
    monkeypatch.setenv("CLOUD_TOKEN", "secret")
    assert "CLOUD_TOKEN" not in module._environment()
    assert "PATH" in module._environment()


def test_folders_are_gone_when_the_grader_is(course):
    with Grader(Settings(seed=1)) as grader:
        scratch = grader._scratch
        assert scratch.is_dir()
    assert not scratch.exists()


def test_a_process_that_cannot_start_says_so_as_often_as_it_is_asked(monkeypatch):
    """Asked a second time it once waited five minutes for an answer that could not come."""
    monkeypatch.setattr(module.sys, "executable", shutil.which("true"))
    monkeypatch.setattr(module, "START_SECONDS", 20)
    server = module._Server()
    try:
        for _ in range(2):
            with pytest.raises(EOFError, match="has ended"):
                server.wait_until_ready()
    finally:
        server.close()
