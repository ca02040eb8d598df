"""What is said of what came back: fails closed, and gives nothing of an unseen case away."""

import dataclasses
import re

import numpy as np
import pytest

from labutils.course import registry
from labutils.course.checking import run
from labutils.course.exercise import Status, Verdict
from labutils.course.grading import verdicts
from labutils.course.grading.isolation import End, Ended, Limits
from labutils.course.grading.results import Mark

EXERCISE = registry.find("01.best_classes")
PUBLIC, HIDDEN = EXERCISE.cases(None), EXERCISE.cases(7)


def record(answer, cases=PUBLIC):
    return {"cases": [{"arrays": run(EXERCISE, answer, case)} for case in cases]}


def decided(found):
    return verdicts.of_record(EXERCISE, found, PUBLIC, shown=True)


def decided_on_hidden(found):
    return verdicts.of_record(EXERCISE, found, HIDDEN, shown=False)


def test_every_case_right_is_passed():
    assert decided(record(EXERCISE.reference())).mark is Mark.PASSED


RIGHT = record(EXERCISE.reference())["cases"]

UNREADABLE = {
    "nothing": None,
    "a list": [],
    "an empty record": {},
    "claims to have passed": {"passed": True, "mark": "passed"},
    "no case": {"cases": []},
    "one case too few": {"cases": RIGHT[:-1]},
    "cases of another kind": {"cases": [1] * len(RIGHT)},
    "a case that says nothing": {"cases": [{}] * len(RIGHT)},
    "cases that are no list": {"cases": {"0": RIGHT[0]}},
}


@pytest.mark.parametrize("found", UNREADABLE.values(), ids=UNREADABLE)
def test_without_a_complete_record_there_are_no_points(found):
    decision = decided(found)
    assert decision.mark is Mark.STOPPED
    assert decision.reason


@pytest.mark.parametrize("arrays", [None, 3, [], {}, {"other": 1}, {"found": {"dict": 1}}], ids=str)
def test_arrays_that_no_collect_gives_are_not_passed(arrays):
    decision = decided({"cases": [{"arrays": arrays}] * len(RIGHT)})
    assert decision.mark in (Mark.CHECK_FAILED, Mark.WRONG)


def test_what_failed_is_not_blamed_on_the_student_and_gives_no_points():
    decision = decided({"failed": "a cell of the course itself: ImportError"})
    assert decision.mark is Mark.CHECK_FAILED
    assert "says nothing about this answer" in decision.reason
    assert "ImportError" in decision.reason


ELSEWHERE = {
    "raises a text": {"raised": "Case 12 x 28", "type": "ValueError", "line": 3},
    "raises a class": {"raised": "", "type": "Case12x28", "line": 3},
    "raises a line of text": {"raised": "", "type": "ValueError", "line": "12 x 28"},
    "fails with a text": {"failed": "12 x 28"},
}


@pytest.mark.parametrize("entry", ELSEWHERE.values(), ids=ELSEWHERE)
def test_nothing_raised_on_an_unseen_case_is_repeated(entry):
    for found in (entry, {"cases": [entry]}):
        decision = decided_on_hidden(found)
        assert decision.mark in (Mark.RAISED, Mark.CHECK_FAILED)
        assert "12" not in decision.reason


def test_on_the_notebooks_own_cases_the_whole_error_is_shown():
    entry = {"raised": "Traceback:\nValueError: shape 12 x 28", "type": "ValueError", "line": 3}
    assert decided({"cases": [entry]}).reason == entry["raised"]


def test_sentences_with_numbers_or_names_of_a_case_are_left_out():
    verdict = Verdict(
        Status.WRONG,
        "The axis is wrong. `f` has shape (3, 28); it should be (28,). The layer 'block' is not asked for. Which axis?",
    )
    assert verdicts.without_the_case(verdict) == "The axis is wrong. Which axis?"


def test_a_text_that_the_answer_handed_over_is_not_repeated():
    """An object's type may be named after the case."""
    verdict = Verdict(Status.WRONG, "`f` is an object of type seed ejjd shape fjd. A NumPy array is asked for.")
    assert verdicts.without_the_case(verdict, {"found": {"unreadable": "seed ejjd shape fjd"}}) == ""
    assert verdicts.without_the_case(verdict, {"found": {"unreadable": "other"}}) != ""


ODD = {"four axes": np.zeros((1, 1, 1, 1), "float32"), "a list": [1, 2], "an empty array": np.zeros(0)}


@pytest.mark.parametrize("exercise", registry.all_exercises(), ids=lambda exercise: exercise.id)
def test_no_exercise_tells_of_an_unseen_case(exercise):
    """Judges say shapes and names; on an unseen case these are the case's."""
    case = exercise.cases(None)[0]
    for odd in ODD.values():
        arrays = run(exercise, lambda *args, odd=odd, **kwargs: odd, case)
        decision = verdicts.of_record(exercise, {"cases": [{"arrays": arrays}]}, [case], shown=False)
        assert decision.mark is Mark.WRONG
        assert decision.reason.startswith("It passes the notebook's own check, but not other cases")
        assert not re.search(r"\d|['\"]", decision.reason.removeprefix(verdicts.ELSEWHERE))


@pytest.mark.parametrize("how", [how for how in End if how is not End.FINISHED])
def test_every_end_has_its_sentence(how):
    decision = verdicts.of_end(Ended(how, "SIGSEGV"), Limits())
    assert decision.mark is Mark.STOPPED
    assert "This costs this exercise alone" in decision.reason


def test_a_judge_that_fails_fails_closed():
    def judge(arrays, case):
        raise ZeroDivisionError

    broken = dataclasses.replace(EXERCISE, judge=judge)
    decision = verdicts.of_record(broken, record(EXERCISE.reference()), PUBLIC, shown=True)
    assert decision.mark is Mark.CHECK_FAILED
    assert "ZeroDivisionError" in decision.reason
