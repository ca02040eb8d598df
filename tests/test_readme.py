"""The README holds: its Python runs, its files and commands exist, its numbers are those of the project."""

import html
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    *(f"docs/{page}.md" for page in ("index", "notebooks", "instructors", "nbgrader")),
    "data/photos/README.md",
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def students_folder(tmp_path, monkeypatch):
    """What the README takes for granted: a student's photos, and a model of their own."""
    import keras

    from labutils import photos

    (tmp_path / "data" / "photos").mkdir(parents=True)
    for name in ("my_cat", "another"):
        picture = photos.sample_path("cat").read_bytes()
        (tmp_path / "data" / "photos" / f"{name}.jpg").write_bytes(picture)
    keras.utils.set_random_seed(0)
    keras.Sequential(
        [
            keras.Input((64, 96, 3)),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5, activation="softmax"),
        ]
    ).save(tmp_path / "my_model.keras")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_runs_from_top_to_bottom(students_folder):
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["image"].shape == (64, 96, 3)
    assert all(stack.shape == (1, 64, 96) and np.isfinite(stack).all() for stack in names["maps"].values())
    assert {"my_cat.png", "grad_cam.png"} <= {path.name for path in students_folder.iterdir()}


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = path.parent / file if file else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_labutils_command_parses():
    from labutils import weights
    from labutils.cli import _parser

    commands = re.findall(r"(?:^|[/\\`])labutils ((?:start|explain|build|weights)\b[^\n`#]*)", README, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        _parser().parse_args(command.split())
    fetched = [command.split()[2] for command in commands if command.startswith("weights fetch")]
    assert set(fetched) <= set(weights.files())


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make (lab|test|demo|build|clean)\b", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_lines_without_make_are_those_of_make():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.partition("$(VENV)/ready: ")[2].partition("@touch")[0].splitlines()[1:]
    recipe.append(re.search(r"^lab:.*\n(.*)$", makefile, re.MULTILINE)[1])
    names = {"$(PYTHON)": "python3", "$(VENV)": ".venv", "$(BIN)": ".venv/bin", " --quiet": ""}
    lines = "\n".join(recipe)
    for name, value in names.items():
        lines = lines.replace(name, value)
    lines = [line.strip() for line in lines.splitlines() if line.strip()]
    linux = next(block for block in blocks("sh") if "-m venv" in block).splitlines()
    assert linux == lines
    windows = [
        line.replace("\\Scripts\\", "/bin/").replace("py -m", "python3 -m") for line in blocks("bat")[0].splitlines()
    ]
    assert [line.replace(".venv\\", ".venv/") for line in windows] == lines


def test_versions_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "Python 3.11, 3.12 or 3.13" in README
    assert f"version = {{{project['version']}}}" in README
    assert f"{project['license']} licence" in README


def first_cell(notebook: Path) -> str:
    import nbformat

    return nbformat.read(notebook, as_version=4).cells[0].source


def test_every_notebook_is_shown_with_its_own_goal_figure():
    rows = re.findall(
        r'^\| <img src="(docs/pictures/notebook_(\d\d)\.png)" width="420" alt="([^"]+)"> '
        r"\| \*\*(\d\d) \[[^]]+\]\((notebooks/[^)]+)\)",
        README,
        re.MULTILINE,
    )
    notebooks = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    assert [row[4] for row in rows] == [f"notebooks/{path.name}" for path in notebooks]
    for (picture, number, alt, named, _), notebook in zip(rows, notebooks, strict=True):
        assert number == named == notebook.name[:2]
        assert (ROOT / picture).exists()
        assert f"![{html.unescape(alt)}](attachment:goal.png)" in first_cell(notebook)


def test_the_page_of_notebooks_has_their_numbers():
    """Minutes as the first cell says them; the exercises' as the registry has them; think tasks as in the notebook."""
    import nbformat

    from labutils.course import registry

    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\d\d) [^|]*\|[^|]*" + r"\| (\d+) " * 5 + r"\|$", page, re.MULTILINE)
    assert [row[0] for row in rows] == list(registry.modules())
    for number, minutes, for_todos, todos, points, thinks in rows:
        (notebook,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        cells = nbformat.read(notebook, as_version=4).cells
        sessions, each = re.search(r"\*\*Time:\*\* (two sessions of )?about (\d+) minutes", cells[0].source).groups()
        assert int(minutes) == int(each) * (2 if sessions else 1), number
        exercises = registry.of_notebook(number).values()
        assert (int(todos), int(points)) == (len(exercises), sum(exercise.points for exercise in exercises)), number
        assert int(for_todos) == sum(exercise.minutes for exercise in exercises), number
        marked = [cell for cell in cells if cell.cell_type == "markdown" and "nbgrader" in cell.metadata]
        assert int(thinks) == len(marked), number


def test_explain_lists_every_method():
    from labutils import explain

    table = README.partition("| In `labutils.explain`")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z_]+)`", table)) | {"cam_family"}
    methods = {name for name in explain.__all__ if name.islower() and name != "count_passes"}
    assert named == methods


def test_evaluate_lists_every_metric():
    from labutils import evaluate

    table = README.partition("| In `labutils.evaluate`")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z_]+)`", table)) == {name for name in evaluate.__all__ if name.islower()}


def test_pictures_are_light():
    for picture in (ROOT / "docs" / "pictures").glob("*.png"):
        assert picture.stat().st_size < 400_000, picture.name


def test_nothing_is_left_to_fill_in():
    assert "{{" not in re.sub(r"```.*?```", "", README, flags=re.DOTALL)
