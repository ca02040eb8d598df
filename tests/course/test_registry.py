"""Finding exercises by their id."""

import pytest

from labutils.course import check, hint, registry


def test_every_exercise_is_found_by_its_id_in_the_module_of_its_notebook():
    for number in registry.modules():
        for exercise_id, exercise in registry.of_notebook(number).items():
            assert registry.find(exercise_id) is exercise
            assert exercise_id.startswith(f"{number}.")


@pytest.mark.parametrize(
    ("unknown", "suggested"),
    [("01.tilte", "01.titles"), ("01.predictions", "01.predict"), ("1.predict", "01.predict"), ("01.xyz", "01.titles")],
)
def test_unknown_id_names_near_ones(unknown, suggested):
    with pytest.raises(registry.UnknownExercise, match=rf"{unknown}.*'{suggested}'"):
        registry.find(unknown)


@pytest.mark.parametrize("unknown", ["99.nothing", "", "titles", 3, None])
def test_anything_else_names_what_there_is(unknown):
    with pytest.raises(registry.UnknownExercise, match=r"Did you mean '0"):
        registry.find(unknown)


@pytest.mark.parametrize("function", [check, hint])
def test_students_functions_say_it_too(function):
    with pytest.raises(registry.UnknownExercise, match=r"01\.titles"):
        function("01.title")
