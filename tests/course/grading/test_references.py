"""What an answer may name of the course's own machinery."""

import pytest

from labutils.course.grading.references import internals_used


@pytest.mark.parametrize(
    ("code", "named"),
    [
        pytest.param("import labutils.course.registry as r", "labutils.course.registry", id="an import"),
        pytest.param("from labutils.course import registry", "labutils.course.registry", id="an import of a part"),
        pytest.param(
            "from labutils.course.exercises.nb01 import x",
            "labutils.course.exercises.nb01.x",
            id="an import from a part",
        ),
        pytest.param("import labutils\nlabutils.course.judging.same", "labutils.course.judging", id="an attribute"),
        pytest.param("__import__('labutils.course.registry')", "labutils.course.registry", id="a text"),
        pytest.param("def f():\n    import labutils.course.build", "labutils.course.build", id="in a function"),
        pytest.param(f"labutils.course.registry{'.x' * 20}", "labutils.course.registry", id="a long chain"),
    ],
)
def test_the_machinery_is_found_wherever_it_is_named(code, named):
    assert internals_used(code).startswith(named)


@pytest.mark.parametrize(
    "code",
    [
        "from labutils.course import check, hint, catch_up",
        "import labutils.course\nlabutils.course.check('01.titles')",
        "from labutils import vgg16\nvgg16.build()",
        "registry = 'course'",
        "labutils.course(",
    ],
)
def test_what_notebooks_use_may_be_used(code):
    assert internals_used(code) == ""
