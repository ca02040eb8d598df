"""The doors of the house: what an import costs, and which room may import which."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import labutils

PACKAGE = Path(labutils.__file__).parent

# Each room may import those before it, and itself.
ROOMS = [
    "downloads",
    "weights",
    "photos",
    "datasets",
    "vit_layers",
    "pretrained",
    "vgg16",
    "vit",
    "explain",
    "evaluate",
    "plots",
    "report",
    "widgets",
    "course",
    "doctor",
    "cli",
]
BESIDE = {"training": "cli"}  # Rooms that nothing imports, and the room at whose place they stand.

HEAVY = {"tensorflow", "keras", "matplotlib", "sklearn", "skimage", "IPython", "ipywidgets", "nbformat", "pandas"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """The part of labutils that a module belongs to; "" for the package itself and its ``__main__``."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first in ("__init__", "__main__") else first


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a module imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("labutils.")}
    return {name for name in found if not name.startswith("_")}


def test_every_module_has_a_room():
    assert {room(path) for path in modules()} <= {"", *ROOMS, *BESIDE}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_doors_open_one_way(path):
    own = room(path)
    allowed = {"cli"} if own == "" else {own, *ROOMS[: ROOMS.index(BESIDE.get(own, own))]}
    assert imported_rooms(path) <= allowed


def test_every_package_is_listed_for_the_wheel():
    """The list is written by hand because ``data/models`` is among the packages, as ``labutils.bundled``."""
    project = PACKAGE.parent / "pyproject.toml"
    listed = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(PACKAGE.parent) for path in modules()}
    assert sorted(listed) == sorted({".".join(folder.parts) for folder in folders} | {"labutils.bundled"})


@pytest.mark.parametrize(
    "module",
    # `vit_layers` are Keras layers, and so need Keras; it is imported where they are built or loaded.
    [
        "labutils",
        *(f"labutils.{name}" for name in ROOMS if name in {room(path) for path in modules()} - {"vit_layers"}),
    ],
)
def test_import_leaves_heavy_packages_alone(module):
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []
