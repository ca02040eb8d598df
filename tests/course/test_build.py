"""From a solution to what students get."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from labutils.course.build import ANSWER_HERE, BadSolution, build
from labutils.course.execute import attach_goal

EXERCISE = '''def double(x):
    """Twice x."""
    raise TodoNotDone("09.double")


### BEGIN SOLUTION
def double(x):
    return 2 * x


### END SOLUTION'''


def nbgrader(grade_id, *, grade=False, solution=False, points=None):
    metadata = {"grade": grade, "grade_id": grade_id, "locked": not solution, "schema_version": 3, "solution": solution}
    return {"nbgrader": metadata | {"task": False} | ({} if points is None else {"points": points})}


def solution():
    """A solution notebook with one of everything, as Jupyter leaves it after a run."""
    exercise = new_code_cell(EXERCISE, id="09-double", metadata=nbgrader("09-double", solution=True), execution_count=2)
    picture = new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "a bar"})
    think = "<!-- BEGIN SOLUTION -->\nBecause it is so.\n<!-- END SOLUTION -->"
    cells = [
        new_markdown_cell("# Nine\n![A bar](attachment:goal.png)", id="title"),
        new_code_cell(
            "print(1)",
            id="given",
            execution_count=1,
            outputs=[new_output("stream", name="stdout", text="1\n"), picture],
            metadata={"tags": ["nbval-ignore-output", "goal-figure"], "execution": {"iopub.status.busy": "now"}},
        ),
        exercise,
        new_code_cell("x = 1", id="09-double-check", metadata=nbgrader("09-double-check", grade=True, points=2)),
        new_markdown_cell(think, id="09-think", metadata=nbgrader("09-think", grade=True, solution=True, points=1)),
    ]
    return new_notebook(cells=cells, metadata={"language_info": {"name": "python", "version": "3.11.2"}})


@pytest.fixture
def course(tmp_path):
    """A folder with one solution, and how to change it."""
    (tmp_path / "solutions").mkdir()

    def write(notebook):
        nbformat.write(notebook, tmp_path / "solutions" / "09_nine.ipynb")
        return tmp_path

    return write


def student(root):
    return nbformat.read(root / "notebooks" / "09_nine.ipynb", as_version=4)


def test_students_keep_the_stub_and_lose_the_answer(course):
    root = course(solution())
    assert build(root) == [root / "notebooks" / "09_nine.ipynb"]
    cells = {cell.id: cell for cell in student(root).cells}
    assert cells["09-double"].source == EXERCISE.partition("\n\n\n###")[0]
    assert cells["09-think"].source == ANSWER_HERE
    assert cells["given"].source == "print(1)"


def test_outputs_counts_times_versions_and_test_tags_go(course):
    root = course(solution())
    build(root)
    notebook = student(root)
    given = notebook.cells[1]
    assert given.outputs == []
    assert given.execution_count is None
    assert dict(given.metadata) == {"tags": ["goal-figure"]}
    assert "version" not in notebook.metadata.language_info


def test_ids_attachments_and_nbgraders_metadata_stay(course):
    notebook = solution()
    attach_goal(notebook)
    root = course(notebook)
    build(root)
    assert [cell.id for cell in student(root).cells] == [cell.id for cell in notebook.cells]
    assert student(root).cells[0].attachments == {"goal.png": {"image/png": "iVBORw0KGgo="}}
    check = student(root).cells[3].metadata
    assert check.nbgrader == notebook.cells[3].metadata.nbgrader
    assert (check.editable, check.deletable) == (False, False)


def test_the_same_source_gives_the_same_bytes_whoever_saved_it(course):
    root = course(solution())
    build(root)
    first = (root / "notebooks" / "09_nine.ipynb").read_bytes()
    notebook = solution()
    notebook.metadata.language_info.version = "3.13.0"
    notebook.cells[2].execution_count = 77
    assert build(course(notebook)) == []
    assert (root / "notebooks" / "09_nine.ipynb").read_bytes() == first


def test_check_writes_nothing_and_names_what_differs(course):
    root = course(solution())
    target = root / "notebooks" / "09_nine.ipynb"
    assert build(root, check=True) == [target]
    assert not target.exists()
    build(root)
    assert build(root, check=True) == []
    target.write_text(target.read_text(encoding="utf-8").replace("print(1)", "print(2)"), encoding="utf-8")
    assert build(root, check=True) == [target]


def test_notebooks_without_a_solution_are_named_and_never_deleted(course):
    root = course(solution())
    build(root)
    mine = root / "notebooks" / "my_own.ipynb"
    mine.write_text("{}", encoding="utf-8")
    assert build(root, check=True) == [mine]
    assert build(root) == []
    assert mine.exists()


def test_a_folder_without_solutions_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="solutions"):
        build(tmp_path)


def set_source(source):
    def change(notebook):
        notebook.cells[2].source = source

    return change


def set_grade_id(grade_id):
    def change(notebook):
        notebook.cells[2].metadata.nbgrader.grade_id = grade_id

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_source("def double(x):\n    return 2 * x"), "'09-double' has no BEGIN SOLUTION"),
        (set_source(EXERCISE.replace("### END SOLUTION", "")), "no BEGIN SOLUTION ... END SOLUTION"),
        (
            set_source(EXERCISE[EXERCISE.index("\n### ") :].replace("###", "def f():\n###", 1)),
            "not valid Python for students",
        ),
        (set_source("y = 1\n### BEGIN SOLUTION\n### END SOLUTION"), "'09-double' keeps no TODO"),
        (set_grade_id("09.double"), "nbgrader allows '09-double'"),
    ],
    ids=["no region", "region not ended", "stub invalid", "stub without TODO", "dot in the id"],
)
def test_a_solution_that_students_could_not_use_is_refused_by_name(course, change, words):
    notebook = solution()
    change(notebook)
    with pytest.raises(BadSolution, match=words) as caught:
        build(course(notebook))
    assert "09_nine.ipynb" in str(caught.value)


def test_duplicate_grade_ids_are_refused_by_nbgraders_validator(course):
    notebook = solution()
    notebook.cells[3].metadata.nbgrader.grade_id = "09-double"
    with pytest.raises(Exception, match="validate"):
        build(course(notebook))


def test_value_stubs_may_be_an_assignment(course):
    notebook = solution()
    notebook.cells[2].source = "x = ...  # TODO: a number\n### BEGIN SOLUTION\nx = 3\n### END SOLUTION"
    root = course(notebook)
    build(root)
    assert student(root).cells[2].source == "x = ...  # TODO: a number"


def test_the_file_is_readable_json_that_ends_in_a_newline(course):
    root = course(solution())
    build(root)
    text = (root / "notebooks" / "09_nine.ipynb").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert json.loads(text)["nbformat"] == 4
