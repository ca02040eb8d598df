"""What runs before an answer: all that its code can reach, and no more."""

from pathlib import Path

import pytest

from labutils.course import registry
from labutils.course.grading.context import Step, StepKind, steps, unknown_names
from labutils.course.grading.course_notebook import CourseCell, CourseNotebook, Role, load_all

ROOT = Path(__file__).parents[3]
SOLVED = load_all(ROOT / "solutions")
EVERY_EXERCISE = [
    pytest.param(course, exercise_id, id=exercise_id) for course in SOLVED.values() for exercise_id in course.stubs()
]
WITHOUT_COST = {"imports", "divide"}
"""The given cells that the course's own answers build on: they import and define, and no network runs in them."""


def notebook(*cells):
    """A notebook: given cells as text, exercises' cells by id."""
    return CourseNotebook(
        "01_small",
        tuple(
            CourseCell(cell, Role.EXERCISE, "", cell)
            if cell.startswith("01.")
            else CourseCell(f"cell-{place}", Role.GIVEN, cell)
            for place, cell in enumerate(cells)
        ),
    )


def given(course, **codes):
    """The given cells that run for 01.predict."""
    return [step.code for step in steps(course, *codes_for(**codes)) if step.kind is StepKind.GIVEN]


def codes_for(predict, **others):
    return "01.predict", {"01.predict": predict} | {f"01.{name}": code for name, code in others.items()}


def helpers(course, **codes):
    return [(step.exercise, step.code) for step in steps(course, *codes_for(**codes)) if step.kind is StepKind.HELPER]


def test_the_answer_is_always_the_last_step():
    course = notebook("import numpy as np", "01.predict", "np = None")
    code = "def predict(model, images): return np.zeros(3)"
    assert steps(course, *codes_for(predict=code)) == [
        Step(StepKind.GIVEN, "import numpy as np"),
        Step(StepKind.ANSWER, code, "01.predict"),
    ]


@pytest.mark.parametrize("code", ["def predict(:", "predict = '", "((((", "%%bash\nnp"])
def test_a_cell_that_is_no_python_runs_alone_and_says_so_itself(code):
    assert [step.kind for step in steps(notebook("np = 1", "01.predict"), *codes_for(predict=code))] == ["answer"]


@pytest.mark.parametrize(
    ("cells", "code", "wanted"),
    [
        pytest.param(["a = 1", "b = 2"], "predict = a", ["a = 1"], id="a name"),
        pytest.param(["a = 1", "b = a", "c = b"], "predict = c", ["a = 1", "b = a", "c = b"], id="in turn"),
        pytest.param(
            ["def f(): return a", "a = 1"], "predict = f()", ["def f(): return a", "a = 1"], id="defined later"
        ),
        pytest.param(["a = 1"], "def predict(a): return a", [], id="a parameter"),
        pytest.param(["a = 1"], "a = 2\npredict = a", [], id="the student's own"),
        pytest.param(["a = {}", "a['b'] = 1"], "predict = a", ["a = {}", "a['b'] = 1"], id="changed"),
        pytest.param(["a = 1", "print(a)", "assert a"], "predict = a", ["a = 1"], id="only effects"),
        pytest.param(["a = 1", "a = 2"], "predict = a", ["a = 2"], id="bound anew"),
        pytest.param(
            ["a = 1", "if b: a = 2", "b = 1"], "predict = a", ["a = 1", "if b: a = 2"], id="perhaps bound anew"
        ),
        pytest.param(["a = 1", "b = a", "a = 2"], "predict = b", ["a = 1", "b = a"], id="the value at that cell"),
        pytest.param(["a = 1", "a += 1"], "predict = a", ["a = 1", "a += 1"], id="added to"),
        pytest.param(["for row in x: print(row)", "row = 1"], "predict = row", ["row = 1"], id="a loop before"),
        pytest.param(["x = 1"], "%timeit x\npredict = 1", ["x = 1"], id="in a magic"),
    ],
)
def test_the_given_cells_are_those_that_a_name_comes_from(cells, code, wanted):
    assert given(notebook(*cells, "01.predict"), predict=code) == wanted


def test_cells_below_the_exercise_do_not_run():
    assert given(notebook("01.predict", "a = 1"), predict="predict = a") == []


def test_other_exercises_have_the_reference_where_their_cell_stands():
    course = notebook("x = 1", "01.preprocess", "inputs = preprocess(x)", "01.predict")
    code = "def predict(model, images): return inputs"
    assert steps(course, *codes_for(predict=code, preprocess="def preprocess(x): return 'wrong'")) == [
        Step(StepKind.GIVEN, "x = 1"),
        Step(StepKind.REFERENCE, exercise="01.preprocess"),
        Step(StepKind.GIVEN, "inputs = preprocess(x)"),
        Step(StepKind.ANSWER, code, "01.predict"),
    ]


