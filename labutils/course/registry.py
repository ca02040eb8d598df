"""Finds exercises by id: ``02.grad_cam`` lives in the one module ``labutils/course/exercises/nb02_*.py``."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache

from labutils.course import exercises as package
from labutils.course.exercise import Case, Exercise


class UnknownExercise(LookupError):
    """No exercise of that id; the text names near ones."""


def modules() -> dict[str, str]:
    """Notebook number -> the name of its exercises' module, in order of the numbers: ``{"01": "nb01_vgg16_setup"}``."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name.startswith("nb"))
    return {name[2:].partition("_")[0]: name for name in names}


@cache
def of_notebook(number: str) -> dict[str, Exercise]:
    """The exercises of one notebook by id, in the order in which the notebook asks them."""
    module = importlib.import_module(f"{package.__name__}.{modules()[number]}")
    return {exercise.id: exercise for exercise in module.EXERCISES}


def all_exercises() -> list[Exercise]:
    """Every exercise of the course, in order."""
    return [exercise for number in modules() for exercise in of_notebook(number).values()]


def find(exercise_id: str) -> Exercise:
    """The exercise of this id; `UnknownExercise` with near ids where there is none."""
    number = str(exercise_id).partition(".")[0]
    if number in modules() and exercise_id in of_notebook(number):
        return of_notebook(number)[exercise_id]
    ids = [exercise.id for exercise in all_exercises()]
    near = difflib.get_close_matches(str(exercise_id), ids, n=3)
    near = near or [name for name in ids if name.startswith(f"{number}.")] or ids
    raise UnknownExercise(f"there is no exercise {exercise_id!r}. Did you mean {', '.join(map(repr, near))}?")


@cache
def public_cases(exercise_id: str) -> tuple[Case, ...]:
    """An exercise's cases as the notebook has them, made once for all who judge many answers."""
    return tuple(find(exercise_id).cases(None))
