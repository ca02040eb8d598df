"""What `check` says in each of its five cases, and hints and catching up, on an exercise of our own."""

import os
import random
import sys

import numpy as np
import pytest

from labutils.course import Case, Exercise, Status, TodoNotDone, catch_up, check, guidance, hint, registry
from labutils.course.checking import assess
from labutils.course.display import as_html
from labutils.course.exercise import NotPassed
from labutils.course.judging import compare, plain


def double(values):
    """The reference."""
    return [2 * value for value in values]


def make_exercise(**changes):
    def cases(seed):
        return [Case("public", {"values": [1, 2, 3]})] if seed is None else [Case("drawn", {"values": [seed, 5]})]

    def judge(arrays, case):
        values = np.array(case.inputs["values"])
        mistakes = {"squared": (values**2, "These are squares, not doubles.")}
        return compare(np.array(arrays["result"]), 2 * values, mistakes, otherwise="These are not doubles.")

    record = {
        "id": "99.double",
        "title": "Twice as much",
        "answer": "double",
        "points": 2,
        "minutes": 3,
        "difficulty": "easy",
        "hints": ("Think of adding.", "Add each to itself.", "A comprehension helps."),
        "cases": cases,
        "collect": lambda answer, case: {"result": plain(answer(list(case.inputs["values"])))},
        "judge": judge,
        "reference": lambda: double,
        "wrong": {},
        "right": {},
    }
    return Exercise(**(record | changes))


@pytest.fixture(autouse=True)
def exercise(monkeypatch):
    """The exercise is found by its id, hints start anew, and nothing is handed out."""
    known = make_exercise()
    monkeypatch.setattr(registry, "find", lambda exercise_id: known)
    monkeypatch.setattr(guidance, "_hints_given", {})
    monkeypatch.setattr(guidance, "_handed_out", {})
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    return known


def test_passed_is_shown_once_with_its_points(capsys):
    verdict = check("99.double", lambda values: [value + value for value in values])
    assert verdict.passed
    assert capsys.readouterr().out == "✔ 99.double: passed (2 points)\n"


def test_wrong_is_shown_with_its_diagnosis_and_the_way_to_a_hint(capsys):
    verdict = check("99.double", lambda values: [value**2 for value in values])
    assert (verdict.status, verdict.mistake) == (Status.WRONG, "squared")
    assert capsys.readouterr().out == (
        '✘ 99.double: not right yet\n  These are squares, not doubles.\n  Stuck? `hint("99.double")`\n'
    )


def test_raised_shows_the_students_own_lines_alone(capsys):
    def outer(values):
        return inner(values)

    def inner(values):
        return values[7]

    verdict = check("99.double", outer)
    shown = capsys.readouterr().out
    assert verdict.status is Status.RAISED
    assert "your code raised an error" in shown
    assert "return inner(values)" in shown
    assert "IndexError: list index out of range" in shown
    assert "labutils" not in shown


def test_wrong_arguments_are_the_students_error():
    verdict = assess(make_exercise(), lambda: [2, 4, 6])
    assert verdict.status is Status.RAISED
    assert "takes 0 positional arguments but 1 was given" in verdict.message


def test_leaving_python_is_the_students_error_and_does_not_leave():
    assert assess(make_exercise(), lambda values: sys.exit(0)).status is Status.RAISED


def test_stopping_a_check_by_hand_stops_it():
    def endless(values):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("99.double", endless)


@pytest.mark.parametrize("part", ["cases", "collect", "judge"])
def test_a_fault_of_the_check_is_never_blamed_on_the_student(part, monkeypatch, capsys):
    def broken(*args):
        raise ValueError("no such file")

    faulty = make_exercise(**{part: broken})
    monkeypatch.setattr(registry, "find", lambda exercise_id: faulty)
    verdict = check("99.double", double)
    shown = capsys.readouterr().out
    assert verdict.status is Status.CHECK_FAILED
    assert "not your fault" in shown
    assert "tell your instructor" in shown
    assert "ValueError: no such file (test_checking.py, line" in shown


@pytest.mark.parametrize("answer", [(), (...,), (None,)], ids=["missing", "dots", "None"])
def test_not_attempted_stops_the_notebook_with_one_message(answer, capsys):
    with pytest.raises(TodoNotDone, match=r"99\.double is not attempted yet"):
        check("99.double", *answer)
    assert capsys.readouterr().out == ""


