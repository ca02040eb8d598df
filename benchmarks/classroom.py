"""A class of made-up students who hand in the real notebooks, each with the mark that every answer must get.

The marks are known by how the answers are made. Perfect ones come from the solutions; right ones in other styles and
wrong ones with a known mistake are the course's own, which its exercises hold as functions and not as text, so that a
stand-in cell fetches them. Grading refuses answers that name the course's registry, which is a courtesy and no wall
(`labutils.course.grading.references`): the stand-ins put the name together where it does not look.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labutils.course import registry
from labutils.course.exercise import Exercise
from labutils.course.grading.results import Mark
from labutils.course.grading.verdicts import ELSEWHERE

Notebook = dict[str, Any]
"""A notebook as plain JSON; every cell's source is one text."""


@dataclass(frozen=True)
class Expected:
    """The mark that one answer must get; ``mistake`` is the diagnosis it needs as well, ``words`` what the reason holds."""

    mark: Mark
    mistake: str = ""
    words: str = ""


PASSED, NOT_ATTEMPTED = Expected(Mark.PASSED), Expected(Mark.NOT_ATTEMPTED)


@dataclass(frozen=True)
class HandedIn:
    """One notebook of one student; ``data`` is None where nothing was handed in, ``how`` says what was done to it."""

    student: str
    kind: str
    notebook: str
    how: str
    data: bytes | None
    expected: Mapping[str, Expected]


@dataclass(frozen=True)
class Material:
    """What one notebook's submissions are made of: as handed out, its solution, and the answers in that by exercise."""

    name: str
    handed_out: Notebook
    solution: bytes
    answers: Mapping[str, str]

    @property
    def exercises(self) -> list[Exercise]:
        return list(registry.of_notebook(self.name[:2]).values())

    def with_answers(self, answers: Mapping[str, str]) -> Notebook:
        """The student's notebook with these exercises' cells filled in."""
        sources = {registry.find(exercise).cell_id: code for exercise, code in answers.items()}
        cells = [{**cell, "source": sources.get(cell["id"], cell["source"])} for cell in self.handed_out["cells"]]
        return {**self.handed_out, "cells": cells}


Made = tuple[str, bytes | None, dict[str, Expected]]
"""How a notebook was made, its file, and what is expected of it."""


def material(root: Path, numbers: Collection[str] = ()) -> list[Material]:
    """The course's notebooks; those with these numbers if there are any."""
    paths = sorted((root / "solutions").glob("[0-9][0-9]_*.ipynb"))
    return [_material(root, path) for path in paths if not numbers or path.name[:2] in numbers]


def classroom(materials: Collection[Material], students: int) -> Iterator[HandedIn]:
    """What each of the students hands in; the first of them are one of every kind."""
    for student, (kind, number) in enumerate(_kinds(students), start=1):
        for each in materials:
            how, data, expected = KINDS[kind][1](each, number)
            yield HandedIn(f"{student:02} {kind}", kind, each.name, how, data, expected)


def hand_in(folder: Path, submissions: Collection[HandedIn]) -> None:
    """Write the files as a course's instructor collects them."""
    for each in submissions:
        home = folder / each.student
        home.mkdir(parents=True, exist_ok=True)
        if each.data is not None:
            (home / f"{each.notebook}.ipynb").write_bytes(each.data)


def _kinds(students: int) -> Iterator[tuple[str, int]]:
    """(kind, number among those of it): a student of every kind, then a second of those that have one, and so on."""
    rounds = range(max(count for count, _ in KINDS.values()))
    once = [(kind, turn) for turn in rounds for kind, (count, _) in KINDS.items() if turn < count]
    return itertools.islice(itertools.cycle(once), students)


def _material(root: Path, path: Path) -> Material:
    handed_out = _joined(json.loads((root / "notebooks" / path.name).read_bytes()))
    solution = path.read_bytes()
    sources = {cell["id"]: cell["source"] for cell in _joined(json.loads(solution))["cells"]}
    answers = {each.id: _region(sources[each.cell_id]) for each in registry.of_notebook(path.name[:2]).values()}
    return Material(path.stem, handed_out, solution, answers)


def _joined(notebook: Notebook) -> Notebook:
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def _region(source: str) -> str:
    """The answer in a solution's cell, which is what a student writes."""
    return re.search(r"### BEGIN SOLUTION\n(.*)### END SOLUTION", source, re.DOTALL)[1].strip() + "\n"


def _file(notebook: Notebook) -> bytes:
    return json.dumps(notebook, ensure_ascii=False).encode()


def _all(material: Material, expected: Expected) -> dict[str, Expected]:
    return {exercise.id: expected for exercise in material.exercises}


# ---------------------------------------------------------------------------------------------------------------------
# Answers
# ---------------------------------------------------------------------------------------------------------------------

