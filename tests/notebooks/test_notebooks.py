"""The notebooks as they are handed out: built from the solutions, whole, and right without being executed in full.

That they run through is proved by nbval, which executes the solutions; here the students' notebooks with the solutions'
cells put in are shown to be these very solutions.
"""

import ast
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbgrader.nbgraderformat import MetadataValidator

from labutils.course import registry
from labutils.course.build import ANSWER_HERE, build

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = sorted((ROOT / "solutions").glob("[0-9][0-9]_*.ipynb"))
NAMES = [path.name for path in SOLUTIONS]
each_notebook = pytest.mark.parametrize("name", NAMES)


def solution(name):
    return nbformat.read(ROOT / "solutions" / name, as_version=4)


def student(name):
    return nbformat.read(ROOT / "notebooks" / name, as_version=4)


def exercises(name):
    return list(registry.of_notebook(name[:2]).values())


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def graded(notebook):
    """The cells that nbgrader knows, by id."""
    return {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}


def test_notebooks_are_what_the_solutions_give():
    assert build(ROOT, check=True) == []


def test_every_notebook_with_exercises_has_a_solution():
    assert [name[:2] for name in NAMES] == list(registry.modules())


@each_notebook
def test_cells_are_valid_python_one_by_one(name):
    for cell in code_cells(student(name)):
        ast.parse(cell.source)


@each_notebook
def test_student_notebook_holds_no_answers_outputs_or_places(name):
    notebook = student(name)
    for cell in notebook.cells:
        assert "SOLUTION" not in cell.source
        assert not re.search(r"(/work|/home|/root|/Users|[A-Z]:\\\\)", cell.source)
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None


@each_notebook
def test_solution_is_executed_in_order_without_errors_or_places(name):
    cells = code_cells(solution(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            text = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
            assert str(ROOT) not in text


@each_notebook
def test_cell_ids_are_those_of_the_solution(name):
    assert [cell.id for cell in student(name).cells] == [cell.id for cell in solution(name).cells]


@each_notebook
def test_exercises_are_those_of_the_registry_in_order(name):
    asked = [grade_id for grade_id, cell in graded(student(name)).items() if cell.cell_type == "code"]
    expected = [cell_id for e in exercises(name) for cell_id in (e.cell_id, f"{e.cell_id}-check")]
    assert asked == expected


@each_notebook
def test_each_exercise_is_a_stub_with_its_check_and_its_terms(name):
    cells = student(name).cells
    position = {cell.id: index for index, cell in enumerate(cells)}
    for exercise in exercises(name):
        index = position[exercise.cell_id]
        text, stub, check = cells[index - 1 : index + 2]
        points = f"{exercise.points} point" + ("s" if exercise.points > 1 else "")
        assert exercise.id in text.source
        assert f"{exercise.difficulty} · {exercise.minutes} minutes · {points}" in text.source
        assert exercise.answer in stub.source
        assert f'TodoNotDone("{exercise.id}")' in stub.source or "= ...  # TODO" in stub.source
        assert check.source == f'check("{exercise.id}", {exercise.answer})'
        assert check.metadata.nbgrader.points == exercise.points
        assert check.metadata.nbgrader.grade
        assert stub.metadata.nbgrader.solution


@each_notebook
def test_think_tasks_are_graded_by_hand(name):
    thinks = [cell for cell in graded(student(name)).values() if cell.cell_type == "markdown"]
    assert len(thinks) >= 2
    for cell in thinks:
        assert cell.source == ANSWER_HERE
        assert cell.metadata.nbgrader.grade
        assert cell.metadata.nbgrader.solution
        assert cell.metadata.nbgrader.points > 0


@each_notebook
def test_nbgraders_validator_accepts_both(name):
    MetadataValidator().validate_nb(solution(name))
    MetadataValidator().validate_nb(student(name))


@each_notebook
def test_goal_figure_is_inside_the_notebook_and_described(name):
    first = student(name).cells[0]
    assert re.search(r"!\[[^\]]{40,}\]\(attachment:goal\.png\)", first.source)
    assert first.attachments["goal.png"]["image/png"].startswith("iVBOR")
    figures = [cell for cell in code_cells(solution(name)) if "goal-figure" in cell.metadata.get("tags", [])]
    assert len(figures) == 1


@each_notebook
def test_verdicts_are_shown_as_text_and_html_and_all_pass(name):
    cells = graded(solution(name))
    for exercise in exercises(name):
        (output,) = cells[f"{exercise.cell_id}-check"].outputs
        assert output.data["text/plain"].startswith(f"✔ {exercise.id}: passed")
        assert f"{exercise.id}: passed" in output.data["text/html"]


@each_notebook
def test_student_notebook_with_the_solutions_cells_put_in_is_the_solution(name):
    answers = graded(solution(name))
    notebook = student(name)
    for exercise in exercises(name):
        graded(notebook)[exercise.cell_id].source = answers[exercise.cell_id].source
    assert [cell.source for cell in code_cells(notebook)] == [cell.source for cell in code_cells(solution(name))]


@each_notebook
def test_untouched_notebook_stops_at_its_first_todo_with_one_clear_message(name):
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = student(name)
    first = exercises(name)[0]
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": ROOT / "notebooks"}}
    )
    with pytest.raises(CellExecutionError) as caught:
        client.execute(env=os.environ | {"MPLBACKEND": "Agg"})
    assert caught.value.ename == "TodoNotDone"
    assert caught.value.evalue.startswith(f"{first.id} is not attempted yet")
    errors = [
        (cell, output) for cell in code_cells(notebook) for output in cell.outputs if output.output_type == "error"
    ]
    ((cell, error),) = errors
    assert cell.id == f"{first.cell_id}-check"
    assert error.traceback == [f"TodoNotDone: {error.evalue}"]
