"""The course under nbgrader with docs/nbgrader_config.py: released, handed in, marked, explained and exported.

Every step is nbgrader's own command. Three students hand in notebook 01, the quickest to run; nbgrader runs each in full.
"""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from labutils.course import registry

ROOT = Path(__file__).resolve().parents[3]
NAMES = [path.stem for path in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.ipynb"))]
HANDED_IN = NAMES[0]
POINTS = {f"{exercise.cell_id}-check": exercise.points for exercise in registry.of_notebook(HANDED_IN[:2]).values()}
THINKS = ["01-think-twice", "01-think-rocket", "01-think-second"]

NOISE = """
import os, sys, warnings
import tensorflow as tf

quiet_predict = predict

def predict(model, images):
    os.write(2, b"I0000 as TensorFlow's own C++ code writes\\n")
    tf.get_logger().warning("5 out of the last 5 calls triggered tf.function retracing")
    warnings.warn("a warning")
    print("a progress bar", file=sys.stderr)
    print("the noise was made")
    return quiet_predict(model, images)
"""

WRONG_TITLES = """
def make_titles(paths):
    return [path.stem for path in paths]
"""


def nbgrader(course, *arguments):
    """Run an nbgrader command in a course's folder, with nothing set but what its nbgrader_config.py sets."""
    ours = {"LABUTILS_WEIGHTS", "MPLBACKEND", "TF_CPP_MIN_LOG_LEVEL"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    for folder in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        environment[folder] = str(course / "jupyter" / folder)
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def cells_of(path):
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


def hand_in(course, student, origin, change):
    """Put a student's notebook where nbgrader collects it: ``origin`` with its cells, by id, changed."""
    notebook = nbformat.read(origin, as_version=4)
    change({cell.id: cell for cell in notebook.cells})
    folder = course / "submitted" / student / HANDED_IN
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / f"{HANDED_IN}.ipynb")


def do_all(cells):
    """The solution's answer in every exercise, two questions answered in words and one left open."""
    answers = cells_of(ROOT / "solutions" / f"{HANDED_IN}.ipynb")
    for check in POINTS:
        exercise = check.removesuffix("-check")
        cells[exercise].source = answers[exercise].source
    for think in THINKS[:2]:
        cells[think].source = "It depends, and I can say on what."


def do_all_with_noise(cells):
    do_all(cells)
    cells["01-predict"].source += NOISE


def do_one_wrong_and_edit_its_check(cells):
    do_all(cells)
    cells["01-titles"].source += WRONG_TITLES
    cells["01-titles-check"].source = "print('all is well')"
    cells["01-titles-check"].metadata.nbgrader.points = 100


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A course's folder after generate_assignment: each solution as the source of an assignment of its name."""
    course = tmp_path_factory.mktemp("course")
    shutil.copy(ROOT / "docs" / "nbgrader_config.py", course)
    for name in NAMES:
        (course / "source" / name).mkdir(parents=True)
        shutil.copy(ROOT / "solutions" / f"{name}.ipynb", course / "source" / name)
    nbgrader(course, "generate_assignment", "*")
    return course


@pytest.fixture(scope="module")
def graded(released):
    """The same folder after autograde, one mark by hand, generate_feedback and export."""
    release = released / "release" / HANDED_IN / f"{HANDED_IN}.ipynb"
    hand_in(released, "perfect", release, do_all_with_noise)
    hand_in(released, "one_wrong", release, do_one_wrong_and_edit_its_check)
    hand_in(released, "untouched", ROOT / "notebooks" / f"{HANDED_IN}.ipynb", lambda cells: None)
    nbgrader(released, "autograde", HANDED_IN)
    with gradebook(released) as book:
        book.find_grade(THINKS[0], HANDED_IN, HANDED_IN, "perfect").manual_score = 1.5
        book.db.commit()
    nbgrader(released, "generate_feedback", HANDED_IN)
    nbgrader(released, "export", "--to", "grades.csv", "--assignment", f"['{HANDED_IN}']")
    return released


def gradebook(course):
    return Gradebook(f"sqlite:///{(course / 'gradebook.db').as_posix()}")


def grades(course, student):
    """Cell id -> (automatic score, score given by hand, whether nbgrader waits for one)."""
    with gradebook(course) as book:
        notebook = book.find_submission_notebook(HANDED_IN, HANDED_IN, student)
        return {
            grade.name: (grade.auto_score, grade.manual_score, grade.needs_manual_grade) for grade in notebook.grades
        }


def automatic_points(course, student):
    """Check cell's id -> points that nbgrader gave by itself."""
    return {cell: grades(course, student)[cell][0] for cell in POINTS}


def without_nbgraders_checksums(cell):
    """A cell as plain data; nbgrader adds a checksum and the cell's type to the metadata of what it releases."""
    nbgrader_metadata = cell.metadata.get("nbgrader", {})
    for key in ("checksum", "cell_type"):
        nbgrader_metadata.pop(key, None)
    return cell


@pytest.mark.parametrize("name", NAMES)
def test_release_is_the_notebook_that_labutils_builds(released, name):
    release = nbformat.read(released / "release" / name / f"{name}.ipynb", as_version=4)
    built = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    assert [without_nbgraders_checksums(cell) for cell in release.cells] == built.cells
    assert release.metadata == built.metadata


@pytest.mark.parametrize("name", NAMES)
def test_gradebook_holds_the_points_of_every_exercise_and_question(released, name):
    exercises = {f"{exercise.cell_id}-check": exercise.points for exercise in registry.of_notebook(name[:2]).values()}
    thinks = {
        cell.id: cell.metadata.nbgrader.points
        for cell in cells_of(ROOT / "notebooks" / f"{name}.ipynb").values()
        if cell.cell_type == "markdown" and "nbgrader" in cell.metadata
    }
    with gradebook(released) as book:
        recorded = {cell.name: cell.max_score for cell in book.find_notebook(name, name).grade_cells}
    assert recorded == exercises | thinks


def test_right_answers_get_full_points(graded):
    assert automatic_points(graded, "perfect") == POINTS


def test_noise_on_stderr_while_a_check_runs_costs_nothing(graded):
    check = cells_of(graded / "autograded" / "perfect" / HANDED_IN / f"{HANDED_IN}.ipynb")["01-predict-check"]
    printed = "".join(output.text for output in check.outputs if output.output_type == "stream")
    assert "the noise was made" in printed
    assert grades(graded, "perfect")["01-predict-check"] == (POINTS["01-predict-check"], None, False)


def test_untouched_notebook_gets_nothing_and_waits_for_nobody(graded):
    assert grades(graded, "untouched") == dict.fromkeys([*POINTS, *THINKS], (0, None, False))


def test_wrong_answer_costs_its_points_alone_and_an_edited_check_is_put_back(graded):
    assert automatic_points(graded, "one_wrong") == POINTS | {"01-titles-check": 0}


def test_answered_questions_wait_for_a_mark_by_hand(graded):
    assert {cell: grades(graded, "one_wrong")[cell] for cell in THINKS} == {
        THINKS[0]: (None, None, True),
        THINKS[1]: (None, None, True),
        THINKS[2]: (0, None, False),  # left open: nothing to read
    }


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ("perfect", "01.titles: passed (1 point)"),
        ("one_wrong", "01.titles: not right yet"),
        ("untouched", "01.titles is not attempted yet"),
    ],
)
def test_feedback_page_says_what_the_check_found(graded, student, said):
    page = (graded / "feedback" / student / HANDED_IN / f"{HANDED_IN}.html").read_text(encoding="utf-8")
    assert said in page


def test_export_has_the_automatic_points_and_those_given_by_hand(graded):
    with (graded / "grades.csv").open(newline="", encoding="utf-8") as table:
        scores = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(table)}
    every, thinks = sum(POINTS.values()), 6
    assert scores == {
        "perfect": (every + 1.5, every + thinks),
        "one_wrong": (every - POINTS["01-titles-check"], every + thinks),
        "untouched": (0, every + thinks),
    }
