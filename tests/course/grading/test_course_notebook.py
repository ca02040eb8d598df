"""Which notebooks grading takes for the course's own."""

import shutil
from pathlib import Path

import pytest

from labutils.course.grading.course_notebook import load, load_course

ROOT = Path(__file__).resolve().parents[3]
NAME = "01_vgg16_setup.ipynb"


@pytest.fixture
def course(tmp_path):
    for folder in ("notebooks", "solutions"):
        (tmp_path / folder).mkdir()
        shutil.copy(ROOT / folder / NAME, tmp_path / folder)
    return tmp_path


def test_an_instructors_own_work_in_notebooks_is_not_what_was_handed_out(course):
    worked_in = course / "notebooks" / NAME
    untouched = load(worked_in)
    worked_in.write_text(
        worked_in.read_text(encoding="utf-8").replace("raise TodoNotDone(", "print("), encoding="utf-8"
    )
    assert load(worked_in) != untouched
    assert load_course(course) == {worked_in.stem: untouched}


def test_without_solutions_it_is_what_lies_in_notebooks(course):
    shutil.rmtree(course / "solutions")
    assert load_course(course) == {Path(NAME).stem: load(course / "notebooks" / NAME)}


def test_a_folder_without_a_course_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there are no notebooks of the course in .*notebooks"):
        load_course(tmp_path)
