"""Every exercise of the course, those of later notebooks as well: they join by being in the registry.

Each wrong answer must be rejected with its own diagnosis, on the public cases and on drawn ones; each right answer, in whatever style,
must be accepted; and nothing that a student's function may give back may trip the check.
"""

import functools
import inspect
import json
import re

import numpy as np
import pytest

from labutils.course import Status, registry
from labutils.course.checking import MISSING, assess, run
from labutils.course.exercise import TodoNotDone

EXERCISES = registry.all_exercises()
SEEDS = [None, 2024]
WRONG = [pytest.param(exercise, name, id=f"{exercise.id}-{name}") for exercise in EXERCISES for name in exercise.wrong]
RIGHT = [pytest.param(exercise, name, id=f"{exercise.id}-{name}") for exercise in EXERCISES for name in exercise.right]
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
each_seed = pytest.mark.parametrize("seed", SEEDS, ids=["public", "drawn"])

# What functions give back that were written in a hurry.
ODD_RESULTS = {
    "None": None,
    "text": "cat",
    "number": 3,
    "empty list": [],
    "list of lists": [[], [1]],
    "dict": {"a": 1},
    "object": object(),
    "complex": 1j,
    "type": int,
    "empty array": np.zeros(0),
    "array of NaN": np.full((2, 3), np.nan),
    "array of objects": np.array([None, "a"], dtype=object),
    "four axes": np.zeros((1, 1, 1, 1), dtype="float32"),
}


@functools.cache
def cases_of(exercise_id, seed):
    """An exercise's cases, drawn once for all tests: drawing those that tell mistakes apart costs more than judging."""
    return registry.find(exercise_id).cases(seed)


def solution_lines(exercise):
    """The lines of the reference's source that say how it is done (the trivial ones are too short to give it away)."""
    lines = [line.strip() for line in inspect.getsource(exercise.reference()).splitlines()[1:]]
    return [line for line in lines if len(line) > 20 and not line.startswith(('"""', "from ", "import ", "#"))]


def as_words(text):
    return re.sub(r"\W+", "", text)


@each_exercise
def test_record_is_complete(exercise):
    assert re.fullmatch(r"\d\d\.[a-z][a-z0-9_]*", exercise.id)
    assert exercise.answer.isidentifier()
    assert exercise.title
    assert exercise.points >= 1
    assert exercise.minutes >= 1
    assert exercise.difficulty in ("easy", "medium", "hard")
    assert len(set(exercise.hints)) == 3
    assert len(exercise.wrong) >= 4
    assert len(exercise.right) >= 2


def test_there_are_ten_exercises_with_different_ids():
    assert len({exercise.id for exercise in EXERCISES}) == len(EXERCISES) >= 10


@each_exercise
def test_drawn_cases_depend_on_the_seed_alone_and_are_plain_data(exercise):
    def drawn(seed):
        return json.dumps([(case.name, dict(case.inputs)) for case in exercise.cases(seed)])

    assert drawn(2024) == drawn(2024)
    assert drawn(2024) != drawn(None)


@each_exercise
@each_seed
def test_reference_passes(exercise, seed):
    assert assess(exercise, exercise.reference(), cases_of(exercise.id, seed)).passed


@pytest.mark.parametrize(("exercise", "name"), RIGHT)
@each_seed
def test_right_answer_in_another_style_passes(exercise, name, seed):
    verdict = assess(exercise, exercise.right[name](), cases_of(exercise.id, seed))
    assert verdict.passed, verdict.message


@pytest.mark.parametrize(("exercise", "name"), WRONG)
@each_seed
def test_wrong_answer_gets_its_diagnosis_and_not_the_solution(exercise, name, seed):
    verdict = assess(exercise, exercise.wrong[name](), cases_of(exercise.id, seed))
    assert (verdict.status, verdict.mistake) == (Status.WRONG, name), verdict.message
    assert verdict.message
    for line in solution_lines(exercise):
        assert as_words(line) not in as_words(verdict.message)


@each_exercise
def test_hints_do_not_hold_a_line_of_the_solution(exercise):
    for line in solution_lines(exercise):
        assert all(as_words(line) not in as_words(text) for text in exercise.hints)


@each_exercise
@pytest.mark.parametrize("odd", ODD_RESULTS.values(), ids=ODD_RESULTS)
def test_odd_results_are_wrong_and_never_break_the_check(exercise, odd):
    verdict = assess(exercise, lambda *args, **kwargs: odd, cases_of(exercise.id, None))
    assert verdict.status is Status.WRONG, verdict.message
    assert verdict.message


@each_exercise
@pytest.mark.parametrize("answer", [MISSING, None, ..., [..., "cat"]], ids=["missing", "None", "dots", "dots inside"])
def test_untouched_values_are_not_attempted(exercise, answer):
    assert assess(exercise, answer).status is Status.NOT_ATTEMPTED


@each_exercise
def test_untouched_stub_is_not_attempted(exercise):
    def stub(*args, **kwargs):
        raise TodoNotDone(exercise.id)

    verdict = assess(exercise, stub)
    assert (verdict.status, verdict.mistake) == (Status.NOT_ATTEMPTED, exercise.id)


@each_exercise
def test_what_the_answer_raises_is_the_students_error(exercise):
    def broken(*args, **kwargs):
        return {}["a line of the student's"]

    verdict = assess(exercise, broken)
    assert verdict.status is Status.RAISED
    assert "KeyError" in verdict.message
    assert """return {}["a line of the student's"]""" in verdict.message
    assert "checking.py" not in verdict.message


@each_exercise
def test_an_answer_that_spoils_its_inputs_cannot_change_the_next_check(exercise):
    reference = exercise.reference()

    def vandal(*args, **kwargs):
        result = reference(*args, **kwargs)
        for value in [*args, *kwargs.values()]:
            if isinstance(value, np.ndarray):
                value[...] = 0
            elif isinstance(value, list):
                value.clear()
            elif hasattr(value, "set_weights"):
                value.set_weights([0 * weight for weight in value.get_weights()])
        return result

    assess(exercise, vandal)
    assert assess(exercise, reference).passed


@each_exercise
def test_what_is_collected_is_plain_data(exercise):
    def is_plain(value):
        if isinstance(value, dict):
            return all(type(key) is str for key in value) and all(map(is_plain, value.values()))
        if type(value) is list:
            return all(map(is_plain, value))
        if type(value) is np.ndarray:
            return value.dtype.kind in "biuf"
        return value is None or type(value) in (bool, int, float, str)

    for case in cases_of(exercise.id, None):
        assert is_plain(run(exercise, exercise.reference(), case))
