"""Grades the course's own wrong and right answers, to see that check and grading are right: ``python -m`` this module.

A mutation score: of the wrong answers that the exercises know, how many are rejected, and how many with the right
diagnosis; of the right ones, how many are accepted. Anything below all of them is a fault of the course's, and the exit
status is 1. Numbers of notebooks (``02``) limit it to these.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from labutils.course import checking, registry
from labutils.course.exercise import Exercise, Verdict
from labutils.course.grading.results import Result

REJECTIONS = {"wrong", "raised"}
"""What may be said of a wrong answer. That it was stopped, or that the check failed, would not be its own fault."""


class Kind(StrEnum):
    """What an answer of the course's is there for."""

    WRONG = "wrong"
    RIGHT = "right"
    REFERENCE = "reference"


class Way(StrEnum):
    """Who judges an answer: the check in the notebook, or grading."""

    CHECK = "check"
    GRADE = "grade"


@dataclass(frozen=True)
class OwnAnswer:
    """One of the course's answers; ``name`` is that of its mistake or its style, and "" for the reference."""

    exercise: Exercise
    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.exercise.id} {self.kind} {self.name}".rstrip()

    def function(self) -> Any:
        """The answer itself, as the exercise's cell would define it."""
        if self.kind is Kind.REFERENCE:
            return self.exercise.reference()
        return getattr(self.exercise, self.kind)[self.name]()

    def code(self) -> str:
        """A student's cell that has this answer."""
        exercise = f"from labutils.course import registry\nexercise = registry.find({self.exercise.id!r})\n"
        if self.kind is not Kind.REFERENCE:
            return f"{exercise}{self.exercise.answer} = exercise.{self.kind}[{self.name!r}]()"
        # The reference itself is what `catch_up` hands out, which gives no points; what it does is a right answer.
        return (
            f"{exercise}reference = exercise.reference()\n"
            f"def {self.exercise.answer}(*arguments, **options):\n"
            f"    return reference(*arguments, **options)"
        )


@dataclass
class Score:
    """How many answers there were, and how many were judged as they must be, by check and by grade."""

    wrong: int = 0
    right: int = 0
    rejected: Counter[Way] = field(default_factory=Counter)
    diagnosed: Counter[Way] = field(default_factory=Counter)
    accepted: Counter[Way] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def count(self, answer: OwnAnswer, said: Mapping[Way, Verdict | Result]) -> None:
        """Count what was said of one answer."""
        self.wrong += answer.kind is Kind.WRONG
        self.right += answer.kind is not Kind.WRONG
        for way, verdict in said.items():
            status, mistake = verdict.mark if way is Way.GRADE else verdict.status, verdict.mistake
            if answer.kind is Kind.WRONG:
                as_it_must = status == "wrong" and mistake == answer.name
                self.rejected[way] += status in REJECTIONS
                self.diagnosed[way] += as_it_must
            else:
                as_it_must = status == "passed"
                self.accepted[way] += as_it_must
            if not as_it_must:
                self.failures.append(f"{answer}: {way} says {status}{f' ({mistake})' if mistake else ''}")

    def __add__(self, other: Score) -> Score:
        return Score(
            self.wrong + other.wrong,
            self.right + other.right,
            self.rejected + other.rejected,
            self.diagnosed + other.diagnosed,
            self.accepted + other.accepted,
            self.failures + other.failures,
        )


def own_answers(numbers: Sequence[str] = ()) -> list[OwnAnswer]:
    """The wrong answers, the right ones and the reference of every exercise, or of those in the numbered notebooks."""
    exercises = [exercise for exercise in registry.all_exercises() if not numbers or exercise.id[:2] in numbers]
    return [
        answer
        for exercise in exercises
        for answer in (
            *(OwnAnswer(exercise, Kind.WRONG, name) for name in exercise.wrong),
            *(OwnAnswer(exercise, Kind.RIGHT, name) for name in exercise.right),
            OwnAnswer(exercise, Kind.REFERENCE),
        )
    ]