FIND = 'import sys\n\nexercise = sys.modules["labutils." + "course.registry"].find({id!r})\n'
"""What a stand-in begins with."""


def own_answer(exercise: Exercise, kind: str, name: str) -> str:
    """A cell that has one of the course's own ``right`` or ``wrong`` answers."""
    return FIND.format(id=exercise.id) + f"{exercise.answer} = exercise.{kind}[{name!r}]()\n"


def other_style(exercise: Exercise, number: int) -> tuple[str, Expected]:
    """A right answer that is not the solution's."""
    names = list(exercise.right)
    return own_answer(exercise, "right", names[number % len(names)]), PASSED


def known_mistake(exercise: Exercise, number: int) -> tuple[str, Expected]:
    """A wrong answer whose mistake is known."""
    names = list(exercise.wrong)
    name = names[number % len(names)]
    return own_answer(exercise, "wrong", name), Expected(Mark.WRONG, mistake=name)


def unfinished(exercise: Exercise, number: int) -> tuple[str, Expected]:
    """Code that was begun and left: comments, nothing, an error of syntax, an unknown name, a call alone, another name."""
    name = exercise.answer
    return [
        ("# Do this on Sunday.\n", NOT_ATTEMPTED),
        ("", NOT_ATTEMPTED),
        (f"{name} = ...\n", NOT_ATTEMPTED),
        (f"def {name}(*arguments:\n    return 0\n", Expected(Mark.RAISED, words="SyntaxError")),
        (
            f"def {name}(*arguments, **options):\n    return nobody_defines_this\n",
            Expected(Mark.RAISED, words="nobody_defines_this"),
        ),
        (f"def my_{name}(*arguments, **options):\n    return 0\n", Expected(Mark.WRONG, mistake="not_defined")),
        (f"{name} = 3\n", Expected(Mark.WRONG, mistake="not_a_function")),
    ][number % 7]


# ---------------------------------------------------------------------------------------------------------------------
# Notebooks that changed on the way, with the right answers in them
# ---------------------------------------------------------------------------------------------------------------------


def _reordered(notebook: Notebook) -> None:
    notebook["cells"].reverse()


