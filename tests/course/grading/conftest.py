"""What several tests of grading need."""

from pathlib import Path

import pytest

from labutils.course.grading import course_notebook


@pytest.fixture(scope="session")
def courses():
    """The course's notebooks, as handed out, by name."""
    return course_notebook.load_all(Path(__file__).parents[3] / "notebooks")


@pytest.fixture(scope="session")
def runs_answers():
    """Skips, with the reason, where this machine cannot run students' code."""
    from labutils.course.grading.grader import Unavailable, available_isolation

    try:
        available_isolation()
    except Unavailable as error:
        pytest.skip(str(error))