def scores(
    answers: Iterable[OwnAnswer],
    *,
    check: Callable[[Exercise, Any], Verdict] | None = None,
    grade: Callable[[str, str], Result] | None = None,
) -> dict[str, Score]:
    """Judge answers by check, by grade, or by both; a score for each notebook by its number.

    Parameters
    ----------
    answers : iterable of OwnAnswer
    check : callable
        ``check(exercise, answer)``, `by_check` for one.
    grade : callable
        ``grade(exercise's id, code of a student's cell)``.
    """
    found: dict[str, Score] = {}
    for answer in answers:
        said: dict[Way, Verdict | Result] = {}
        if check is not None:
            said[Way.CHECK] = check(answer.exercise, answer.function())
        if grade is not None:
            said[Way.GRADE] = grade(answer.exercise.id, answer.code())
        found.setdefault(answer.exercise.id[:2], Score()).count(answer, said)
    return found


def by_check(exercise: Exercise, answer: Any) -> Verdict:
    """What the check in a notebook says of an answer."""
    return checking.assess(exercise, answer, list(registry.public_cases(exercise.id)))


def as_table(found: Mapping[str, Score], ways: Sequence[Way]) -> str:
    """Scores as text: a line for each notebook, and one for all of them."""
    columns = ["wrong answers"]
    columns += [f"{done} by {way}" for way in ways for done in ("rejected", "diagnosed")]
    columns += ["right answers", *(f"accepted by {way}" for way in ways)]
    lines = ["  ".join(["notebook", *columns])]
    for name, score in {**found, "all": sum(found.values(), Score())}.items():
        numbers = [score.wrong, *(done[way] for way in ways for done in (score.rejected, score.diagnosed))]
        numbers += [score.right, *(score.accepted[way] for way in ways)]
        cells = [f"{number:>{len(column)}}" for number, column in zip(numbers, columns, strict=True)]
        lines.append("  ".join([f"{name:<8}", *cells]))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the answers, print the table and every failure; 1 where there is one."""
    parser = argparse.ArgumentParser(
        prog="python -m labutils.course.grading.mutation", description=__doc__.splitlines()[0].partition(":")[0]
    )
    parser.add_argument("notebooks", nargs="*", metavar="NN", help="numbers of the notebooks; all without")
    parser.add_argument("--seed", type=int, default=0, help="draws grading's further cases (default: 0)")
    parser.add_argument("--only", type=Way, choices=list(Way), help="check or grade alone")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the folder with notebooks/ (default: here)")
    options = parser.parse_args(arguments)
    unknown = set(options.notebooks) - registry.modules().keys()
    if unknown:
        parser.error(f"there is no notebook {', '.join(sorted(unknown))}; there are {', '.join(registry.modules())}")
    ways = [options.only] if options.only else list(Way)
    found = _judged(own_answers(options.notebooks), ways, options.root, options.seed)
    failures = [failure for score in found.values() for failure in score.failures]
    print(as_table(found, ways))
    print("\n".join(failures) or "every answer is judged as it must be")
    return 1 if failures else 0


def _judged(answers: list[OwnAnswer], ways: Sequence[Way], root: Path, seed: int) -> dict[str, Score]:
    from tqdm.auto import tqdm

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # no advice about speed among the progress
    shown = tqdm(answers, unit="answer", mininterval=1)
    check = by_check if Way.CHECK in ways else None
    if Way.GRADE not in ways:
        return scores(shown, check=check)

    from labutils.course.grading import course_notebook
    from labutils.course.grading.grader import Grader, Settings

    courses = {course.number: course for course in course_notebook.load_all(root / "notebooks").values()}
    with Grader(Settings(seed)) as grader:
        return scores(
            shown,
            check=check,
            grade=lambda exercise_id, code: grader.grade_answer(
                courses[exercise_id[:2]], exercise_id, {exercise_id: code}
            ),
        )


if __name__ == "__main__":
    sys.exit(main())