def _stripped(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        del cell["id"]
        cell["metadata"] = {}


def _split(notebook: Notebook) -> None:
    """As JupyterLab does it: the second part keeps nbgrader's id, and gets another of its own."""
    notebook["cells"] = [part for cell in notebook["cells"] for part in _parts(cell)]


def _parts(cell: dict[str, Any]) -> list[dict[str, Any]]:
    if not _is_answer(cell):
        return [cell]
    first, _, rest = cell["source"].partition("\n")
    return [{**cell, "source": first}, {**cell, "source": rest, "id": f"{cell['id']}-rest"}]


def _duplicated(notebook: Notebook) -> None:
    notebook["cells"] = [copy for cell in notebook["cells"] for copy in [cell] * (2 if _is_answer(cell) else 1)]


def _from_colab(notebook: Notebook) -> None:
    """Ids move into the metadata; nbgrader's are gone."""
    notebook["nbformat_minor"] = 0
    for cell in notebook["cells"]:
        cell["metadata"] = {"id": cell.pop("id"), "colab": {"base_uri": "x"}}


def _in_format_3(notebook: Notebook) -> None:
    cells = notebook.pop("cells")
    for cell in cells:
        if cell["cell_type"] == "code":
            cell["input"] = cell.pop("source")
    notebook |= {"nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells}]}


def _edited_around(notebook: Notebook) -> None:
    """Every check says that it passed, every given cell fails, and cells are added that do harm."""
    own = {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": [], "source": "%reset -f\n1 / 0"}
    cells = []
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code" and not _is_answer(cell):
            cell["source"] = "raise SystemExit" if number % 2 else "print('passed')"
        cells += [cell, {**own, "id": f"own-{number}"}]
    notebook["cells"] = cells


def _is_answer(cell: dict[str, Any]) -> bool:
    return cell["cell_type"] == "code" and cell["metadata"].get("nbgrader", {}).get("solution", False)


CHANGES: dict[str, Callable[[Notebook], None]] = {
    "cells reordered": _reordered,
    "ids and metadata stripped": _stripped,
    "answers split in two cells": _split,
    "answers duplicated": _duplicated,
    "from Colab": _from_colab,
    "format 3": _in_format_3,
    "all else edited": _edited_around,
}


def _cells_lost(material: Material, number: int) -> Made:
    """One answer's cell is deleted, another one turned into text."""
    notebook = material.with_answers(material.answers)
    lost, text = (material.exercises[(number + step) % len(material.exercises)] for step in (0, 1))
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] != lost.cell_id]
    for cell in notebook["cells"]:
        if cell["id"] == text.cell_id:
            cell["cell_type"] = "markdown"
            del cell["outputs"], cell["execution_count"]
    wanted = _all(material, PASSED) | {lost.id: Expected(Mark.MISSING), text.id: Expected(Mark.NOT_CODE)}
    return "one cell deleted, one turned into text", _file(notebook), wanted


# ---------------------------------------------------------------------------------------------------------------------
# Files that are no notebook
# ---------------------------------------------------------------------------------------------------------------------


def _in_conflict(data: bytes) -> bytes:
    return b"\n".join((b"<<<<<<< HEAD", data, b"=======", data, b">>>>>>> main", b""))


BREAKAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda data: data[: len(data) // 2], "cut off"),
    "empty": (lambda data: b"", "empty"),
    "merge markers": (_in_conflict, "conflict"),
    "a script": (lambda data: b"import numpy as np\n", "not a notebook"),
    "a web page": (lambda data: b"<!DOCTYPE html><html></html>", "a web page"),
    "a list": (lambda data: b"[1, 2]", "not a notebook"),
    "format 5": (lambda data: data.replace(b'"nbformat": 4', b'"nbformat": 5'), "newer format"),
    "an archive": (lambda data: b"PK\x03\x04" + bytes(range(256)), "zip archive"),
}
"""How a file is broken, and what the student must be told."""

# ---------------------------------------------------------------------------------------------------------------------
# Attacks
# ---------------------------------------------------------------------------------------------------------------------

HARD_CODED = """
def hard_coded():
    known, reference = [], exercise.reference()

    def told(*arguments, **options):
        known.append(reference(*arguments, **options))
        return known[-1]

    for case in exercise.cases(None):
        exercise.collect(told, case)
    replies = iter(list(known))
    return lambda *arguments, **options: next(replies, known[0])


{answer} = hard_coded()
"""
"""Gives the public cases' results in their order, as if they were written down, and then the first of them for ever."""

HARD_CODED_IN = {
    "01": "01.best_classes",
    "02": "02.pooled_gradients",
    "03": "03.sparsity",
    "04": "04.average",
    "05": "05.rank_correlation",
    "06": "06.class_means",
    "07": "07.contributions",
    "08": "08.area",
}

_WRONG = "{answer} = exercise.wrong[next(iter(exercise.wrong))]()\n"
_STOPPED, _IS_WRONG = Expected(Mark.STOPPED), Expected(Mark.WRONG)

ATTACKS: dict[str, tuple[str, Expected]] = {
    "endless loop": (
        "def {answer}(*arguments, **options):\n    while True:\n        pass\n",
        Expected(Mark.STOPPED, words="longer than"),
    ),
    "os._exit": ("import os\n\nos._exit(0)\n", Expected(Mark.STOPPED, words="no points")),
    "memory bomb": (
        "held = []\nwhile True:\n    held.append(bytearray(10**7))\n",
        Expected(Mark.STOPPED, words="memory"),
    ),
    "fork bomb": (
        "import os\n\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n",
        _STOPPED,
    ),
    "output flood": (
        'import os\n\nwhile True:\n    os.write(1, b"x" * 9999)\n',
        Expected(Mark.STOPPED, words="printed more than"),
    ),
    "patches numpy": (
        # Not `array_equal`: TensorFlow uses it, and would raise before there is anything to compare.
        _WRONG + "import numpy as np\n\nnp.allclose = np.isclose = lambda *a, **k: True\n",
        _IS_WRONG,
    ),
    "patches json": (
        _WRONG + 'import json\n\njson.dumps = lambda *a, **k: \'{"cases": [], "passed": true}\'\n',
        _STOPPED,
    ),
    "patches labutils": (
        _WRONG
        + 'checking, judging = (sys.modules["labutils." + "course." + name] for name in ("checking", "judging"))\n'
        "checking.assess = judging.verdict_on_array = judging.first_problem = lambda *a, **k: judging.passed()\n"
        "judging.same = lambda *a, **k: True\n",
        _IS_WRONG,
    ),
    "patches what runs it": (
        _WRONG
        + 'checking, judging = (sys.modules["labutils." + "course." + name] for name in ("checking", "judging"))\n'
        "checking.run = lambda *a, **k: judging.passed()\n",
        Expected(Mark.CHECK_FAILED),
    ),
    "catch_up": (
        "from labutils.course import catch_up\n\n{answer} = catch_up({id!r})\n",
        NOT_ATTEMPTED,
    ),
    "the reference": (
        "from labutils.course import registry\n\n{answer} = registry.find({id!r}).reference()\n",
        Expected(Mark.WRONG, mistake="course_internals"),
    ),
    "public results hard-coded": (HARD_CODED, Expected(Mark.WRONG, words=ELSEWHERE)),
}
"""What an answer's cell holds (below `FIND`, where it uses it), and what must become of it."""


def attack(name: str, exercise: Exercise) -> str:
    """The cell of an attack in place of an exercise's answer."""
    code = ATTACKS[name][0].replace("{answer}", exercise.answer).replace("{id!r}", repr(exercise.id))
    return FIND.format(id=exercise.id) + code if re.search(r"\bexercise\.|\bsys\.", code) else code


# ---------------------------------------------------------------------------------------------------------------------
# Students
# ---------------------------------------------------------------------------------------------------------------------


def _perfect(material: Material, number: int) -> Made:
    return "the solutions' answers", _file(material.with_answers(material.answers)), _all(material, PASSED)


def _perfect_with_outputs(material: Material, number: int) -> Made:
    return "the solution itself, with all its figures", material.solution, _all(material, PASSED)


def _other_styles(material: Material, number: int) -> Made:
    return "right in another style", *_answered(material, lambda place, exercise: other_style(exercise, number))


def _mistaken(material: Material, number: int) -> Made:
    return "a known mistake in each", *_answered(
        material, lambda place, exercise: known_mistake(exercise, number + place)
    )


def _half(material: Material, number: int) -> Made:
    """Every second answer, or the first ones; the other cells are as they were handed out."""
    exercises = material.exercises
    done = exercises[number % 2 :: 2] if number < 2 else exercises[: len(exercises) // 2]
    answers = {exercise.id: material.answers[exercise.id] for exercise in done}
    wanted = _all(material, NOT_ATTEMPTED) | dict.fromkeys(answers, PASSED)
    return "half of the answers", _file(material.with_answers(answers)), wanted


def _untouched(material: Material, number: int) -> Made:
    return "as handed out", _file(material.handed_out), _all(material, NOT_ATTEMPTED)


def _mixed(material: Material, number: int) -> Made:
    """Some of everything, drawn."""
    rng = random.Random(f"{material.name} {number}")

    def drawn(_: int, exercise: Exercise) -> tuple[str, Expected]:
        kind = rng.choice([None, other_style, known_mistake, unfinished, unfinished])
        return kind(exercise, rng.randrange(1000)) if kind else (material.answers[exercise.id], PASSED)

    return "right, wrong, unfinished", *_answered(material, drawn)


def _changed(material: Material, number: int) -> Made:
    ways = [*CHANGES, "cells lost"]
    way = ways[(number + int(material.name[:2])) % len(ways)]
    if way not in CHANGES:
        return _cells_lost(material, number)
    notebook = material.with_answers(material.answers)
    CHANGES[way](notebook)
    return way, _file(notebook), _all(material, PASSED)


def _broken(material: Material, number: int) -> Made:
    ways = list(BREAKAGES)
    way = ways[(len(ways) // 2 * number + int(material.name[:2])) % len(ways)]
    break_it, words = BREAKAGES[way]
    data = break_it(_file(material.with_answers(material.answers)))
    return way, data, _all(material, Expected(Mark.UNREADABLE, words=words))


def _forgetful(material: Material, number: int) -> Made:
    """Hands in every second notebook."""
    if int(material.name[:2]) % 2:
        return "not handed in", None, _all(material, Expected(Mark.NOT_HANDED_IN))
    return _perfect(material, number)


def _hostile(material: Material, number: int) -> Made:
    """One attack in a notebook that is perfect otherwise."""
    turn = 8 * number + int(material.name[:2]) - 1
    name = list(ATTACKS)[turn % len(ATTACKS)]
    exercises = material.exercises
    target = exercises[(turn + number) % len(exercises)]
    if name == "public results hard-coded":
        target = registry.find(HARD_CODED_IN[material.name[:2]])
    notebook = material.with_answers({**material.answers, target.id: attack(name, target)})
    return name, _file(notebook), _all(material, PASSED) | {target.id: ATTACKS[name][1]}


def _answered(
    material: Material, answer: Callable[[int, Exercise], tuple[str, Expected]]
) -> tuple[bytes, dict[str, Expected]]:
    made = {exercise.id: answer(place, exercise) for place, exercise in enumerate(material.exercises)}
    notebook = material.with_answers({exercise: code for exercise, (code, _) in made.items()})
    return _file(notebook), {exercise: expected for exercise, (_, expected) in made.items()}


KINDS: dict[str, tuple[int, Callable[[Material, int], Made]]] = {
    "perfect": (4, _perfect),
    "perfect with outputs": (1, _perfect_with_outputs),
    "other styles": (5, _other_styles),
    "half done": (4, _half),
    "untouched": (1, _untouched),
    "known mistakes": (9, _mistaken),
    "mixed": (4, _mixed),
    "changed notebook": (4, _changed),
    "broken file": (2, _broken),
    "forgetful": (1, _forgetful),
    "hostile": (5, _hostile),
}
"""How many students of a class of 40 are of a kind, and how the ``number``-th of them fills in a notebook."""
