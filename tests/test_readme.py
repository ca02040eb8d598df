"""README and docs hold: their Python runs, files and commands exist, numbers are those of the project."""

import ast
import html
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))
PAGES = ["README.md", *DOCS, "data/photos/README.md"]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


README, LIBRARY = text_of("README.md"), text_of("docs/library.md")


def blocks(language: str, text: str = README) -> list[str]:
    """What stands in a page's fenced code, also within a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [block for _, block in found]


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


@pytest.mark.parametrize(("page", "written"), [("README.md", {"my_cat.png"}), ("docs/library.md", {"grad_cam.png"})])
def test_python_runs_from_top_to_bottom(page, written, students_folder):
    names = {}
    for block in blocks("python", text_of(page)):
        exec(compile(block, page, "exec"), names)
    assert all(stack.shape == (1, 64, 96) and np.isfinite(stack).all() for stack in names["maps"].values())
    assert written <= {path.name for path in students_folder.iterdir()}


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^) ]+)\)|<img src=\"([^\"]+)\"", text_of(page)):
        target = target[0] or target[1]
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = path.parent / file if file else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def commands(page: str) -> list[list[str]]:
    """What a page tells to run of labutils, in its code and in its sentences, as words."""
    text = text_of(page)
    lines = [line for language in ("sh", "bat") for block in blocks(language, text) for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = [re.match(r" *(?:[.\w\\/]*[/\\])?labutils (.+)", line) for line in [*lines, *inline]]
    return [shlex.split(match[1], comments=True) for match in found if match]


@pytest.mark.parametrize("page", PAGES)
def test_every_labutils_command_parses(page):
    from labutils import weights
    from labutils.cli import _parser

    # `labutils explain` and `labutils weights` by themselves are names of commands, and `list | fetch` is a choice.
    for command in (command for command in commands(page) if len(command) > 1 and "|" not in command):
        if "COMMAND" in command or command == ["explain", "--model"]:
            continue
        _parser().parse_known_args(command)
        if command[:2] == ["weights", "fetch"]:
            assert set(command[2:]) <= set(weights.files())


@pytest.mark.parametrize("page", ["README.md", "docs/CONTRIBUTING.md"])
def test_every_make_target_exists(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?:^|`)make ([a-z]+)", text_of(page), re.MULTILINE))
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_option_of_explain_in_the_docs_exists():
    from labutils.cli import _parser

    section = text_of("docs/command_line.md").partition("## labutils explain")[2].partition("\n## ")[0]
    explained = {option.removeprefix("--").replace("-", "_") for option in re.findall(r"`(--[a-z-]+)", section)}
    parsed = set(vars(_parser().parse_args(["explain", "cat"]))) | {"no_scores"}
    assert explained <= parsed
    assert parsed - explained <= {"photos", "run", "scores", "out"}


def test_every_widget_has_its_example():
    from labutils import widgets

    trees = [ast.parse(block) for block in blocks("python", text_of("docs/widgets.md"))]
    called = {
        node.func.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert called == set(widgets.__all__)


def test_every_page_is_in_the_index():
    index = text_of("docs/index.md")
    assert [page for page in DOCS if page != "docs/index.md" and f"({page.removeprefix('docs/')})" not in index] == []


def test_the_lines_without_make_are_those_of_make():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.partition("$(VENV)/ready: ")[2].partition("@touch")[0].splitlines()[1:]
    recipe.append(re.search(r"^lab:.*\n(.*)$", makefile, re.MULTILINE)[1])
    names = {"$(PYTHON)": "python3", "$(VENV)": ".venv", "$(BIN)": ".venv/bin", " --quiet": ""}
    lines = "\n".join(recipe)
    for name, value in names.items():
        lines = lines.replace(name, value)
    lines = [line.strip() for line in lines.splitlines() if line.strip() and not line.strip().startswith("@")]
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
    citation = text_of("CITATION.cff")
    for line in (f"version: {project['version']}", f"license: {project['license']}", "cff-version: 1.2.0"):
        assert f"\n{line}\n" in f"\n{citation}"
    assert project["version"] in text_of("docs/changelog.md")


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

    table = LIBRARY.partition("| In `labutils.explain`")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z_]+)`", table)) | {"cam_family"}
    methods = {name for name in explain.__all__ if name.islower() and name != "count_passes"}
    assert named == methods


def test_evaluate_lists_every_metric():
    from labutils import evaluate

    table = LIBRARY.partition("| In `labutils.evaluate`")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z_]+)`", table)) == {name for name in evaluate.__all__ if name.islower()}


def test_pictures_are_light():
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.stat().st_size < 400_000, picture.name


def test_nothing_is_left_to_fill_in():
    assert "{{" not in re.sub(r"```.*?```", "", README, flags=re.DOTALL)