def test_not_attempted_names_the_exercise_that_is_missing():
    def builds_on_another(values):
        raise TodoNotDone("99.earlier")

    with pytest.raises(TodoNotDone, match=r"99\.earlier is not attempted yet"):
        check("99.double", builds_on_another)


def test_todo_is_shown_without_a_stack():
    lines = TodoNotDone("99.double")._render_traceback_()
    assert len(lines) == 1
    assert lines[0].startswith("TodoNotDone: 99.double is not attempted yet.")
    assert 'hint("99.double")' in lines[0]
    assert 'catch_up("99.double")' in lines[0]


def test_all_cases_count():
    def only_public(values):
        return [2, 4, 6]

    known = make_exercise()
    assert assess(known, only_public).passed
    assert assess(known, only_public, known.cases(7)).status is Status.WRONG


def test_a_verdict_is_quiet_as_the_last_value_of_a_cell(capsys):
    verdict = assess(make_exercise(), double)
    assert verdict._ipython_display_() is None
    assert capsys.readouterr().out == ""


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)

    def untidy(values):
        os.chdir("/")
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
        plt.figure()
        return double(values)

    open_before = plt.figure().number
    numpy_before, python_before = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert assess(make_exercise(), untidy).passed
    assert os.getcwd() == str(tmp_path)
    assert np.random.get_state()[1].tolist() == numpy_before  # noqa: NPY002
    assert random.getstate() == python_before
    assert plt.get_fignums() == [open_before]
    plt.close("all")


def test_under_nbgrader_whatever_is_not_passed_raises(monkeypatch, capsys):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert check("99.double", double).passed
    with pytest.raises(NotPassed, match="squares"):
        check("99.double", lambda values: [value**2 for value in values])
    with pytest.raises(NotPassed, match="no points"):
        check("99.double", catch_up("99.double"))


def test_hints_come_one_at_a_time_and_then_all(capsys):
    shown = []
    for _ in range(5):
        hint("99.double")
        shown.append(capsys.readouterr().out)
    assert [text.splitlines()[0] for text in shown] == [
        "→ 99.double: hint 1 of 3",
        "→ 99.double: hint 2 of 3",
        "→ 99.double: hint 3 of 3",
        "→ 99.double: these were all hints",
        "→ 99.double: these were all hints",
    ]
    assert "Think of adding." in shown[0]
    assert "Add each to itself." not in shown[0]
    assert "Add each to itself." in shown[1]
    assert "A comprehension helps." in shown[2]
    assert all(text in shown[3] for text in ("Think of adding.", "A comprehension helps.", 'catch_up("99.double")'))


def test_catch_up_hands_out_a_working_answer_and_says_so(capsys):
    answer = catch_up("99.double")
    assert answer([4]) == [8]
    assert "99.double: going on with the reference" in capsys.readouterr().out
    verdict = check("99.double", answer)
    assert verdict.status is Status.NOT_ATTEMPTED
    assert "no points" in capsys.readouterr().out


def test_an_answer_of_ones_own_counts_after_catching_up():
    catch_up("99.double")
    assert check("99.double", lambda values: [2 * value for value in values]).passed


def test_html_says_the_same_and_escapes_what_students_wrote():
    box = as_html("99.double: wrong", "<script>alert(1)</script> in `f(<x>)`", "wrong")
    assert "<script>" not in box
    assert "&lt;script&gt;" in box
    assert "<code>f(&lt;x&gt;)</code>" in box
    assert "99.double: wrong" in box


REAL = registry.find("01.titles")  # read before the tests put exercises of their own into the registry


@pytest.mark.parametrize("answer", [1, "predict", {"a": 1}, object()], ids=["number", "text", "dict", "object"])
def test_what_cannot_be_called_is_wrong_and_says_so(answer):
    verdict = assess(REAL, answer)
    assert (verdict.status, verdict.mistake) == (Status.WRONG, "not_a_function")
    assert verdict.message.startswith("`make_titles` is ")
    assert "where a function is asked for" in verdict.message


def test_what_an_object_raises_when_it_is_called_is_the_students_error():
    class Titles:
        def __call__(self, paths):
            return {}["a line of the student's"]

    verdict = assess(REAL, Titles())
    assert verdict.status is Status.RAISED
    assert "KeyError" in verdict.message
