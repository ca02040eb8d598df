"""The guides for instructors hold: the worked example's code runs as it stands there, commands and files exist."""

import dataclasses
import re
import runpy
import shutil
from pathlib import Path

import nbformat
import pytest

from labutils.cli import _parser
from labutils.course import judging
from labutils.course.build import strip
from labutils.course.checking import assess
from labutils.course.exercise import Exercise
from labutils.course.exercises import nb03_intermediate_activations as nb03
from labutils.course.grading.results import Mark

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
RECORD, CELLS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def mean_map():
    """The exercise of the worked example, made where the guide puts it: among notebook 03's."""
    names = vars(nb03) | {"results_of": judging.results_of}
    exec(compile(RECORD, "instructors.md", "exec"), names)
    return names["MEAN_MAP"]


@pytest.fixture
def solution(tmp_path, monkeypatch):
    """Notebook 03's solution with the worked example's cells put in."""
    (tmp_path / "solutions").mkdir()
    path = shutil.copy(ROOT / "solutions" / "03_intermediate_activations.ipynb", tmp_path / "solutions")
    (tmp_path / "add_cells.py").write_text(CELLS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("add_cells.py")
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("seed", [None, 2024], ids=["public", "drawn"])
def test_worked_example_tells_its_wrong_answers_from_right_ones(mean_map, seed):
    cases = mean_map.cases(seed)
    diagnosed = {name: assess(mean_map, answer(), cases).mistake for name, answer in mean_map.wrong.items()}
    assert diagnosed == {name: name for name in mean_map.wrong}
    assert all(assess(mean_map, answer(), cases).passed for answer in [mean_map.reference, *mean_map.right.values()])


def test_worked_example_is_a_whole_record(mean_map):
    assert {field.name for field in dataclasses.fields(Exercise)} == set(vars(mean_map))
    assert len(mean_map.wrong) >= 4
    assert len(mean_map.right) >= 2


def test_worked_examples_cells_are_those_of_its_record(solution, mean_map):
    cells = {cell.id: cell for cell in strip(solution).cells}
    assert mean_map.id in cells[f"{mean_map.cell_id}-text"].source
    assert f'TodoNotDone("{mean_map.id}")' in cells[mean_map.cell_id].source
    assert "maps.mean" not in cells[mean_map.cell_id].source
    assert cells[f"{mean_map.cell_id}-check"].source == f'check("{mean_map.id}", {mean_map.answer})'
    assert cells[f"{mean_map.cell_id}-check"].metadata.nbgrader.points == mean_map.points


def test_every_grade_option_is_explained_and_exists():
    table = GUIDE.partition("## Grade\n")[2].partition("\n## ")[0]
    explained = set(re.findall(r"`(--[a-z]+)", table))
    parsed = _parser().parse_args(["grade", "submissions", "--out", "grades"])
    assert {option.removeprefix("--") for option in explained} <= set(vars(parsed))


def test_every_verdict_is_explained():
    table = GUIDE.partition("## What the verdicts mean\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE)[1:] == [str(mark) for mark in Mark]


@pytest.mark.parametrize("page", ["instructors.md", "nbgrader.md"])
def test_every_link_leads_somewhere(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        if "://" in target:
            continue
        found = ROOT / "docs" / (file or page)
        assert found.exists(), target
        headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        assert anchor in ["", *(re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings)]
