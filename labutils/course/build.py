"""Makes the students' notebooks from the solutions, with nbgrader's own preprocessors and a few of ours.

A solution's exercise cell holds the stub that students keep, and below it the answer between ``### BEGIN SOLUTION`` and
``### END SOLUTION``; the answer defines the same name again, so the solution runs. What students get is the same
notebook without the answers, without outputs, and without what only our tests need. The same source gives the same
bytes everywhere.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

ANSWER_HERE = "*Your answer: double-click here and write two or three sentences.*"

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""The notebook's own metadata, without the versions of the machine that saved it last."""


class BadSolution(ValueError):
    """A solution notebook that students could not work with; the text names the cell."""


def build(root: Path, check: bool = False) -> list[Path]:
    """Write ``notebooks/`` from ``solutions/``, or find out what a build would change.

    Parameters
    ----------
    root : path
        The folder with ``solutions/`` and ``notebooks/``.
    check : bool
        Write nothing.

    Returns
    -------
    list of Path
        The students' notebooks that differed: those just written, or with ``check`` those to write, and those
        that have no solution (these are never deleted; they may be somebody's work).

    Raises
    ------
    FileNotFoundError
        There is no solution to build from.
    BadSolution
        A solution has an exercise cell without an answer region, or a stub that is not valid Python.
    """
    sources = sorted((root / "solutions").glob("[0-9][0-9]_*.ipynb"))
    if not sources:
        raise FileNotFoundError(f"no solutions to build from: {root / 'solutions'} holds no NN_name.ipynb")
    differing = []
    for source in sources:
        target = root / "notebooks" / source.name
        wanted = student_version(source)
        if target.exists() and target.read_bytes() == wanted:
            continue
        differing.append(target)
        if not check:
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(wanted)
    if check:
        built = {source.name for source in sources}
        differing += [path for path in sorted((root / "notebooks").glob("*.ipynb")) if path.name not in built]
    return differing


def student_version(source: Path) -> bytes:
    """The bytes of the student's notebook that one solution gives."""
    import nbformat

    notebook = nbformat.read(source, as_version=4)
    try:
        return dumped(strip(notebook))
    except BadSolution as error:
        raise BadSolution(f"{source.name}: {error}") from None


def strip(notebook: NotebookNode) -> NotebookNode:
    """Turn a solution into what students get, in place; the order of the steps is the pipeline."""
    from nbgrader.preprocessors import CheckCellMetadata, ClearHiddenTests, ClearOutput, ClearSolutions, LockCells

    require_known_ids(notebook)
    require_answer_regions(notebook)
    resources: dict = {}
    for preprocessor in (
        ClearSolutions(code_stub={"python": ""}, text_stub=ANSWER_HERE),
        ClearHiddenTests(),
        ClearOutput(),
        LockCells(),
        CheckCellMetadata(),
    ):
        notebook, resources = preprocessor.preprocess(notebook, resources)
    tidy(notebook)
    require_valid_stubs(notebook)
    return notebook


def require_known_ids(notebook: NotebookNode) -> None:
    """nbgrader's ids hold letters, digits, ``-`` and ``_`` alone; its own message for others is a page long."""
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if "." in grade_id:
            raise BadSolution(f"grade_id {grade_id!r} holds a dot; nbgrader allows {grade_id.replace('.', '-', 1)!r}")


def require_answer_regions(notebook: NotebookNode) -> None:
    """Every cell that nbgrader takes for a solution must say which part of it is the answer."""
    from nbgrader.utils import is_solution

    for cell in notebook.cells:
        if is_solution(cell) and ("BEGIN SOLUTION" not in cell.source or "END SOLUTION" not in cell.source):
            raise BadSolution(f"cell {cell.metadata.nbgrader.grade_id!r} has no BEGIN SOLUTION ... END SOLUTION")


def require_valid_stubs(notebook: NotebookNode) -> None:
    """What is left of an exercise cell must be Python that says where the TODO is."""
    from nbgrader.utils import is_solution

    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        try:
            ast.parse(cell.source)
        except SyntaxError as error:
            raise BadSolution(f"cell {cell.id!r} is not valid Python for students: {error}") from None
        if is_solution(cell) and "TODO" not in cell.source and "TodoNotDone(" not in cell.source:
            raise BadSolution(f"cell {cell.metadata.nbgrader.grade_id!r} keeps no TODO for students")


def tidy(notebook: NotebookNode) -> None:
    """Leave nothing of the machine and of the tests that ran the solution: tags for nbval, times, versions."""
    for cell in notebook.cells:
        cell.source = cell.source.strip("\n")
        tags = [tag for tag in cell.metadata.pop("tags", []) if not tag.startswith("nbval-")]
        if tags:
            cell.metadata["tags"] = tags
        for key in ("execution", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
    notebook.metadata = type(notebook)(METADATA)


def dumped(notebook: NotebookNode) -> bytes:
    """A notebook's file, the same bytes for the same content."""
    import nbformat

    nbformat.validate(notebook)
    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode("utf-8")