PREPROCESS = """
import json
SIZE = 224
unused = train()
def helper(x): return json.dumps([x, SIZE])
def preprocess(x): return helper(x)
"""


def test_a_helper_from_another_exercise_comes_with_what_it_needs_of_its_cell_but_without_the_answer():
    course = notebook("01.preprocess", "01.predict")
    code = "def predict(model, images): return helper(preprocess(images))"
    assert steps(course, *codes_for(predict=code, preprocess=PREPROCESS)) == [
        Step(StepKind.REFERENCE, exercise="01.preprocess"),
        Step(
            StepKind.HELPER,
            "import json\nSIZE = 224\n\ndef helper(x):\n    return json.dumps([x, SIZE])",
            "01.preprocess",
        ),
        Step(StepKind.ANSWER, code, "01.predict"),
    ]


def test_a_helper_brings_the_given_cells_and_the_helpers_that_it_needs():
    course = notebook("import numpy as np", "01.titles", "01.preprocess", "01.predict")
    codes = {
        "predict": "predict = first",
        "preprocess": "def first(): return second()",
        "titles": "def second(): return np.pi",
    }
    assert given(course, **codes) == ["import numpy as np"]
    assert helpers(course, **codes) == [
        ("01.titles", "def second():\n    return np.pi"),
        ("01.preprocess", "def first():\n    return second()"),
    ]


@pytest.mark.parametrize(
    ("cells", "code", "other"),
    [
        pytest.param(["a = 1"], "predict = a", "a = 2", id="the course has the name"),
        pytest.param([], "def a(): pass\npredict = a", "a = 2", id="the own cell has it"),
        pytest.param([], "predict = max", "def max(): pass", id="Python has it"),
        pytest.param([], "predict = a", "def a(:", id="the other cell is no Python"),
        pytest.param([], "predict = a", "for a in b: pass", id="it is no definition"),
        pytest.param([], "predict = a", "a = preprocess = b", id="it is the other's answer"),
    ],
)
def test_no_helper_where(cells, code, other):
    assert helpers(notebook(*cells, "01.preprocess", "01.predict"), predict=code, preprocess=other) == []


def test_the_nearest_helper_above_is_taken_and_one_below_if_there_is_no_other():
    course = notebook("01.titles", "01.preprocess", "01.predict", "01.top_three")
    codes = {"titles": "a = 1", "preprocess": "a = 2", "top_three": "a = 3\nb = 4", "predict": "predict = a, b"}
    assert helpers(course, **codes) == [("01.preprocess", "a = 2"), ("01.top_three", "b = 4")]


def test_unknown_names_are_those_that_nothing_graded_binds():
    course = notebook("import numpy as np", "01.preprocess", "01.predict", "later = 1")
    code = "def predict(m, x):\n    display(get_ipython())\n    return np.sum(helper(x)) + lost + later + __name__\nbound = 1"
    codes = {"predict": code, "preprocess": "def helper(x): return gone"}
    assert unknown_names(course, *codes_for(**codes)) == {"lost", "gone"}


def test_in_code_that_cannot_be_read_no_name_is_unknown():
    assert unknown_names(notebook("01.predict"), *codes_for(predict="lost(")) == set()


@pytest.mark.parametrize(("course", "exercise_id"), EVERY_EXERCISE)
def test_for_the_courses_own_answers_nothing_costly_runs_and_no_name_is_unknown(course, exercise_id):
    *before, answer = steps(course, exercise_id, course.stubs())
    ids = {cell.source: cell.id for cell in course.cells}
    assert answer.code == course.stubs()[exercise_id]
    assert {ids[step.code] for step in before if step.kind is StepKind.GIVEN} <= WITHOUT_COST
    assert not [step for step in before if step.kind is StepKind.HELPER]
    assert unknown_names(course, exercise_id, course.stubs()) == set()


@pytest.mark.parametrize("exercise_id", SOLVED["01_vgg16_setup"].stubs())
def test_the_steps_run_and_define_the_answer(exercise_id):
    course, namespace = SOLVED["01_vgg16_setup"], {}
    for step in steps(course, exercise_id, course.stubs()):
        if step.kind is StepKind.REFERENCE:
            exercise = registry.find(step.exercise)
            namespace[exercise.answer] = exercise.reference()
        else:
            exec(step.code, namespace)
    assert registry.find(exercise_id).answer in namespace
