"""Executes the solutions in place and builds the students' notebooks from them: ``python -m labutils.course.execute``.

To be run after a change of the bundled weights, of the library or of a solution; it takes the minutes that the
notebooks take. Names of notebooks (``01``) limit it to these.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from labutils.course.build import METADATA, build, dumped

if TYPE_CHECKING:
    from nbformat import NotebookNode

GOAL = "goal.png"
"""The attachment that shows, at a notebook's top, what the student will have made; taken from the output of the
cell tagged ``goal-figure``."""


def execute(path: Path) -> None:
    """Run one solution on the bundled weights and keep its outputs; cell ids, texts and order stay as they are."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    environment |= {"LABUTILS_WEIGHTS": "bundled", "TF_CPP_MIN_LOG_LEVEL": "3"}
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(env=environment)
    notebook.metadata = type(notebook)(METADATA)
    attach_goal(notebook)
    path.write_bytes(dumped(notebook))


def attach_goal(notebook: NotebookNode) -> None:
    """Put the goal figure's picture into the text that shows it (and nothing where a notebook has none)."""
    pictures = [
        output.data["image/png"].replace("\n", "")
        for cell in notebook.cells
        if "goal-figure" in cell.metadata.get("tags", [])
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    for cell in notebook.cells:
        if f"attachment:{GOAL}" in cell.source and pictures:
            cell["attachments"] = {GOAL: {"image/png": pictures[-1]}}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m labutils.course.execute", description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", metavar="NN", help="numbers of the notebooks; all without")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the folder with solutions/ (default: here)")
    arguments = parser.parse_args()
    for path in sorted((arguments.root / "solutions").glob("[0-9][0-9]_*.ipynb")):
        if not arguments.notebooks or path.name[:2] in arguments.notebooks:
            print(f"executing {path.name}", flush=True)
            execute(path)
    for path in build(arguments.root):
        print(f"built {path}")


if __name__ == "__main__":
    main()
